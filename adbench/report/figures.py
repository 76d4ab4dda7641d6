"""Figures of whole rows, as SVG documents made from results alone.

Every function takes results as `read_results` gives them and returns SVG text, equal for equal
results. Episodes count from 1 and are those of one stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from adbench.data_efficiency import SOURCES, WINDOW_EPISODES
from adbench.paper_curves import paper_curves
from adbench.report.names import name_of
from adbench.report.numbers import ordinal
from adbench.report.style import GREY, LIGHT, PAPER_DASHES, drawing, look, spread, svg
from adbench.stats import Floats, running_mean

Results = Mapping[str, Any]

_FEW_EPISODES = 3
"""Curves of so few episodes are drawn with markers, or they could not be seen."""


def learning_curves(results: Results) -> str:
    """The main figure: return over episodes, every row with its interval, a panel a test set."""
    sets = results["test_sets"]
    grey = {
        name: lambda axis, record=record: _paper(axis, results, record)
        for name, record in sets.items()
    }
    curves = {name: record["curves"] for name, record in sets.items()}
    return _panels(curves, "return of an episode", _range(sets.values()), height=5.0, behind=grey)


def steps_to_goal(results: Results) -> str | None:
    """Steps to the goal over episodes, drawn likewise; none where episodes do not end at one."""
    curves = {name: record.get("steps_to_goal") for name, record in results["test_sets"].items()}
    shown = {name: each for name, each in curves.items() if each}
    if not shown:
        return None
    most = max(max(curve["mean"]) for each in shown.values() for curve in each.values())
    return _panels(shown, "steps of an episode until the goal", (0.0, 1.05 * most), height=3.6)


def _panels(
    sets: Mapping[str, Mapping[str, Any]],
    what: str,
    between: tuple[float, float],
    *,
    height: float,
    behind: Mapping[str, Callable[[Axes], list[End]]] | None = None,
) -> str:
    """Curves of rows over episodes, a panel a test set.

    Args:
        sets: curves by row, by test set.
        what: the vertical axis.
        between: its ends.
        height: of the figure, inches.
        behind: draws what lies behind the rows of a test set.
    """
    with drawing():
        panels = len(sets)
        figure = Figure(
            figsize=(9.2, height) if panels == 1 else (4.0 * panels + 0.6, height - 0.4)
        )
        axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
        for axis, (name, curves) in zip(axes, sets.items(), strict=True):
            ends = (behind[name](axis) if behind else []) + _rows(axis, curves)
            _finish(axis, curves)
            axis.set_ylim(between)
            if panels == 1:
                axis.set_xlabel(
                    "episode of one task (the transformer is frozen, its context starts empty)"
                )
                _label_ends(axis, ends)
            else:
                axis.set_title(f"test set: {name}")
        axes[0].set_ylabel(what)
        if panels == 1:
            bottom = 0.55 / figure.get_figheight()
            figure.subplots_adjust(left=0.075, right=0.735, bottom=bottom, top=0.97)
        else:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="lower center", ncols=min(4, len(labels)))
            lines = math.ceil(len(labels) / 4)
            figure.subplots_adjust(
                left=0.06,
                right=0.985,
                bottom=(0.64 + 0.25 * lines) / figure.get_figheight(),
                top=1 - 0.37 / figure.get_figheight(),
                wspace=0.08,
            )
        return svg(figure)


End = tuple[float, str, str, float]
"""Where a line ends: y, label, colour, font size."""


def _rows(axis: Axes, curves: Mapping[str, Any]) -> list[End]:
    ends = []
    for order, (method, curve) in enumerate(curves.items()):
        style = look(method)
        episode, mean = np.array(curve["episode"]), np.array(curve["mean"])
        marker = "o" if len(episode) <= _FEW_EPISODES else ""
        zorder = 6 if method == "ad" else 4 - order / 100
        axis.plot(
            episode, mean, color=style.colour, linestyle=style.dash, linewidth=style.width,
            marker=marker, label=name_of(method), zorder=zorder,
        )  # fmt: skip
        if curve["ci_low"][0] is not None:
            low, high = np.array(curve["ci_low"]), np.array(curve["ci_high"])
            if marker:
                axis.vlines(episode, low, high, color=style.colour, linewidth=style.width)
            axis.fill_between(
                episode, low, high, color=style.colour, alpha=0.16, linewidth=0, zorder=zorder - 3
            )
        ends.append((float(mean[-1]), name_of(method), style.colour, 9.0))
    return ends


def _paper(axis: Axes, results: Results, record: Mapping[str, Any]) -> list[End]:
    ends = []
    last = _last_episode(record["curves"])
    for curve in paper_curves(results["env"]):
        shown = curve.episode <= last
        if not shown.any():
            continue
        episode, mean = curve.episode[shown], curve.mean[shown]
        if curve.episode[-1] > last:
            episode = np.append(episode, last)
            mean = np.append(mean, np.interp(last, curve.episode, curve.mean))
        axis.plot(
            episode, mean, color=LIGHT, linestyle=PAPER_DASHES[curve.series], linewidth=1.3,
            zorder=1, label=curve.label,
        )  # fmt: skip
        if episode[-1] > 0.9 * last:
            ends.append((float(mean[-1]), curve.label, GREY, 7.5))
    return ends


def _last_episode(curves: Mapping[str, Any]) -> int:
    return max(int(curve["episode"][-1]) for curve in curves.values())


def _finish(axis: Axes, curves: Mapping[str, Any]) -> None:
    last = _last_episode(curves)
    pad = 0.5 if last <= _FEW_EPISODES else 0.0
    axis.set_xlim(1 - pad, last + pad)
    axis.set_xlabel("episode of one task")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))


def _range(records: Collection[Mapping[str, Any]]) -> tuple[float, float]:
    """One vertical range for all panels: all that is drawn of our rows, and 0 where it is near."""
    ends = [record["random_return"] for record in records]
    for record in records:
        if record["optimal_return"] is not None:
            ends.append(record["optimal_return"])
        for curve in record["curves"].values():
            ends += [min(curve["mean"]), max(curve["mean"])]
    low, high = min(ends), max(ends)
    room = high - low or 1.0
    if 0.0 < low < 0.25 * room:
        low = 0.0
    return low - 0.03 * room, high + 0.05 * room


def _label_ends(axis: Axes, ends: Sequence[End]) -> None:
    """Name each line beside its end, in its colour, moved apart where two would touch."""
    low, high = axis.get_ylim()
    wanted = [(y - low) / (high - low) for y, *_ in ends]
    places = spread(wanted, gap=0.047, low=0.0, high=1.0)
    for (_, label, colour, size), at, place in zip(ends, wanted, places, strict=True):
        at = min(max(at, 0.0), 1.0)
        axis.plot(
            [1.0, 1.012, 1.022], [at, place, place], color=colour, linewidth=0.8, clip_on=False,
            transform=axis.transAxes, alpha=0.7,
        )  # fmt: skip
        axis.text(
            1.028, place, label, color=colour, fontsize=size, va="center", transform=axis.transAxes
        )


def steps_needed(results: Results) -> str | None:
    """Return over environment steps of one stream: AD, its sources in full length, and copying.

    None where AD was not run, or for too few episodes.
    """
    curves = results["curves"] | results["full_curves"]
    efficiency = results["data_efficiency"]
    shown = [name for name in ("ad", *SOURCES) if name in curves]
    if "ad" not in shown or len(curves["ad"]["episode"]) < WINDOW_EPISODES:
        return None
    with drawing():
        figure = Figure(figsize=(9.2, 4.2))
        axis = figure.subplots()
        ends = []
        for name in shown:
            steps, mean = _windowed(curves[name])
            if len(steps) == 0:
                continue
            style = look(name)
            axis.plot(steps, mean, color=style.colour, linewidth=style.width, label=name_of(name))
            ends.append((float(mean[-1]), name_of(name), style.colour, 9.0))
            for share, target in efficiency["targets"].items():
                at = efficiency["steps"].get(name, {}).get(share)
                if at is not None:
                    axis.plot([at], [target], "o", color=style.colour, markersize=6, zorder=5)
        k = efficiency["subsampling_k"]
        if "source" in curves and k > 1:
            steps, mean = _windowed(curves["source"], every=k)
            axis.plot(steps, mean, color=GREY, linestyle=":", linewidth=1.4)
            if len(steps) > 0:
                axis.text(
                    steps[-1], mean[-1], f"copying every {ordinal(k)} episode ", color=GREY,
                    fontsize=8, ha="right", va="bottom",
                )  # fmt: skip
        for share, target in efficiency["targets"].items():
            if target is not None:
                axis.axhline(target, color=LIGHT, linewidth=1.0, linestyle="--", zorder=0)
                axis.annotate(
                    f"{share} %", (0.997, target),
                    xytext=(0, -3), xycoords=axis.get_yaxis_transform(),
                    textcoords="offset points", fontsize=8.5, color=GREY, ha="right", va="top",
                )  # fmt: skip
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("environment steps of one stream")
        axis.set_ylabel(f"return, mean of {WINDOW_EPISODES} episodes")
        _label_ends(axis, ends)
        figure.subplots_adjust(left=0.075, right=0.735, bottom=0.13, top=0.97)
        return svg(figure)


def _windowed(curve: Mapping[str, Any], every: int = 1) -> tuple[Floats, Floats]:
    """Environment steps, and the mean of the five episodes that end there, [E - 4] each.

    Args:
        curve: a curve of the results.
        every: k; the stream lives through every k-th episode alone.
    """
    steps = np.diff(np.array(curve["env_steps"], np.float64), prepend=0.0)[every - 1 :: every]
    mean = running_mean(np.array(curve["mean"], np.float64)[every - 1 :: every], WINDOW_EPISODES)
    return np.cumsum(steps)[WINDOW_EPISODES - 1 :], mean
