"""The files of a context-length study: context.html, the figure as SVG, JSON and CSV.

The page opens without a network. Everything that comes from results is escaped by the template;
only the figure, which this package draws itself, goes in as it is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench.data_efficiency import SHARES
from adbench.folder import write_text
from adbench.report.drawing import Drawing
from adbench.report.numbers import NOTHING, bounds, fixed, large, seconds, short
from adbench.report.table import Cell
from adbench.report.words import count
from adbench.resources import size
from adbench.suite import context_figure, context_words

PAGE, FIGURE, JSON, CSV = "context.html", "context.svg", "context.json", "context.csv"

_MEASURED = (
    "train_tokens_per_s", "evaluate_env_steps_per_s", "train_peak_bytes", "evaluate_peak_bytes",
    "train_peak_gpu_bytes", "evaluate_peak_gpu_bytes", "train_seconds", "evaluate_seconds",
)  # fmt: skip
COLUMNS = (
    "series", "context_steps", "context_episodes", "reach_steps", "row_steps", "batch_sequences",
    "trained_tokens", "seeds",
    *(f"final_{what}{end}" for what in ("score", "return") for end in ("", "_low", "_high")),
    *(f"steps_to_{share}" for share in SHARES),
    *(f"vs_source_single_stream_{share}{end}" for share in SHARES for end in ("", "_low", "_high")),
    *(f"vs_source_total_{share}" for share in SHARES),
    *(f"{name}{end}" for name in _MEASURED for end in ("", "_low", "_high")),
)  # fmt: skip
"""Of context.csv, a line a point; units are in the names."""

_HEADINGS = (
    "context", "episodes", "reach, steps", "final score", "final return",
    "steps of source / AD, to 50 %", "to 90 %", "training, tokens/s", "evaluation, steps/s",
    "memory, training", "memory, evaluation",
)  # fmt: skip


def write(out: Path, record: Mapping[str, Any]) -> dict[str, Path]:
    """Write the study's files, each whole or not at all.

    Args:
        out: the study's folder.
        record: as `study_record` gives it.

    Returns:
        Where each is, by "page", "figure" (only where there are points), "json" and "csv".
    """
    drawing = _drawing(record)
    files = {
        "json": (JSON, json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"),
        "csv": (CSV, as_csv(record)),
        "page": (PAGE, render(record, drawing)),
    }
    if drawing is not None:
        files["figure"] = (FIGURE, drawing.svg)
    for name, text in files.values():
        write_text(out / name, text)
    return {kind: out / name for kind, (name, _) in files.items()}


def render(record: Mapping[str, Any], drawing: Drawing | None) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("adbench.suite", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("context.html.jinja").render(
        record=record,
        drawing=drawing,
        pays=context_words.pays_sentences(record),
        paper=context_words.paper_sentence(record),
        shared=context_words.shared_sentence(record),
        intervals=context_words.intervals_sentence(record),
        headings=_HEADINGS,
        rows=[_row(point) for point in record["points"]],
        facts=_facts(record),
        nothing=NOTHING,
    )


def as_csv(record: Mapping[str, Any]) -> str:
    """A line a point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for point in record["points"]:
        line: dict[str, Any] = {name: point[name] for name in COLUMNS if name in point}
        line["seeds"] = " ".join(map(str, point["seeds"]))
        for name in ("final_score", "final_return"):
            line |= _ends(name, point[f"{name}_interval"])
        for share in map(str, SHARES):
            line[f"steps_to_{share}"] = point["steps_to"][share]
            line[f"vs_source_total_{share}"] = point["vs_source_total"][share]
            ratio = f"vs_source_single_stream_{share}"
            line[ratio] = point["vs_source_single_stream"][share]
            line |= _ends(ratio, point["single_stream_interval"].get(share))
        for name in _MEASURED:
            found = point[name] or {}
            line |= {name: found.get("mean")} | _ends(name, (found.get("low"), found.get("high")))
        writer.writerow({name: "" if value is None else value for name, value in line.items()})
    return text.getvalue()


def _ends(name: str, interval: Any) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _drawing(record: Mapping[str, Any]) -> Drawing | None:
    if not record["points"]:
        return None
    caption = (
        "Against context length: the exact series (c) and the banded one, drawn against its window "
        "W, with its reach beside each point. Same histories, same subsampling, same number of "
        "trained tokens at every length."
    )
    return Drawing(FIGURE, context_figure.figure(record), caption)


def _row(point: Mapping[str, Any]) -> list[Cell]:
    letter = "c" if point["series"] == "exact" else "W"
    return [
        Cell(
            f"{point['series']}, {letter} = {point['context_steps']:,}",
            count(len(point["seeds"]), "seed"),
        ),
        Cell(short(point["context_episodes"])),
        Cell(f"{point['reach_steps']:,}"),
        Cell(fixed(point["final_score"]), bounds(point["final_score_interval"])),
        Cell(fixed(point["final_return"]), bounds(point["final_return_interval"])),
        *(_ratio(point, str(share)) for share in SHARES),
        *(
            _range(point[name], large)
            for name in ("train_tokens_per_s", "evaluate_env_steps_per_s")
        ),
        *(_memory(point, stage) for stage in ("train", "evaluate")),
    ]


def _ratio(point: Mapping[str, Any], share: str) -> Cell:
    ratio = point["vs_source_single_stream"][share]
    if ratio is None:
        return Cell(NOTHING, reason=point["reasons"].get(f"vs_source_single_stream.{share}", ""))
    return Cell(fixed(ratio), bounds(point["single_stream_interval"].get(share)))


def _range(found: Mapping[str, float] | None, said: Callable[[float], str]) -> Cell:
    if found is None:
        return Cell(NOTHING, reason="not measured")
    low, high = said(found["low"]), said(found["high"])
    return Cell(said(found["mean"]), "" if low == high else f"{low} to {high}")


def _memory(point: Mapping[str, Any], stage: str) -> Cell:
    """Of the GPU where there is one, else of the process."""
    found = point[f"{stage}_peak_gpu_bytes"] or point[f"{stage}_peak_bytes"]
    return _range(found, size)


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("study", record["origin"]),
        ("source", record["shared"]["source"]),
        (
            "evaluation",
            f"{record['shared']['evaluated_episodes']} episodes in each lane, "
            f"{record['shared']['lanes_per_task']} lanes a task",
        ),
    ]
    made_on = record["made_on"]
    if made_on is not None:
        machine = made_on["machine"]
        versions = ", ".join(f"{name} {which}" for name, which in made_on["versions"].items())
        facts += [
            (
                "machine",
                f"{made_on['device']}; {machine['processor']}, {machine['cores']} cores, "
                f"{made_on['threads']} threads a run; {machine['system']}",
            ),
            ("versions", versions),
            ("commit", made_on["commit"] or NOTHING),
        ]
    took = [
        point[f"{stage}_seconds"]["mean"] * len(point["seeds"])
        for point in record["points"]
        for stage in ("train", "evaluate")
        if point[f"{stage}_seconds"]
    ]
    return [*facts, ("time", f"{seconds(sum(took))} of training and evaluation")] if took else facts
