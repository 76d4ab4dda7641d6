"""What belongs side by side: one thing done by several implementations, over one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adbench.perf.measured import Measured, Row, Subject, Untimed

CEILINGS = "ceilings"
"""The stage that measures the machine itself."""

AXES = {
    "context": "context, tokens",
    "lanes": "lanes side by side",
    "learners": "learners side by side",
    "frame": "frame, pixels",
    "matrix": "matrix, rows and columns",
    "copy": "array, MiB",
}
"""What cost is held against, in the order in which reports show it, and how an axis names it."""


@dataclass(frozen=True)
class Panel:
    """One case: its implementations, each over its sizes.

    Attributes:
        stage: which part of the pipeline.
        case: what is done, in words.
        over: what the cost is held against; none: one size alone.
        unit: of the rate.
        setting: device, threads and precision, in words.
        lines: rows by implementation, ours first, each from the smallest size up.
        untimed: sizes of these implementations that have no time.
    """

    stage: str
    case: str
    over: str | None
    unit: str
    setting: str
    lines: dict[str, tuple[Row, ...]]
    untimed: tuple[Untimed, ...]

    @property
    def sizes(self) -> list[float]:
        """Every size that was tried, in order."""
        tried = [row.subject.size for line in self.lines.values() for row in line]
        tried += [each.subject.size for each in self.untimed if each.subject is not None]
        return sorted({size for size in tried if size is not None})

    @property
    def ours(self) -> list[str]:
        """Implementations that are what adbench takes."""
        return [name for name, line in self.lines.items() if line[0].subject.ours]

    def at(self, implementation: str, size: float | None) -> Row | None:
        """The row of an implementation at a size."""
        for row in self.lines.get(implementation, ()):
            if row.subject.size == size:
                return row
        return None


def panels(measured: Measured) -> list[Panel]:
    """All cases of a file but the ceilings: what scales with context first, then by stage."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in measured.rows:
        if row.subject.stage != CEILINGS:
            groups.setdefault((*_where(row.subject), row.unit), []).append(row)
    lost: dict[tuple[object, ...], list[Untimed]] = {}
    for each in measured.untimed:
        if each.subject is not None:
            lost.setdefault(_where(each.subject), []).append(each)
    found = [_panel(rows, lost.get(_where(rows[0].subject), [])) for rows in groups.values()]
    return sorted(found, key=lambda panel: _rank(panel.over))


def _where(subject: Subject) -> tuple[object, ...]:
    return (subject.stage, subject.case, subject.over, _setting(subject))


def _setting(subject: Subject) -> str:
    if subject.device != "cpu":
        return f"{subject.device}, {subject.precision}"
    threads = f"{subject.threads} thread{'s' * (subject.threads > 1)}"
    return f"{threads}, {subject.precision}"


def _rank(over: str | None) -> int:
    names = list(AXES)
    return names.index(over) if over in names else len(names)


def _panel(rows: Sequence[Row], lost: Sequence[Untimed]) -> Panel:
    first = rows[0].subject
    names = _in_order(row.subject.implementation for row in rows)
    lines = {
        name: tuple(
            sorted(
                (row for row in rows if row.subject.implementation == name),
                key=lambda row: row.subject.size or 0.0,
            )
        )
        for name in names
    }
    ours_first = sorted(lines, key=lambda name: not lines[name][0].subject.ours)
    return Panel(
        stage=first.stage,
        case=first.case,
        over=first.over,
        unit=rows[0].unit,
        setting=_setting(first),
        lines={name: lines[name] for name in ours_first},
        untimed=tuple(lost),
    )


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
