"""Figures of a leaderboard, as SVG documents: the table as dots, and every world's curves.

Equal for equal results. Episodes count from 1 and are those of one stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from adbench import stats
from adbench.data_efficiency import SOURCES, WINDOW_EPISODES
from adbench.paper_curves import paper_curves
from adbench.report.names import name_of
from adbench.report.style import GREY, INK, LIGHT, PAPER_DASHES, drawing, look, svg
from adbench.rows import CONSTANTS
from adbench.scores import OURS
from adbench.suite.merge import World

_SHOWN = (OURS, "ed", *SOURCES, *CONSTANTS)
"""Rows of the small figures; the null rows are in the tables."""
_COLUMNS = 3
_PAPER_NAMES = {
    "ad": "paper's AD",
    "ed": "paper's ED",
    "source": "paper's source",
    "rl2": "paper's RL2",
}


def scores(table: Mapping[str, Any], worlds: Sequence[Mapping[str, Any]]) -> str:
    """Every row's score: a large dot over all worlds with its interval, a small one a world.

    Args:
        table: one of the record's `tables`.
        worlds: the records of its worlds.
    """
    rows = [
        row
        for row in table["rows"]
        if row["method"] not in CONSTANTS and row["final_mean"] is not None
    ]
    with drawing():
        figure = Figure(figsize=(9.2, 0.9 + 0.42 * max(1, len(rows))))
        axis = figure.subplots()
        for place, row in enumerate(rows):
            colour = look(row["method"]).colour
            each = [
                score
                for world in worlds
                if (score := world["rows"].get(row["method"], {}).get("final_mean")) is not None
            ]
            if len(each) > 1:
                axis.plot(each, [place] * len(each), "o", color=colour, alpha=0.35, markersize=4)
            if row["final_mean_interval"] is not None:
                axis.hlines(place, *row["final_mean_interval"], color=colour, linewidth=2.2)
            axis.plot([row["final_mean"]], [place], "o", color=colour, markersize=8, zorder=5)
        for end in (0.0, 1.0):
            axis.axvline(end, color=GREY, linewidth=1.0, linestyle="--", zorder=0)
        axis.set_yticks(range(len(rows)), [name_of(row["method"]) for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("normalised score: random 0, optimal 1")
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.22, right=0.98, bottom=0.55 / height, top=1 - 0.1 / height)
        return svg(figure)


def learning_curves(worlds: Sequence[World]) -> str:
    """Return over episodes, a panel a world, with the paper's curves where the world is its."""
    return _grid(worlds, _over_episodes, "return of an episode")


def curves_over_steps(worlds: Sequence[World]) -> str:
    """Return over environment steps of one stream, AD and its sources, a panel a world."""
    return _grid(worlds, _over_steps, f"return, mean of {WINDOW_EPISODES} episodes")


def title_of(world: World) -> str:
    """What a panel is called."""
    parts = [world.name, world.series]
    if world.context_steps is not None:
        parts.append(f"context {world.context_steps}")
    return ", ".join(part for part in parts if part)


def _grid(worlds: Sequence[World], draw: Callable[[Axes, World], None], what: str) -> str:
    with drawing():
        columns = min(_COLUMNS, len(worlds))
        lines = math.ceil(len(worlds) / columns)
        width, height = (9.2, 2.75 * lines + 0.65) if columns > 1 else (6.2, 4.0)
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis in axes.flat[len(worlds) :]:
            axis.set_visible(False)
        for i, (axis, world) in enumerate(zip(axes.flat, worlds, strict=False)):
            axis.set_title(title_of(world))
            draw(axis, world)
            if i % columns == 0:
                axis.set_ylabel(what)
        _legend(figure, list(axes.flat[: len(worlds)]))
        figure.subplots_adjust(
            left=0.62 / width, right=1 - 0.12 / width, bottom=1.05 / height, top=1 - 0.3 / height,
            wspace=0.24, hspace=0.52,
        )  # fmt: skip
        return svg(figure)


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= {label: handle for label, handle in zip(labels, handles, strict=True)
                  if label not in found}  # fmt: skip
    figure.legend(found.values(), found.keys(), loc="lower center", ncols=min(5, len(found) or 1))


def _over_episodes(axis: Axes, world: World) -> None:
    last = max(returns.shape[-1] for returns in world.returns.values())
    low, high = _ends(world)
    for method in _SHOWN:
        if method not in world.returns:
            continue
        returns, style = world.returns[method], look(method)
        episode = np.arange(1, returns.shape[-1] + 1)
        mean = stats.mean(np.moveaxis(returns, -1, 0))
        order = 5 if method == OURS else 3
        axis.plot(
            episode, mean, color=style.colour, linestyle=style.dash, linewidth=style.width,
            label=name_of(method), zorder=order, marker="o" if len(episode) < 3 else "",
        )  # fmt: skip
        band = stats.curve_interval(returns, world.resamples) if world.lanes[method] else None
        if band is not None and method in (OURS, *SOURCES):
            axis.fill_between(episode, *band, color=style.colour, alpha=0.16, linewidth=0)
    for curve in paper_curves(world.env):
        shown = curve.episode <= last
        if not shown.any():
            continue
        axis.plot(
            curve.episode[shown], curve.mean[shown], color=LIGHT, linewidth=1.3, zorder=1,
            linestyle=PAPER_DASHES[curve.series], label=_PAPER_NAMES[curve.series],
        )  # fmt: skip
    axis.set_xlim(1, max(2, last))
    axis.set_ylim(low, high)
    axis.set_xlabel("episode of one task")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _ends(world: World) -> tuple[float, float]:
    means = [stats.mean(np.moveaxis(returns, -1, 0)) for returns in world.returns.values()]
    low, high = min(each.min() for each in means), max(each.max() for each in means)
    room = high - low or 1.0
    return float(low - 0.04 * room), float(high + 0.06 * room)


def _over_steps(axis: Axes, world: World) -> None:
    for method in (OURS, *SOURCES):
        curve = world.curves.get(method)
        if curve is None or curve.steps is None or curve.returns.shape[-1] < WINDOW_EPISODES:
            continue
        style = look(method)
        steps = curve.steps.mean(axis=0)[WINDOW_EPISODES - 1 :]
        mean = stats.running_mean(curve.returns.mean(axis=0), WINDOW_EPISODES)
        axis.plot(
            steps, mean, color=style.colour, linewidth=style.width, label=name_of(method),
            zorder=5 if method == OURS else 3,
        )  # fmt: skip
        if method == OURS:
            axis.axvline(steps[-1], color=INK, linewidth=0.8, linestyle=":", zorder=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("environment steps of one stream")
