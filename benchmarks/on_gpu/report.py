"""Tables and plots from the result files; nothing here is typed by hand.

Written into the folder of the results: README.md and an SVG a section. Nothing is written while a
GPU test fails, and measurements of other sources than today's are left out and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.on_gpu import growth, plots, roofs, sources, targets, verdict
from benchmarks.on_gpu.columns import markdown, table
from benchmarks.on_gpu.roofs import Ceilings
from benchmarks.on_gpu.store import read

Row = Mapping[str, Any]


def render(folder: Path, *, smoke: bool = False, say: Callable[[str], None] = print) -> int:
    """Write README.md and the plots; 0, or 1 with the reason on stderr.

    Args:
        folder: of the result files.
        smoke: they are of a trial.
        say: is told where things went.
    """
    refusal = verdict.refusal(folder, smoke=smoke)
    if refusal:
        print(f"nothing is shown: {refusal}", file=sys.stderr)
        return 1
    documents = {file.stem: found for file in sorted(folder.glob("*.json"))
                 if (found := read(file)) is not None}  # fmt: skip
    fresh, stale = current(documents)
    limits = roofs.measured(documents)
    text = page(documents, fresh, stale, limits)
    target = folder / "README.md"
    target.write_text(text, encoding="utf-8")
    say(f"wrote {target}")
    for file in plots.draw(folder, fresh):
        say(f"wrote {file}")
    return 0


def current(documents: Mapping[str, Any]) -> tuple[dict[str, list[Row]], int]:
    """Rows that hold for today's sources, by section, and how many do not."""
    holds = {depends and sources.of_case(depends) for depends in sources.KINDS}
    fresh: dict[str, list[Row]] = {}
    stale = 0
    for name, document in documents.items():
        if name == "tests":
            continue
        rows = [row for row in document["rows"] if row["source"] in holds]
        stale += len(document["rows"]) - len(rows)
        fresh[name] = rows
    return fresh, stale


def page(
    documents: Mapping[str, Any], fresh: Mapping[str, Sequence[Row]], stale: int, limits: Ceilings
) -> str:
    """The page, Markdown."""
    lines = ["# Measured on a GPU", "", "Rendered by `python -m benchmarks.gpu --render` from the",
             "JSON files beside it. Medians; p20 and p80 are in the files.", ""]  # fmt: skip
    lines += [f"- {line}" for line in _machines(documents)]
    if stale:
        lines.append(f"- {stale} measurements of older sources are left out; measure them again.")
    lines += ["", "## Ceilings", "", *_ceilings(limits)]
    lines += ["", "## What was to be reached", "", *markdown(
        ("what", "at least", "measured", "reached"), targets.judge(fresh, limits.bytes)
    )]  # fmt: skip
    lines += _growth(fresh)
    for section, rows in fresh.items():
        if section == "ceilings" or not rows:
            continue
        lines += ["", f"## {section}", ""]
        if section in plots.PLOTS:
            lines += [f"![{section}]({section}.svg)", ""]
        lines += _suite(rows) if section == "suite" else table(section, rows, limits)
    return "\n".join(lines) + "\n"


def _machines(documents: Mapping[str, Any]) -> list[str]:
    """A line a machine, version and commit, with the sections that were measured there."""
    found: dict[str, list[str]] = {}
    for name, document in documents.items():
        for session in document["sessions"]:
            said = f"{session['device']}, torch {session['torch']}, Triton {session['triton']}"
            if session.get("driver"):
                said += f", driver {session['driver']}"
            said += ", a trial: times mean nothing" if session["smoke"] else ""
            sections = found.setdefault(f"{said}; commit {str(session['commit'])[:12]}", [])
            if name not in sections:
                sections.append(name)
    return [f"{said} ({', '.join(sections)})" for said, sections in found.items()]


def _ceilings(limits: Ceilings) -> list[str]:
    rows = [
        ("copy, read and written", _rate(limits.bytes, 1e9, "GB/s"), "measured"),
        ("bfloat16 matrix product", _rate(limits.flops, 1e12, "TFLOP/s"), "measured"),
        ("exponentials", _rate(limits.exponentials, 1e12, "10^12/s"),
         "arithmetic: 16 a clock and multiprocessor"),
    ]  # fmt: skip
    return markdown(("ceiling", "rate", "how known"), rows)


def _rate(value: float | None, unit: float, name: str) -> str:
    return "not measured" if value is None else f"{value / unit:,.4g} {name}"


def _growth(fresh: Mapping[str, Sequence[Row]]) -> list[str]:
    """Exponents over row lengths and windows; nothing where there are none."""
    found = [line for name in growth.OVER for line in growth.exponents(name, fresh.get(name, ()))]
    if not found:
        return []
    rows = [
        (
            line.what,
            line.over,
            f"{line.growth.exponent:.2f}",
            f"{line.growth.low:.2f} to {line.growth.high:.2f}",
            f"{line.growth.last:.2f}",
            ", ".join(map(str, line.sizes)),
        )
        for line in found
    ]
    said = "Seconds of a training row of T tokens, or of a step with a window, as size ** exponent."
    head = ("what", "over", "exponent", "95 % interval", "between the last two", "sizes")
    return ["", "## How cost grows", "", said, "", *markdown(head, rows)]


def _suite(rows: Sequence[Row]) -> list[str]:
    """What the slice of a suite came to, and a line a run that it began."""
    lines = []
    for row in rows:
        if "command" not in row:
            lines.append(f"{row['status']}: {row['reason']}")
            continue
        said = f": {row['reason']}" if row["status"] != "ok" else ""
        lines += [f"`{row['command']}`: {row['status']}, exit code {row['exit_code']} after "
                  f"{row['seconds']:g} s{said}", ""]  # fmt: skip
        lines += markdown(
            ("run", "finished", "seconds by stage", "throughput"),
            [(run["run"], "yes" if run["finished"] else "no", _pairs(run["stage_seconds"]),
              _pairs(run["throughput"])) for run in row["runs"]],
        )  # fmt: skip
    return lines


def _pairs(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in found.items()
                     if isinstance(value, int | float))  # fmt: skip
