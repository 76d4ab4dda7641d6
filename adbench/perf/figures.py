"""Throughput and memory over size, both axes logarithmic, as SVG documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from adbench.perf.measured import Row
from adbench.perf.numbers import count, memory, size
from adbench.perf.panels import AXES, Panel
from adbench.report.style import GREY, Look, drawing, svg

OURS = Look("#0072B2", width=2.6)
PEERS = (
    Look("#D55E00"), Look("#009E73"), Look("#E69F00"), Look("#CC79A7"), Look("#56B4E9"),
    Look("#8C6BB1"), Look("#6B6B00"), Look(GREY),
)  # fmt: skip
"""Colours of Okabe and Ito's, for all eyes; ours is the blue."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
"""Of the first, second and third of ours, and of peers when colours are used up."""
LEAST_RANGE = 8.0
"""Upper end of a vertical axis over its lower one, at the least."""


def figure(panel: Panel) -> str | None:
    """Rate over size, and memory over size where it was measured.

    Args:
        panel: one case; none is drawn where no line has two sizes.
    """
    if panel.over is None or all(len(line) < 2 for line in panel.lines.values()):
        return None
    remembers = any(_peak(row) for line in panel.lines.values() for row in line)
    with drawing():
        drawn = Figure(figsize=(9.2, 3.5))
        axes = drawn.subplots(1, 2, squeeze=False)[0] if remembers else [drawn.subplots()]
        _lines(axes[0], panel, lambda row: row.rate, spread=True)
        axes[0].set_ylabel(f"{panel.unit.replace('_', ' ')} a second")
        _lost(axes[0], panel)
        _finish(axes[0], panel, base=10, formatted=count)
        if remembers:
            _lines(axes[1], panel, _peak, spread=False)
            axes[1].set_ylabel("memory that a call adds at its peak")
            _finish(axes[1], panel, base=2, formatted=memory)
        handles, labels = axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="lower center", ncols=min(5, len(labels)))
        bottom = 0.58 + 0.24 * -(-len(labels) // 5)
        drawn.subplots_adjust(
            left=0.085, right=0.965, top=0.97, wspace=0.26,
            bottom=bottom / drawn.get_figheight(),
        )  # fmt: skip
        return svg(drawn)


def _peak(row: Row) -> float | None:
    return row.peak_bytes or None  # what adds nothing has no place on a logarithmic axis


def _lines(axis: Axes, panel: Panel, value: Callable[[Row], float | None], *, spread: bool) -> None:
    for name, line in panel.lines.items():
        shown = [(row.subject.size, y, row) for row in line if (y := value(row)) is not None]
        if not shown:
            continue
        look = _look(panel, name)
        x = [float(at) for at, _, _ in shown if at is not None]
        axis.plot(
            x, [y for _, y, _ in shown], color=look.colour, linestyle=look.dash,
            linewidth=look.width, marker="o", markersize=4, label=name,
            zorder=6 if name in panel.ours else 4,
        )  # fmt: skip
        if spread:
            slow = [row.amount / row.q3 for _, _, row in shown]
            fast = [row.amount / (row.q1 or row.median) for _, _, row in shown]
            axis.vlines(x, slow, fast, color=look.colour, linewidth=look.width, alpha=0.5)


def _look(panel: Panel, name: str) -> Look:
    if name in panel.ours:
        at = panel.ours.index(name)
        return Look(OURS.colour, DASHES[at % len(DASHES)], OURS.width)
    at = [each for each in panel.lines if each not in panel.ours].index(name)
    look = PEERS[at % len(PEERS)]
    return Look(look.colour, DASHES[at // len(PEERS) % len(DASHES)], look.width)


def _lost(axis: Axes, panel: Panel) -> None:
    """A cross at the lower edge where an implementation found no memory."""
    for each in panel.untimed:
        subject = each.subject
        if subject is None or subject.size is None or each.status != "out of memory":
            continue
        known = subject.implementation in panel.lines
        axis.plot(
            [subject.size], [0.03], "x", markersize=7, clip_on=False, zorder=7,
            color=_look(panel, subject.implementation).colour if known else GREY,
            transform=axis.get_xaxis_transform(),
        )  # fmt: skip


def _finish(
    axis: Axes, panel: Panel, *, base: int, formatted: Callable[[float | None], str]
) -> None:
    assert panel.over is not None
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=base)
    axis.margins(x=0.06)
    axis.set_xlabel(AXES.get(panel.over, panel.over))
    axis.set_xticks(_ticks(panel.sizes), [size(each) for each in _ticks(panel.sizes)])
    axis.xaxis.set_minor_locator(NullLocator())
    low, high = axis.get_ylim()
    if high < LEAST_RANGE * low:  # or small differences would look large
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(LEAST_RANGE), middle * math.sqrt(LEAST_RANGE)
        axis.set_ylim(low, high)
    subs = (1.0, 2.0, 5.0) if base == 10 else (1.0,)
    axis.yaxis.set_major_locator(LogLocator(base=base, subs=subs, numticks=8))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: formatted(y)))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _ticks(sizes: Sequence[float]) -> list[float]:
    """Sizes to name on the axis: all, or every other where they would touch."""
    every = -(-len(sizes) // 7)
    return list(sizes[::-1][::every][::-1])
