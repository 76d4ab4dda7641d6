"""A contact sheet of a first-person environment: some tasks, each with its map and some frames."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from adbench.evaluate import rollout
from adbench.pictures.canvas import (
    INK,
    Image,
    below,
    beside,
    bordered,
    enlarged,
    labelled,
    margined,
)
from adbench.pictures.clips import frames_of
from adbench.pictures.ground import Chart
from adbench.policy import RandomPolicy
from adbench.task import TaskFamily
from adbench.trace import Recorder

_EPISODES = 8
"""Random episodes among whose states those that are shown are chosen."""


def contact_sheet(
    family: TaskFamily,
    tasks: Tensor,
    *,
    frames: int = 4,
    height: int = 192,
    seed: int = 0,
) -> Image:
    """A row a task: its map with numbered arrows, and what is seen at each of them.

    Args:
        family: that is shown; its states can be drawn.
        tasks: [T, ...].
        frames: how many a row.
        height: least rows of an enlarged frame.
        seed: of random play, from which the places are taken.
    """
    recorder = Recorder(range(len(tasks)), range(1, _EPISODES + 1))
    rollout(
        RandomPolicy(), family, tasks, lanes_per_task=1, episodes=_EPISODES, seed=seed,
        stage="show", recorder=recorder,
    )  # fmt: skip
    trace = recorder.trace(tasks, {})
    rows = []
    for lane in range(len(tasks)):
        # One episode alone: what stands in the way may differ from episode to episode.
        walks = [trace.of(lane, episode) for episode in range(_EPISODES)]
        rows.append(_row(family, tasks[lane], lane + 1, max(walks, key=_reach), frames, height))
    size = "{} x {}".format(*family.observation_space.shape[:2])  # type: ignore[index]
    return margined(labelled(below(rows), f"{family.name}, frames of {size}; orange: hidden"))


def _row(
    family: TaskFamily,
    task: Tensor,
    number: int,
    states: dict[str, Tensor],
    frames: int,
    height: int,
) -> Image:
    seen = frames_of(family, states)
    chosen = _unlike(seen, states, frames)
    drawn = [enlarged(seen[moment], height) for moment in chosen]
    cells = [labelled(bordered(frame, INK, 1), str(k)) for k, frame in enumerate(drawn, 1)]
    ground = None
    if "pose" in states:
        ground = family.map(task, {name: value[0] for name, value in states.items()})
    if ground is not None:
        chart = Chart(ground, drawn[0].shape[0], whole=True)
        above = bordered(chart.draw_poses(states["pose"][chosen].numpy()), INK, 1)
        cells = [labelled(above, f"task {number}"), *cells]
    return beside(cells)


def _reach(states: dict[str, Tensor]) -> float:
    """How far from its start an episode led; how long it was, where there are no places."""
    if "pose" not in states:
        return float(len(next(iter(states.values()))))
    places = states["pose"][:, :2]
    return float((places - places[:1]).norm(dim=1).max())


def _unlike(frames: list[Image], states: dict[str, Tensor], count: int) -> list[int]:
    """The first moment, and one after the other the one that is most unlike those taken, by what is
    seen and by where; rising."""
    small = [cv2.resize(frame, (8, 8), interpolation=cv2.INTER_AREA).ravel() for frame in frames]
    apart = _scaled(torch.from_numpy(np.stack(small)).float())
    if "pose" in states:
        apart = apart + _scaled(states["pose"][:, :2])
    taken = [0]
    while len(taken) < min(count, len(frames)):
        taken.append(int(apart[taken].amin(dim=0).argmax()))
    return sorted(taken)


def _scaled(points: Tensor) -> Tensor:
    """Distances between points [T, P], the largest of them 1; float32 [T, T]."""
    apart = torch.cdist(points, points)
    return apart / apart.max().clamp(min=1e-6)
