"""The study's figure: six panels against context length, both series in each, as one SVG.

Equal for equal records. The banded series is drawn against its window W; the numbers beside its
points are how far back its information reaches, layers x (W - 1) + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from adbench.report.numbers import large
from adbench.report.style import GREY, INK, LIGHT, Look, drawing, svg
from adbench.suite.context_plan import BANDED, EXACT
from adbench.suite.paper_context import paper_lengths

Record = Mapping[str, Any]
Point = Mapping[str, Any]
Value = Callable[[Point], tuple[float | None, Sequence[float | None] | None]]
"""Of a point: where it lies, and the two ends of its bar."""

LOOKS = {EXACT: Look("#0072B2", width=2.2), BANDED: Look("#D55E00", width=2.2)}
NAMES = {EXACT: "exact: the last c steps alone", BANDED: "banded: a ring of W in each layer"}
_MOST_TICKS = 7


def figure(record: Record) -> str:
    """The six panels.

    Args:
        record: as `study_record` gives it; at least one point.
    """
    with drawing():
        page = Figure(figsize=(10.6, 6.6))
        axes = page.subplots(2, 3)
        _scores(axes[0, 0], record)
        for axis, share in ((axes[0, 1], "50"), (axes[0, 2], "90")):
            axis.set_title(f"steps of source / steps of AD, to {share} %")
            _series(axis, record, _ratio(share))
            axis.axhline(1.0, color=GREY, linewidth=1.0, linestyle="--", zorder=0)
            _nothing(axis, f"never reached {share} %")
        for axis, name, title in (
            (axes[1, 0], "train_tokens_per_s", "training, tokens/s"),
            (axes[1, 1], "evaluate_env_steps_per_s", "evaluation, environment steps/s"),
        ):
            axis.set_title(title)
            _series(axis, record, _measured(name))
            _nothing(axis, "not measured")
            if axis.has_data():
                axis.set_yscale("log")
                _plain_log(axis)
        _memory(axes[1, 2], record)
        for axis in axes.flat:
            if axis is not axes[0, 0] or record["same_world_as_paper"]:
                _steps_axis(axis, record)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        page.legend(handles, labels, loc="lower center", ncols=3)
        page.subplots_adjust(
            left=0.06, right=0.985, bottom=0.145, top=0.955, wspace=0.24, hspace=0.42
        )
        return svg(page)


def _scores(axis: Axes, record: Record) -> None:
    """Final scores, with the paper's behind them: over steps in its own world, else over
    episodes."""
    same = record["same_world_as_paper"]
    axis.set_title("final score (random 0, optimal 1)")

    def score(point: Point) -> tuple[float | None, Sequence[float | None] | None]:
        return point["final_score"], point["final_score_interval"]

    paper = paper_lengths()
    axis.plot(
        [each.context_steps if same else each.episodes for each in paper],
        [each.score for each in paper],
        color=LIGHT,
        marker="o",
        markersize=4,
        linewidth=1.4,
        zorder=1,
        label="paper, fig. 7" if same else "paper, fig. 7: another world (Key-to-Door)",
    )
    _series(axis, record, score, along="context_steps" if same else "context_episodes")
    axis.set_ylim(-0.05, 1.05)
    if not same:
        axis.set_xscale("log")
        axis.set_xlabel(f"context, episodes (here of {record['episode_steps']} steps)")
        axis.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _memory(axis: Axes, record: Record) -> None:
    """Of the GPU where there is one, else of the process; training full, evaluation hollow."""
    on_gpu = any(point["train_peak_gpu_bytes"] for point in record["points"])
    kind = "gpu_bytes" if on_gpu else "bytes"
    axis.set_title(f"peak {'GPU ' if on_gpu else ''}memory, MB (hollow: evaluation)")
    for stage, marker, dash in (("train", "o", "-"), ("evaluate", "o", ":")):
        _series(
            axis,
            record,
            _measured(f"{stage}_peak_{kind}", scale=1e-6),
            marker=marker,
            dash=dash,
            hollow=stage == "evaluate",
            reach=stage == "train",
        )
    _nothing(axis, "not measured")
    if axis.has_data():
        axis.set_ylim(bottom=0.0)


def _series(
    axis: Axes,
    record: Record,
    value: Value,
    *,
    along: str = "context_steps",
    marker: str = "o",
    dash: str = "-",
    hollow: bool = False,
    reach: bool = True,
) -> None:
    for series, look in LOOKS.items():
        points = [point for point in record["points"] if point["series"] == series]
        shown = [
            (point, at, ends) for point in points for at, ends in (value(point),) if at is not None
        ]
        if not shown:
            continue
        axis.plot(
            [point[along] for point, *_ in shown],
            [at for _, at, _ in shown],
            color=look.colour,
            linestyle=dash,
            linewidth=look.width,
            marker=marker,
            markersize=5,
            markerfacecolor="white" if hollow else look.colour,
            label=NAMES[series],
            zorder=4,
        )
        for point, at, ends in shown:
            if ends is not None and ends[0] is not None and ends[1] is not None:
                axis.vlines(point[along], ends[0], ends[1], color=look.colour, linewidth=1.4)
            if series == BANDED and reach:
                axis.annotate(
                    f"{point['reach_steps']:,}",
                    (point[along], at),
                    xytext=(4, -9),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=look.colour,
                )


def _ratio(share: str) -> Value:
    def value(point: Point) -> tuple[float | None, Sequence[float | None] | None]:
        return point["vs_source_single_stream"][share], point["single_stream_interval"].get(share)

    return value


def _measured(name: str, *, scale: float = 1.0) -> Value:
    def value(point: Point) -> tuple[float | None, Sequence[float | None] | None]:
        found = point[name]
        if found is None:
            return None, None
        return found["mean"] * scale, (found["low"] * scale, found["high"] * scale)

    return value


def _nothing(axis: Axes, why: str) -> None:
    """Say so where there is nothing to draw."""
    if not any(len(line.get_xdata()) > 2 or line.get_marker() == "o" for line in axis.lines):  # type: ignore[arg-type]
        axis.text(0.5, 0.6, why, transform=axis.transAxes, ha="center", color=GREY)


def _steps_axis(axis: Axes, record: Record) -> None:
    lengths = sorted({point["context_steps"] for point in record["points"]})
    every = -(-len(lengths) // _MOST_TICKS)
    axis.set_xscale("log")
    axis.set_xlabel("context, steps (exact: c, banded: W)")
    axis.set_xlim(lengths[0] / 1.25, lengths[-1] * 1.35)
    axis.xaxis.set_major_locator(FixedLocator(lengths[::every]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if axis.get_yscale() == "linear":
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axis.tick_params(axis="x", labelcolor=INK)


def _plain_log(axis: Axes) -> None:
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: large(y)))
    low, high = axis.get_ylim()
    if high / low < 10:  # no power of ten lies between
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: large(y)))
    else:
        axis.yaxis.set_minor_formatter(NullFormatter())
