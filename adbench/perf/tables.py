"""The tables of a performance report, as cells of text; the page and the Markdown share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adbench.perf.ceilings import COPY, MATMUL, Ceilings
from adbench.perf.growth import growth
from adbench.perf.measured import Measured, Row
from adbench.perf.numbers import count, duration, memory, rate, size, times
from adbench.perf.panels import AXES, Panel
from adbench.perf.peers import Ratio, ratios
from adbench.report.numbers import NOTHING, fixed, percent


@dataclass(frozen=True)
class Table:
    """Rows of words below a heading each.

    Attributes:
        head: headings.
        rows: as many cells each.
        words: how many columns, counted from the left, hold words; the others hold numbers.
    """

    head: list[str]
    rows: list[list[str]]
    words: int = 1


def measurements(panel: Panel) -> Table:
    """Every size and implementation of a case: rate, time and its spread, memory."""
    axis = AXES.get(panel.over, panel.over) if panel.over else ""
    head = [axis, "by", "rate", "median", "quartiles", "rounds", "memory added"]
    rows = []
    for name, line in panel.lines.items():
        for row in line:
            spread = f"{duration(row.q1)} to {duration(row.q3)}"
            rows.append(
                (row.subject.size or 0.0, [
                    size(row.subject.size), name, rate(row.rate, panel.unit),
                    duration(row.median), spread, str(row.rounds), memory(row.peak_bytes),
                ])
            )  # fmt: skip
    for each in panel.untimed:
        subject = each.subject
        if subject is not None:
            cells = [size(subject.size), subject.implementation, each.status, *[NOTHING] * 4]
            rows.append((subject.size or 0.0, cells))
    rows.sort(key=lambda each: each[0])  # stable: ours stays first among equal sizes
    table = Table(head, [cells for _, cells in rows], words=2)
    return table if panel.over else Table(head[1:], [cells[1:] for cells in table.rows])


def against_peers(panel: Panel) -> Table | None:
    """How many times each peer's rate ours is, by size; none without a peer."""
    found = ratios(panel)
    if not found:
        return None
    peers = list(dict.fromkeys(each.peer.subject.implementation for each in found))
    axis = AXES.get(panel.over, panel.over) if panel.over else ""
    rows = []
    for ours in dict.fromkeys(each.ours.subject.fullname for each in found):
        of_row = [each for each in found if each.ours.subject.fullname == ours]
        subject = of_row[0].ours.subject
        by_peer = {each.peer.subject.implementation: _ratio(each) for each in of_row}
        cells = [by_peer.get(peer, NOTHING) for peer in peers]
        rows.append([size(subject.size), subject.implementation, *cells])
    head = [axis, "rate of", *(f"over {peer}" for peer in peers)]
    table = Table(head, rows, words=2)
    return table if panel.over else Table(head[1:], [row[1:] for row in rows])


def _ratio(found: Ratio) -> str:
    text = f"{times(found.times)} [{times(found.low)}, {times(found.high)}]"
    return f"{text} (at {size(found.peer.subject.size)})" if found.other_size else text


def exponents(panels: Sequence[Panel]) -> Table | None:
    """How the cost of one item grows with its size, for every line with three sizes."""
    rows = []
    for panel in panels:
        for name, line in panel.lines.items():
            found = growth(line)
            if found is None or panel.over is None:
                continue
            sizes = [row.subject.size for row in line]
            rows.append([
                f"{panel.stage}: {panel.case}", AXES.get(panel.over, panel.over), name,
                f"{size(sizes[0])} to {size(sizes[-1])}",
                f"{fixed(found.exponent)} [{fixed(found.low)}, {fixed(found.high)}]",
                fixed(found.last), percent(found.misfit),
            ])  # fmt: skip
    head = ["case", "over", "by", "sizes", "exponent [95 %]", "of the last two", "misfit"]
    return Table(head, rows, words=4) if rows else None


def of_ceilings(panels: Sequence[Panel], machine: Ceilings) -> Table | None:
    """The share of the machine's ceilings of every row whose work was counted."""
    rows = []
    for panel in panels:
        for name, line in panel.lines.items():
            for row in line:
                found = machine.share(row)
                if found is not None:
                    rows.append([
                        f"{panel.stage}: {panel.case}", panel.setting, name,
                        size(row.subject.size), percent(found.share), found.ceiling,
                        _done(row.flops, row, "FLOP"), _done(row.bytes, row, "B"),
                    ])  # fmt: skip
    head = ["case", "on", "by", "size", "share", "of", "operations", "bytes"]
    return Table(head, rows, words=3) if rows else None


def _done(amount: float | None, row: Row, unit: str) -> str:
    return NOTHING if amount is None else f"{count(amount / row.median)}{unit}/s"


def ceilings_table(machine: Ceilings) -> Table | None:
    """The ceilings themselves."""
    rows = []
    for (device, threads, precision), flops in machine.flops.items():
        rows.append([MATMUL, f"{_on(device, threads)}, {precision}", f"{count(flops)}FLOP/s"])
    for (device, threads), moved in machine.bytes.items():
        rows.append([COPY, _on(device, threads), f"{count(moved)}B/s, read and written"])
    return Table(["ceiling", "on", "best that was measured"], rows, words=3) if rows else None


def _on(device: str, threads: int) -> str:
    return device if device != "cpu" else f"{threads} thread{'s' * (threads > 1)}"


def without_time(measured: Measured) -> Table | None:
    """Everything that was tried and has no time, with the reason."""
    rows = [[each.fullname, each.status, each.reason] for each in measured.untimed]
    return Table(["benchmark", "outcome", "reason"], rows, words=3) if rows else None
