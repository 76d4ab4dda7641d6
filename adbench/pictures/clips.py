"""Moving pictures of a trace: what its lanes see, and where they go.

L lanes, T states of an episode.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from adbench.errors import UsageError
from adbench.pictures.canvas import (
    FOUND,
    INK,
    WHITE,
    Image,
    below,
    beside,
    bordered,
    enlarged,
    labelled,
    margined,
)
from adbench.pictures.ground import Chart
from adbench.task import TaskFamily
from adbench.trace import Trace

FRAMES_PER_SECOND = 6.0
_HELD_FRAMES = 6
"""An episode's last picture stays so long."""
_SIDE = 256


def frames_of(family: TaskFamily, states: dict[str, Tensor]) -> list[Image]:
    """What one sees in T states.

    Raises:
        UsageError: the family's states cannot be drawn.
    """
    if not draws_states(family):
        raise UsageError(f"{family.name} has nothing to see: its states cannot be drawn.")
    frames: Tensor = family.render_state(states)
    return list(np.asarray(frames.cpu().numpy(), np.uint8))


def draws_states(family: TaskFamily) -> bool:
    """Whether a family renders frames of its states."""
    return family.renderer is not None


def episode_pictures(
    family: TaskFamily, trace: Trace, lane: int, episode: int, *, title: str
) -> list[Image]:
    """An episode step by step: the frame, beside it the map with the way so far.

    Args:
        family: whose states they are.
        trace: what was gone through.
        lane: of the trace.
        episode: place among those that the trace keeps.
        title: the first line above.
    """
    states, rewards = trace.of(lane, episode), trace.rewards(lane, episode)
    frames = [enlarged(frame, _SIDE) for frame in frames_of(family, states)]
    chart = _chart(family, trace, lane, states, frames[0].shape[0])
    way = None if chart is None else states["pose"].numpy()
    number, steps = int(trace.episode[episode]), len(rewards)
    earned = np.concatenate([[0.0], rewards.double().cumsum(0).numpy()])
    pictures = []
    for step, frame in enumerate(frames):
        found = step > 0 and bool(rewards[step - 1] > 0)
        shown = [bordered(frame, FOUND if found else INK, 4 if found else 1)]
        if chart is not None and way is not None:
            side = chart.draw_way(way[: step + 1], found=found)
            shown.append(bordered(side, INK, 1))
        told = f"episode {number}, step {step} of {steps}, return {earned[step]:g}"
        pictures.append(margined(labelled(beside(shown), title, told)))
    return pictures + [pictures[-1]] * _HELD_FRAMES


def strip(
    family: TaskFamily, trace: Trace, lane: int, *, title: str, pictures_a_row: int = 6
) -> Image:
    """All episodes of a lane as one picture: a row each, some of its steps, evenly spaced."""
    rows = []
    for episode in range(len(trace.episode)):
        states, rewards = trace.of(lane, episode), trace.rewards(lane, episode)
        steps = np.unique(np.linspace(0, len(rewards), pictures_a_row).round().astype(int))
        frames = frames_of(family, {name: value[steps] for name, value in states.items()})
        cells = []
        for step, frame in zip(steps.tolist(), frames, strict=True):
            found = step > 0 and bool(rewards[step - 1] > 0)
            cell = bordered(enlarged(frame, _SIDE // 2), FOUND if found else INK, 3 if found else 1)
            cells.append(labelled(cell, f"step {step}"))
        chart = _chart(family, trace, lane, states, _SIDE // 2)
        if chart is not None:
            last = chart.draw_way(states["pose"].numpy(), found=bool(rewards[-1] > 0))
            cells.append(labelled(bordered(last, INK, 1), "from above"))
        told = f"episode {int(trace.episode[episode])}: return {float(rewards.sum()):g}"
        rows.append(labelled(beside(cells), told))
    return margined(labelled(below(rows), title))


def lanes_seen(
    family: TaskFamily, trace: Trace, lanes: Sequence[int], episodes: Sequence[int]
) -> list[Image]:
    """What several lanes see, side by side at the frames' own size: a row an episode.

    Whoever is done keeps the last frame, in a green border where the goal was reached.

    Args:
        family: whose states they are.
        trace: what was gone through.
        lanes: of the trace, a column each.
        episodes: places among those that the trace keeps, a row each.
    """
    cells = {
        (lane, episode): _walked(family, trace, lane, episode)
        for episode in episodes
        for lane in lanes
    }
    length = max(map(len, cells.values())) + _HELD_FRAMES

    def at(frames: list[Image], moment: int) -> Image:
        return frames[min(moment, len(frames) - 1)]

    return [
        below(
            [beside([at(cells[lane, e], moment) for lane in lanes], gap=2) for e in episodes],
            gap=2,
        )
        for moment in range(length)
    ]


def _walked(family: TaskFamily, trace: Trace, lane: int, episode: int) -> list[Image]:
    frames = frames_of(family, trace.of(lane, episode))
    found = bool(trace.rewards(lane, episode)[-1] > 0)
    return [*frames[:-1], bordered(frames[-1], FOUND if found else WHITE, 2)]


def _chart(
    family: TaskFamily, trace: Trace, lane: int, states: dict[str, Tensor], side: int
) -> Chart | None:
    """The map of an episode, `side` pixels wide; none where the family has none."""
    if "pose" not in states:
        return None
    first = {name: value[0] for name, value in states.items()}
    ground = family.map(trace.task[lane], first)
    return None if ground is None else Chart(ground, side)
