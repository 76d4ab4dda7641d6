"""Where AD goes, from above: its first episodes on a task against its last ones.

Drawn from the states that a run keeps of a few lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from torch import Tensor

from adbench.maps import GroundMap
from adbench.report.style import INK, drawing, look, svg
from adbench.trace import Trace

MapOf = Callable[[Tensor], GroundMap | None]
"""A task's map; none where it has none."""

_HIDDEN = "#D55E00"
_MOST_COLUMNS = 6
_INCHES = 9.2


def path_panels(trace: Trace, map_of: MapOf) -> str | None:
    """A column a lane: its first episodes above, its last ones below.

    A dot is where episodes begin, a ring where one was rewarded with its last step, a cross where
    one ended with nothing.

    Args:
        trace: of AD's lanes.
        map_of: maps of their tasks.

    Returns:
        SVG, or none where there is no map.
    """
    lanes = min(_MOST_COLUMNS, len(trace.task))
    maps = [map_of(task) for task in trace.task[:lanes]]
    if "pose" not in trace.state or any(each is None for each in maps):
        return None
    rows = early_and_late(trace)
    with drawing():
        side = (_INCHES - 0.5) / _MOST_COLUMNS
        width = 0.5 + side * lanes
        figure = Figure(figsize=(width, (side + 0.16) * len(rows)))
        axes = figure.subplots(len(rows), lanes, squeeze=False)
        for row, episodes in enumerate(rows):
            for lane, ground in enumerate(maps):
                assert ground is not None
                _panel(axes[row][lane], trace, lane, episodes, ground)
            axes[row][0].set_ylabel(episodes_said(trace, episodes), fontsize=8.5, color=INK)
        figure.subplots_adjust(
            left=0.42 / width, right=0.995, bottom=0.01, top=0.99, wspace=0.03, hspace=0.03
        )
        return svg(figure)


def early_and_late(trace: Trace) -> list[list[int]]:
    """Places of the first and of the last kept episodes; one list where there are no others."""
    count = len(trace.episode)
    half = max(1, count // 2)
    places = list(range(count))
    return [places[:half], places[-half:]] if count > 1 else [places]


def episodes_said(trace: Trace, places: Sequence[int]) -> str:
    """Which episodes these are: "episode 1", "episodes 18 to 20"."""
    numbers = [int(trace.episode[place]) for place in places]
    if len(numbers) == 1:
        return f"episode {numbers[0]}"
    return f"episodes {numbers[0]} to {numbers[-1]}"


def _panel(axis: Axes, trace: Trace, lane: int, episodes: list[int], ground: GroundMap) -> None:
    west, east, north, south = ground.reach or ground.bounds
    room = 0.03 * max(east - west, south - north)
    axis.set_xlim(west - room, east + room)
    axis.set_ylim(south + room, north - room)  # z points south
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    for outline in ground.outlines:
        fill = "none" if outline.filled is None else outline.filled
        points = np.array(outline.points)
        if outline.closed:
            axis.add_patch(Polygon(points, facecolor=fill, edgecolor=outline.colour, linewidth=0.8))
        else:
            axis.plot(*points.T, color=outline.colour, linewidth=1.2)
    for spot in ground.spots:
        axis.add_patch(
            Circle(spot.centre, spot.radius, facecolor="none", edgecolor=_HIDDEN, linewidth=1.1)
        )
    colour = look("ad").colour
    for episode in episodes:
        way = trace.of(lane, episode)["pose"][:, :2].numpy()
        rewarded = float(trace.rewards(lane, episode)[-1]) > 0
        axis.plot(*way.T, color=colour, linewidth=0.9, alpha=0.75, solid_joinstyle="round")
        axis.plot(*way[0], ".", color=INK, markersize=4)
        if rewarded:
            axis.plot(*way[-1], "o", color=colour, markersize=4, markerfacecolor="white")
        else:
            axis.plot(*way[-1], "x", color=colour, markersize=4)
