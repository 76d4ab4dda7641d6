"""Tables and plots from the result files; nothing here is typed by hand.

Written into the folder of the results: README.md and an SVG a section. Nothing is written while a
GPU test fails, and measurements of other sources than today's are left out and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.on_gpu import sources, targets, verdict
from benchmarks.on_gpu.store import read

Row = Mapping[str, Any]
EXPONENTIALS_A_CLOCK = 16
"""Of one multiprocessor, compute capability 8.0 to 10.0."""
EXPONENTIALS = {"forward": 1, "backward": 1, "both": 2}
"""A score: the backward pass makes the weights again."""
COLUMNS = ("op", "mode", "mask", "D", "T", "lanes", "window", "new", "frame", "samples",
           "batch", "MiB", "size")  # fmt: skip


class Ceilings(NamedTuple):
    """What a call is held against, a second; none where it was not measured or is not known.

    Attributes:
        bytes: of a copy, read and written.
        flops: of a bfloat16 matrix product.
        exponentials: multiprocessors x 16 x highest clock; arithmetic, not measured.
    """

    bytes: float | None
    flops: float | None
    exponentials: float | None

    def share(self, row: Row) -> tuple[float, str] | None:
        """Time at the nearest ceiling over the time measured, and which ceiling that is."""
        floors = {}
        if self.bytes and row["bytes"]:
            floors["memory"] = row["bytes"] / self.bytes
        if self.flops and row["flops"]:
            floors["tensor"] = row["flops"] / self.flops
        if self.exponentials and row["elements"]:
            count = row["elements"] * EXPONENTIALS.get(row["case"].get("mode", ""), 1)
            floors["exp"] = count / self.exponentials
        if not floors:
            return None
        which = max(floors, key=floors.__getitem__)
        return floors[which] / (row["median_ms"] / 1000), which


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
    limits = ceilings(documents)
    text = page(documents, fresh, stale, limits)
    target = folder / "README.md"
    target.write_text(text, encoding="utf-8")
    say(f"wrote {target}")
    from benchmarks.on_gpu import plots

    for file in plots.draw(folder, fresh):
        say(f"wrote {file}")
    return 0


def current(documents: Mapping[str, Any]) -> tuple[dict[str, list[Row]], int]:
    """Rows that hold for today's sources, by section, and how many do not."""
    holds = {"": "", **{depends: sources.of_case(depends) for depends in ("kernels", "choice")}}
    fresh: dict[str, list[Row]] = {}
    stale = 0
    for name, document in documents.items():
        if name == "tests":
            continue
        rows = [row for row in document["rows"] if row["source"] in holds.values()]
        stale += len(document["rows"]) - len(rows)
        fresh[name] = rows
    return fresh, stale


def ceilings(documents: Mapping[str, Any]) -> Ceilings:
    """The best copy and the best product that were measured, and what the clock allows."""
    rows = [r for r in documents.get("ceilings", {"rows": []})["rows"] if r["status"] == "ok"]
    copies = [1e9 * r["gb_per_s"] for r in rows if r["case"]["op"] == "copy"]
    products = [1e12 * r["tflop_per_s"] for r in rows if r["case"]["op"] == "matmul"]
    exponentials = None
    for document in documents.values():
        for session in document["sessions"]:
            clock = session.get("max_sm_clock_mhz")
            if isinstance(clock, float) and str(session.get("arch")).startswith("sm_"):
                exponentials = EXPONENTIALS_A_CLOCK * session["multiprocessors"] * clock * 1e6
    return Ceilings(max(copies, default=None), max(products, default=None), exponentials)


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
    lines += ["", "## What was to be reached", "", *_table(
        ("what", "at least", "measured", "reached"), targets.judge(fresh, limits.bytes)
    )]  # fmt: skip
    for section, rows in fresh.items():
        if section == "ceilings" or not rows:
            continue
        lines += ["", f"## {section}", "", f"![{section}]({section}.svg)", ""]
        lines += _section(rows, limits)
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
    return _table(("ceiling", "rate", "how known"), rows)


def _rate(value: float | None, unit: float, name: str) -> str:
    return "not measured" if value is None else f"{value / unit:,.4g} {name}"


def _section(rows: Sequence[Row], limits: Ceilings) -> list[str]:
    named = [name for name in COLUMNS if any(name in row["case"] for row in rows)]
    head = (*named, "implementation", "ms", "TFLOP/s", "10^9 scores/s", "10^6 frames/s", "GB/s",
            "of roof", "error", "x plain")  # fmt: skip
    order = {name: rank for rank, name in enumerate(named)}

    def place(row: Row) -> tuple[Any, ...]:
        return tuple(row["case"].get(name, "") for name in order)

    shown = []
    for row in sorted(rows, key=lambda row: [str(x).zfill(9) for x in place(row)]):
        cells = [str(cell) for cell in place(row)] + [str(row["case"]["implementation"])]
        if row["status"] != "ok":
            shown.append((*cells, row["status"], *[""] * 7))
            continue
        share = limits.share(row)
        roof = f"{100 * share[0]:.0f} % ({share[1]})" if share else ""
        shown.append((
            *cells, f"{row['median_ms']:.4g}", *(_plain(row, n) for n in
            ("tflop_per_s", "gelements_per_s")), _millions(row), _plain(row, "gb_per_s"), roof,
            *_errors(row),
        ))  # fmt: skip
    return _table(head, shown)


def _plain(row: Row, name: str) -> str:
    return f"{row[name]:.4g}" if row.get(name) else ""


def _millions(row: Row) -> str:
    return f"{row['frames_per_s'] / 1e6:.4g}" if row.get("frames_per_s") else ""


def _errors(row: Row) -> tuple[str, str]:
    if "error" not in row:
        return "", ""
    plain = row.get("error_of_plain")
    return f"{row['error']:.2g}", f"{row['error'] / plain:.2f}" if plain else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    rule = "|".join("---" for _ in head)
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
