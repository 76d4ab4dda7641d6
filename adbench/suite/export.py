"""A leaderboard's files: JSON with everything, CSV with a line a row and world, and the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.data_efficiency import SHARES
from adbench.folder import write_text
from adbench.results_file import plain
from adbench.scores import OURS
from adbench.suite.merge import STATISTICS, World
from adbench.suite.table import worlds_of

JSON, CSV, PAGE = "leaderboard.json", "leaderboard.csv", "leaderboard.html"

ALL_WORLDS = "(all worlds)"
"""What the column `world` says of a mean over worlds; no world can be called so."""

_FORMS = {"vs_source_single_stream": "single_stream", "vs_source_total": "total"}
_STAGES = ("collect", "train", "evaluate", "report")

COLUMNS = (
    "series", "context_steps", "world", "env", "method", "worlds", "seeds", "tasks",
    "intervals_over",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")),
    "final_return", "at_equal_steps",
    *(f"data_efficiency_{form}_{share}" for form in _FORMS.values() for share in SHARES),
    *(f"{stage}_seconds_per_seed" for stage in _STAGES),
    "collect_env_steps_per_s", "train_tokens_per_s", "evaluate_env_steps_per_s",
)  # fmt: skip


def write(out: Path, record: Mapping[str, Any], worlds: Sequence[World]) -> dict[str, Path]:
    """Write leaderboard.json, leaderboard.csv and leaderboard.html, each whole or not at all.

    Args:
        out: a folder; made if it is not there.
        record: as `leaderboard` gives it.
        worlds: the same that it was made of, whose curves are drawn.

    Returns:
        Where each is, by "json", "csv" and "page".
    """
    from adbench.suite import page  # matplotlib

    record = plain(record)
    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    files = {
        "json": (out / JSON, text),
        "csv": (out / CSV, as_csv(record)),
        "page": (out / PAGE, page.render(record, worlds)),
    }
    for path, content in files.values():
        write_text(path, content)
    return {name: path for name, (path, _) in files.items()}


def as_csv(record: Mapping[str, Any]) -> str:
    """A line a method of every world, and of the mean over worlds; units are in the headings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for line in _lines(record):
        writer.writerow({name: _cell(value) for name, value in line.items()})
    return text.getvalue()


def _lines(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for table in record["tables"]:
        about = {"series": table["series"], "context_steps": table["context_steps"]}
        for row in table["rows"]:
            ratios = {
                f"data_efficiency_{short}_{share}": table["data_efficiency"][form][str(share)][
                    "geometric_mean"
                ]
                for form, short in _FORMS.items()
                for share in SHARES
            }
            yield {
                **about,
                "world": ALL_WORLDS,
                "method": row["method"],
                "worlds": len(row["worlds"]),
                "intervals_over": " / ".join(table["intervals_over"]),
                **_scores(row),
                **(ratios if row["method"] == OURS else {}),
            }
        for world in worlds_of(record, table):
            yield from _of_world(world, about)


def _of_world(world: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    efficiency = world["data_efficiency"]
    whole = {
        "at_equal_steps": world["at_equal_steps"]["verdict"],
        **{
            f"data_efficiency_{short}_{share}": efficiency[form][str(share)]
            for form, short in _FORMS.items()
            for share in SHARES
        },
        **{f"{stage}_seconds_per_seed": world["seconds"]["per_seed"][stage] for stage in _STAGES},
        **world["throughput"],
    }
    for method, row in world["rows"].items():
        yield {
            **about,
            "world": world["world"],
            "env": world["env"],
            "method": method,
            "worlds": 1,
            "seeds": len(world["seeds"]),
            "tasks": world["tasks"],
            "intervals_over": world["intervals_over"],
            **_scores(row),
            "final_return": row["final_return"],
            **(whole if method == OURS else {}),
        }


def _scores(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in STATISTICS:
        low, high = row[f"{name}_interval"] or (None, None)
        found |= {name: row[name], f"{name}_low": low, f"{name}_high": high}
    return found


def _cell(value: Any) -> Any:
    """A spreadsheet takes a text that begins so for a formula, and names come from anywhere."""
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
