"""Draw the pictures of docs/environments.md: one learner of each world's source, early and late.

    python docs/figures/grids.py [NAME ...]         writes docs/figures/NAME.svg

The learner is that of the world's `quick` preset, on a test task.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from adbench import plugins
from adbench.collect import Learning, learn_online
from adbench.report.style import GREY, INK, LOOKS, drawing, svg

HIDDEN = LOOKS["source"].colour
WAY = LOOKS["ad"].colour

GRIDS = {"dark-room": ("goal",), "dark-room-hard": ("goal",), "key-to-door": ("key", "door")}
"""Worlds on a grid, and what their tasks hide, in the order of a task's numbers."""

TASK = {"dark-room-hard": 9, "key-to-door": 9}
"""Which of the test tasks, where the first one is a poor example."""


def learnt(name: str) -> tuple[np.ndarray, Learning]:
    """One of a world's test tasks as numbers, and how one learner of its source learns it."""
    family, config = plugins.family(name), plugins.preset(name, "quick")
    number = TASK.get(name, 0)
    task = family.tasks(family.test_sets[0], number + 1, seed=0)[number:]
    learning = learn_online(
        family, task, config.source, seed=0, stage="picture", learner_ids=[0],
        episodes=config.collect.episodes,
    )  # fmt: skip
    return np.atleast_1d(task[0].numpy()), learning


def grid_figure(name: str) -> Figure:
    """Three episodes in a room: the first, the first that earned more, and the last."""
    hidden, learning = learnt(name)
    side = int(plugins.family(name).observation_space.nvec[0])  # type: ignore[attr-defined]
    returns = learning.returns[0]
    last = len(returns) - 1
    shown = [0, max(1, min(int(np.argmax(returns > returns[0])), last - 1)), last]
    figure = Figure((7.2, 2.9), layout="constrained")
    panels: Any = figure.subplots(1, len(shown))
    for axes, episode in zip(panels, shown, strict=True):
        _room(axes, side)
        for label, cell in zip(GRIDS[name], hidden.tolist(), strict=True):
            x, y = cell % side, cell // side
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=HIDDEN, alpha=0.35))
            up = y > 0  # the label
            place = {"xytext": (x, y + (-0.7 if up else 0.7)), "va": "bottom" if up else "top"}
            axes.annotate(label, (x, y), ha="center", color=HIDDEN, zorder=3, **place)
        way = _way(learning, episode)
        axes.plot(*way.T, color=WAY, marker=".", markersize=4, alpha=0.8)
        axes.plot(*way[0], color=INK, marker="o")
        axes.set_title(f"episode {episode + 1}: return {returns[episode]:g}")
    return figure


def _room(axes: Axes, side: int) -> None:
    axes.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5), aspect="equal")
    axes.set_xticks(np.arange(side) - 0.5, [])
    axes.set_yticks(np.arange(side) - 0.5, [])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)


def _way(learning: Learning, episode: int) -> np.ndarray:
    """Cells (x, y) of an episode, start and end included, [T, 2]."""
    ends = learning.episode_end[0]
    first = int(ends[episode - 1]) if episode else 0
    walked = learning.steps["observation"][0, first : int(ends[episode])]
    return np.concatenate([walked, learning.endings["final_observation"][0, episode : episode + 1]])


def bandit_figure() -> Figure:
    """The arms' means of one task, and which arm was pulled when."""
    means, learning = learnt("bandit")
    pulls = 100
    arms = learning.steps["action"][0, :pulls]
    paid = learning.steps["reward"][0, :pulls] > 0
    number = np.arange(1, pulls + 1)
    figure = Figure((7.2, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 2.6))
    colours = [HIDDEN if arm % 2 else GREY for arm in range(len(means))]
    left.barh(np.arange(len(means)), means, color=colours, alpha=0.6)
    left.set(title="hidden", xlabel="an arm's mean", ylabel="arm", xlim=(0, 1))
    left.set_yticks(np.arange(len(means)))
    right.scatter(number[paid], arms[paid], color=WAY, s=14, label="paid 1")
    right.scatter(
        number[~paid], arms[~paid], edgecolor=GREY, facecolor="none", s=14, label="paid 0"
    )
    right.set(title="a learner's first 100 pulls", xlabel="pull (an episode)")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def main() -> None:
    """Draw those that are named, or all."""
    for name in sys.argv[1:] or ("bandit", *GRIDS):
        with drawing():
            figure = bandit_figure() if name == "bandit" else grid_figure(name)
            path = Path(__file__).with_name(f"{name}.svg")
            path.write_text(svg(figure), encoding="utf-8")
        print(path, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
