"""Figures that show tasks one by one: AD fails per task, all or nothing, and a mean hides that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from adbench.report.names import name_of
from adbench.report.style import GREY, INK, drawing, look, svg
from adbench.stats import Floats, has_room, last_tenth

Record = Mapping[str, Any]
"""One test set of results.json."""

MOST_PANELS = 64
_IN_PANELS = ("source", "ad")


def task_panels(record: Record) -> tuple[str, int] | None:
    """A panel a task: AD and its source, worst task first.

    Args:
        record: one test set of the results.

    Returns:
        The SVG and how many tasks it shows (of many, some from worst to best, evenly spaced), or
        none where neither row was run.
    """
    methods = [method for method in _IN_PANELS if method in record["per_task"]]
    if not methods:
        return None
    curves = {method: _of_tasks(record, method) for method in methods}
    optimal = _constants(record, "optimal")
    names = _task_names(record)
    first = curves[methods[-1]]
    order = np.argsort(_final(first, record), kind="stable")
    if len(order) > MOST_PANELS:
        order = order[np.linspace(0, len(order) - 1, MOST_PANELS).round().astype(int)]
    columns = next(count for count in (4, 6, 8, 10) if len(order) <= count * 6 or count == 10)
    columns = min(columns, len(order))
    rows = math.ceil(len(order) / columns)
    with drawing():
        figure = Figure(figsize=(9.2, 0.75 + (1.5 if columns <= 4 else 1.15) * rows))
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, task in zip(axes, order, strict=False):
            for method in methods:
                style = look(method)
                episode, each = _thinned(curves[method][:, task], most=800 // columns // 2)
                if len(each) > 1:
                    axis.plot(episode, each.T, color=style.colour, linewidth=0.6, alpha=0.45)
                axis.plot(
                    episode, each.mean(axis=0), color=style.colour, linewidth=1.4,
                    marker="." if len(episode) == 1 else "",
                )  # fmt: skip
            if optimal is not None:
                axis.axhline(optimal[:, task].mean(), color=INK, linewidth=0.8, linestyle="--")
            axis.set_title(names[task], fontsize=6.5, color=GREY, pad=2)
            axis.tick_params(labelsize=7)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=3, min_n_ticks=1))
        for axis in axes[len(order) :]:
            axis.set_visible(False)
        for axis in axes[max(0, len(order) - columns) : len(order)]:
            axis.tick_params(labelbottom=True)  # also above a place that stays empty
        _panel_legend(figure, methods, optimal is not None)
        figure.supxlabel("episode", fontsize=9)
        figure.supylabel("return", fontsize=9)
        height = figure.get_figheight()
        episodes = max(returns.shape[-1] for returns in curves.values())
        axes[0].set_xlim((1, episodes) if episodes > 1 else (0.5, 1.5))
        figure.subplots_adjust(
            left=0.065,
            right=0.99,
            bottom=0.45 / height,
            top=1 - 0.48 / height,
            wspace=0.12,
            hspace=0.38,
        )
        return svg(figure), len(order)


def score_strips(record: Record) -> str | None:
    """Every task's final normalised score, a strip a row: what a mean rests on, and what failed.

    None where a score cannot be normalised.
    """
    random, optimal = _constants(record, "random"), _constants(record, "optimal")
    if random is None or optimal is None:
        return None
    kept = has_room(random, optimal).all(axis=0)
    methods = [name for name in record["per_task"] if name not in ("random", "optimal")]
    if not kept.any() or not methods:
        return None
    with drawing():
        figure = Figure(figsize=(9.2, 0.8 + 0.42 * len(methods)))
        axis = figure.subplots()
        for row, method in enumerate(methods):
            returns = np.array(record["per_task"][method], np.float64)
            final = returns[..., last_tenth(returns.shape[-1])].mean(axis=-1)
            scores = ((final - random) / (optimal - random))[:, kept].ravel()
            style = look(method)
            axis.plot(
                scores, row + _beside(len(scores)), "o", color=style.colour, markersize=3.4,
                alpha=0.5, markeredgewidth=0,
            )  # fmt: skip
            score = record["scores"][method]
            axis.plot([score["final_mean"]] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6)
            if score["final_mean_interval"]:
                axis.plot(score["final_mean_interval"], [row, row], color=INK, linewidth=1.2)
        axis.set_yticks(range(len(methods)), [name_of(method) for method in methods])
        axis.set_ylim(len(methods) - 0.45, -0.55)
        axis.axvline(0, color=look("random").colour, linestyle=":", linewidth=1.1)
        axis.axvline(1, color=look("optimal").colour, linestyle="--", linewidth=1.1)
        axis.axvline(0.5, color=GREY, linewidth=0.7)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel("normalised score of a task, last 10 % of episodes (0: random, 1: optimal)")
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.19, right=0.985, bottom=0.5 / height, top=1 - 0.08 / height)
        return svg(figure)


def _of_tasks(record: Record, method: str) -> Floats:
    """Returns [S, T, E] where the seeds share their tasks, else the first seed's, [1, T, E]."""
    returns = np.array(record["per_task"][method], np.float64)
    return returns if _seeds_share_tasks(record) else returns[:1]


def _seeds_share_tasks(record: Record) -> bool:
    return all(tasks == record["task_ids"][0] for tasks in record["task_ids"])


def _constants(record: Record, method: str) -> Floats | None:
    """Random or optimal return of each task, [S, T]; none where the row was not asked for."""
    values = record["per_task"].get(method)
    return None if values is None else np.array(values, np.float64)[..., 0]


def _final(returns: Floats, record: Record) -> Floats:
    """What tasks are ordered by, [T]: the final score, or the return if it cannot be normalised."""
    final = returns[..., last_tenth(returns.shape[-1])].mean(axis=(0, -1))
    random, optimal = _constants(record, "random"), _constants(record, "optimal")
    if random is None or optimal is None:
        return np.asarray(final)
    low, high = random.mean(axis=0), optimal.mean(axis=0)
    room = np.where(high > low, high - low, 1.0)
    return np.asarray((final - low) / room)


def _thinned(returns: Floats, most: int) -> tuple[NDArray[np.float64], Floats]:
    """Episode numbers and returns [S, E] as so many points at most, each a mean of neighbours."""
    episodes = returns.shape[-1]
    size = -(-episodes // most)
    starts = np.arange(0, episodes, size)
    ends = np.minimum(starts + size, episodes)
    means = np.add.reduceat(returns, starts, axis=1) / (ends - starts)
    return (starts + ends + 1) / 2, means


def _beside(count: int) -> Floats:
    """Small offsets that keep dots apart, the same each time: the golden ratio's multiples."""
    return np.asarray(((np.arange(count) * 0.6180339887) % 1.0 - 0.5) * 0.56)


def _task_names(record: Record) -> list[str]:
    names = []
    for task in record["task_ids"][0]:
        text = ", ".join(f"{part:g}" for part in task) if isinstance(task, list) else str(task)
        names.append("task " + (text if len(text) <= 20 else text[:19] + "…"))
    return names


def _panel_legend(figure: Figure, methods: list[str], has_optimum: bool) -> None:
    lines = [(name_of(method), look(method)) for method in (*methods, *(["optimal"] * has_optimum))]
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=each.colour, linestyle=each.dash, linewidth=1.6) for _, each in lines
    ]
    figure.legend(
        handles, [label for label, _ in lines], loc="upper right", ncols=len(lines), fontsize=8.5
    )
