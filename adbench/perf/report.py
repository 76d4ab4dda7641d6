"""Performance reports: one page that opens without a network, and the same in Markdown.

Into a folder go perf.html, perf.md and, for the latter, figures/*.svg. Everything that comes from
files is escaped; figures, which this package draws itself, go in as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench.perf import tables
from adbench.perf.ceilings import ceilings
from adbench.perf.compare import busy_before
from adbench.perf.figures import figure
from adbench.perf.measured import Measured
from adbench.perf.panels import Panel, panels
from adbench.perf.tables import Table
from adbench.report.drawing import Drawing

PAGE, MARKDOWN = "perf.html", "perf.md"


@dataclass(frozen=True)
class Part:
    """One case of a file.

    Attributes:
        title: stage and case.
        setting: device, threads, precision.
        drawing: rate and memory over size, where there are two.
        ratios: ours over its peers, where there are any.
        table: everything that was measured.
    """

    title: str
    setting: str
    drawing: Drawing | None
    ratios: Table | None
    table: Table


@dataclass(frozen=True)
class Section:
    """One file.

    Attributes:
        title: its name.
        facts: machine, versions and the like, as pairs of what and which.
        warnings: what makes its times doubtful.
        parts: its cases, those over context first.
        ends: tables over all cases, by heading, each with a note.
    """

    title: str
    facts: list[tuple[str, str]]
    warnings: list[str]
    parts: list[Part]
    ends: list[tuple[str, str, Table]]


def write_report(measured: Sequence[Measured], folder: Path) -> Path:
    """Draw the page, the Markdown and the figures.

    Args:
        measured: files, one section each.
        folder: made if it is not there; figures of an earlier report go.

    Returns:
        Where the page is.
    """
    sections = [section(each, prefix=_prefix(number, measured)) for number, each in
                enumerate(measured)]  # fmt: skip
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.glob("perf-*.svg"):
        old.unlink()
    for each in sections:
        for part in each.parts:
            if part.drawing is not None:
                _put(figures / part.drawing.file, part.drawing.svg)
    _put(folder / MARKDOWN, markdown(sections))
    _put(folder / PAGE, page(sections))
    return folder / PAGE


def section(measured: Measured, *, prefix: str = "perf-") -> Section:
    """Everything that is said of one file.

    Args:
        measured: the file.
        prefix: of its figures' names.
    """
    cases = panels(measured)
    machine = ceilings(measured)
    parts = []
    for panel in cases:
        title = f"{panel.stage}: {panel.case}"
        drawn = figure(panel)
        file = f"{prefix}{_slug(f'{title} {panel.setting}')}.svg"
        parts.append(
            Part(
                title=title,
                setting=panel.setting,
                drawing=None if drawn is None else Drawing(file, drawn, _caption(panel)),
                ratios=tables.against_peers(panel),
                table=tables.measurements(panel),
            )
        )
    ends = [
        ("How cost grows", _GROWTH, tables.exponents(cases)),
        ("Share of what the machine gives", _SHARE, tables.of_ceilings(cases, machine)),
        ("The machine's ceilings", _CEILINGS, tables.ceilings_table(machine)),
        ("Without a time", _UNTIMED, tables.without_time(measured)),
    ]
    busy = busy_before(measured.machine)
    warnings = []
    if busy is not None:
        warnings.append(
            f"The machine was not idle when this was measured (load average {busy:.1f} before): "
            "times are high, and spreads do not show by how much."
        )
    if not machine.flops and not machine.bytes:
        warnings.append(
            "The machine's ceilings were not measured, so no shares of them are given: add "
            "benchmarks/bench_ceilings.py to the session."
        )
    return Section(
        title=measured.path.name,
        facts=facts(measured),
        warnings=warnings,
        parts=parts,
        ends=[(title, note, table) for title, note, table in ends if table is not None],
    )


_GROWTH = (
    "Seconds for one item (one row, one lane, one window) as size ** exponent: the least-squares "
    "slope of log median against log size, with Student's 95 % interval; 1 is linear, 2 is "
    "quadratic. The misfit is the root mean square of what the line leaves over. Overheads flatten "
    "small sizes, so the slope of the two largest alone stands beside it."
)
_SHARE = (
    "The least time that the nearer ceiling allows for a call's counted operations or bytes over "
    "the time it took. Operations are those the mathematics needs, bytes those that must be read "
    "and written once; work that fits into a cache may exceed the ceiling of a copy."
)
_CEILINGS = "The best of the sizes that bench_ceilings.py tries, in the same session."
_UNTIMED = (
    "A size that finds no memory, a peer that is not installed, or a check that failed: a "
    "benchmark whose result is wrong is never timed."
)


def facts(measured: Measured) -> list[tuple[str, str]]:
    """What times depend on, as pairs of what and which."""
    machine = measured.machine
    versions = machine.get("versions")
    found: list[tuple[str, Any]] = [
        ("measured", measured.when),
        ("commit", measured.commit),
        ("processor", machine.get("processor")),
        ("cores", machine.get("cores")),
        ("torch's threads", machine.get("torch_threads")),
        ("instructions", machine.get("cpu_capability")),
        ("system", machine.get("system")),
        ("load average before, after", _pair(machine)),
    ]
    for gpu in machine.get("gpus") or []:
        if isinstance(gpu, Mapping):
            found.append(("GPU", ", ".join(f"{name} {value}" for name, value in gpu.items())))
    if isinstance(versions, Mapping):
        installed = {name: version for name, version in versions.items() if version}
        found.append(("versions", ", ".join(f"{n} {v}" for n, v in installed.items())))
    return [(what, str(which)) for what, which in found if which is not None]


def _pair(machine: Mapping[str, Any]) -> str:
    return ", ".join(
        str(machine.get(name, "unknown")) for name in ("load_average_before", "load_average_after")
    )


def _caption(panel: Panel) -> str:
    text = f"{panel.case}, {panel.setting}: medians; bars span the quartiles."
    lost = {each.subject.implementation for each in panel.untimed
            if each.subject is not None and each.status == "out of memory"}  # fmt: skip
    return f"{text} Crosses: out of memory ({', '.join(sorted(lost))})." if lost else text


def page(sections: Sequence[Section]) -> str:
    """The report as HTML."""
    environment = Environment(
        loader=PackageLoader("adbench.perf", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("perf.html.jinja").render(sections=sections)


def markdown(sections: Sequence[Section]) -> str:
    """The report as Markdown, its figures in figures/."""
    lines = ["# Performance", ""]
    for each in sections:
        lines += [f"## {_escaped(each.title)}", ""]
        lines += [f"- {what}: {_escaped(which)}" for what, which in each.facts]
        lines += ["", *(f"**{warning}**\n" for warning in each.warnings)]
        for part in each.parts:
            lines += [f"### {_escaped(part.title)}", "", f"{part.setting}", ""]
            if part.drawing is not None:
                caption = _escaped(part.drawing.caption)
                lines += [f"![{caption}](figures/{part.drawing.file})", ""]
            for table in (part.ratios, part.table):
                lines += [] if table is None else [as_markdown(table), ""]
        for title, note, table in each.ends:
            lines += [f"### {title}", "", note, "", as_markdown(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown; words to the left, numbers to the right."""
    sides = ["---" if at < table.words else "---:" for at in range(len(table.head))]
    rows = [table.head, sides, *table.rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no cell, tag, link or emphasis of its own."""
    return re.sub(r"([\\|<>*_`]|\](?=[(\[]))", r"\\\1", text).replace("\n", " ")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _prefix(number: int, measured: Sequence[Measured]) -> str:
    return "perf-" if len(measured) == 1 else f"perf-{number + 1}-"


def _put(path: Path, content: str) -> None:
    half_written = path.with_name(path.name + ".tmp")
    half_written.write_text(content, encoding="utf-8")
    half_written.replace(path)
