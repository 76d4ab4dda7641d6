"""Plots of the result files, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def draw(folder: Path, fresh: Mapping[str, Sequence[Row]]) -> list[Path]:
    """Write a plot for each section that has one and was measured; returns the files."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "adbench"  # equal numbers, equal file
    from matplotlib import pyplot

    written = []
    for section, plot in PLOTS.items():
        rows = [row for row in fresh.get(section, ()) if row["status"] == "ok"]
        if not rows:
            continue
        figure = pyplot.figure(figsize=(10, 6), layout="constrained")
        plot(figure, rows)
        target = folder / f"{section}.svg"
        figure.savefig(target, metadata={"Date": None})
        pyplot.close(figure)
        written.append(target)
    return written


def _attention(figure: Any, rows: Sequence[Row]) -> None:
    """Forward and backward, causal: a panel a head width, a line an implementation."""
    drawn = {"op": "attention", "mode": "both", "mask": "causal"}
    some = [row for row in rows if drawn.items() <= row["case"].items()]
    widths = sorted({row["case"]["D"] for row in some})
    panels = figure.subplots(1, max(len(widths), 1), sharey=True, squeeze=False)[0]
    for panel, head_dim in zip(panels, widths, strict=False):
        ours = [row for row in some if row["case"]["D"] == head_dim]
        _lines(panel, ours, x="T", y="tflop_per_s", of="implementation")
        panel.set(title=f"D {head_dim}", xlabel="T", ylim=(0, None))
        panel.set_xscale("log", base=2)
    panels[0].set_ylabel("TFLOP/s, forward and backward, causal")
    panels[-1].legend(fontsize="small")


def _ring(figure: Any, rows: Sequence[Row]) -> None:
    """Decode of one token: bandwidth over the window, a panel a head width."""
    some = [r for r in rows if r["case"]["mode"] == "attend" and r["case"]["new"] == 1]
    widths = sorted({row["case"]["D"] for row in some})
    panels = figure.subplots(1, max(len(widths), 1), sharey=True, squeeze=False)[0]
    for panel, head_dim in zip(panels, widths, strict=False):
        named = [
            {**row, "case": {**row["case"], "who": "{implementation}, {lanes} lanes".format(
                **row["case"])}}
            for row in some if row["case"]["D"] == head_dim
        ]  # fmt: skip
        _lines(panel, named, x="window", y="gb_per_s", of="who")
        panel.set(title=f"D {head_dim}", xlabel="window", ylim=(0, None))
        panel.set_xscale("log", base=2)
    panels[0].set_ylabel("GB/s of keys and values")
    panels[-1].legend(fontsize="small")


def _patch_embed(figure: Any, rows: Sequence[Row]) -> None:
    """A bar a case."""
    panel = figure.subplots()
    names = ["{implementation}\n{mode}\n{frame}".format(**row["case"]) for row in rows]
    panel.bar(names, [row["median_ms"] for row in rows])
    panel.set_ylabel("ms")
    panel.tick_params(axis="x", labelsize="x-small")


def _render(figure: Any, rows: Sequence[Row]) -> None:
    """Frames a second over the batch, a line a size and number of samples."""
    panel = figure.subplots()
    named = [
        {**row, "case": {**row["case"], "who": "{implementation}, {frame}, {samples}".format(
            **row["case"])}}
        for row in rows
    ]  # fmt: skip
    _lines(panel, named, x="batch", y="frames_per_s", of="who")
    panel.set(xlabel="frames a call", ylabel="frames/s")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.legend(title="implementation, frame, samples", fontsize="small")


def _train(figure: Any, rows: Sequence[Row]) -> None:
    """Tokens a second and memory over the length of a row, a column of panels a model."""
    _over(figure, rows, x="T", rate="tokens_per_s", unit="tokens/s", by="model",
          who="{implementation}, {how}, window {window}")  # fmt: skip


def _evaluate(figure: Any, rows: Sequence[Row]) -> None:
    """Steps a second and memory over the window, a column of panels a number of lanes."""
    _over(figure, rows, x="window", rate="env_steps_per_s", unit="steps/s", by="lanes",
          who="{implementation}, {dtype}")  # fmt: skip


def _over(
    figure: Any, rows: Sequence[Row], *, x: str, rate: str, unit: str, by: str, who: str
) -> None:
    """A rate and the peak memory over a size, a column of panels for each value of `by`."""
    values = sorted({row["case"][by] for row in rows})
    grid = figure.subplots(2, len(values), sharex=True, sharey="row", squeeze=False)
    for column, value in zip(grid.T, values, strict=True):
        named = [
            {**row, "case": {**row["case"], "who": who.format(**row["case"])},
             "peak": row.get("peak_bytes", 0) / 1e9}
            for row in rows if row["case"][by] == value
        ]  # fmt: skip
        for panel, y in zip(column, (rate, "peak"), strict=True):
            _lines(panel, [row for row in named if row[y]], x=x, y=y, of="who")
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
        column[0].set_title(f"{by} {value}")
        column[1].set_xlabel(x)
    grid[0][0].set_ylabel(unit)
    grid[1][0].set_ylabel("peak memory, GB")
    grid[0][-1].legend(fontsize="small")


def _pixels(figure: Any, rows: Sequence[Row]) -> None:
    """Microseconds a frame: a bar a stage, and one for the whole."""
    panel = figure.subplots()
    names = ["{stage}\n{frame}".format(**row["case"]) for row in rows]
    panel.bar(names, [1e6 / row["frames_per_s"] for row in rows])
    panel.set_ylabel("microseconds a frame")


def _lines(panel: Any, rows: Sequence[Row], *, x: str, y: str, of: str) -> None:
    for name in dict.fromkeys(row["case"][of] for row in rows):
        points = sorted((row["case"][x], row[y]) for row in rows if row["case"][of] == name)
        panel.plot(*zip(*points, strict=True), marker="o", label=name)


PLOTS: Mapping[str, Callable[[Any, Sequence[Row]], None]] = {
    "attention": _attention, "ring": _ring, "patch_embed": _patch_embed, "render": _render,
    "train": _train, "evaluate": _evaluate, "pixels": _pixels,
}  # fmt: skip
"""What is drawn of a section's cases that were measured."""
