"""What AD sees, as a GIF that is small enough to lie inside the page."""

from __future__ import annotations

from adbench.pictures.clips import FRAMES_PER_SECOND, lanes_seen
from adbench.pictures.files import gif_bytes
from adbench.report.path_figures import episodes_said
from adbench.task import TaskFamily
from adbench.trace import Trace

MOST_BYTES = 720_000
"""In a page it is written as text, which takes a third more."""

_SIZES = ((4, 1, 256), (3, 1, 128), (3, 1, 64), (2, 1, 64), (2, 2, 64), (1, 2, 64), (1, 4, 32))
"""Lanes, every how manieth frame, colours: the first that is small enough is taken."""


def seen_gif(
    family: TaskFamily, trace: Trace, *, most_bytes: int = MOST_BYTES
) -> tuple[bytes, str] | None:
    """A few lanes side by side, each one's first episode above its last.

    Args:
        family: whose states they are.
        trace: of AD's lanes.
        most_bytes: what it may take.

    Returns:
        The GIF and what it shows; none where even the least is too large.
    """
    first, last = 0, len(trace.episode) - 1
    episodes = [first, last] if last > first else [first]
    for lanes, every, colours in _SIZES:
        shown = range(min(lanes, len(trace.task)))
        frames = lanes_seen(family, trace, shown, episodes)[::every]
        raw = gif_bytes(frames, frames_per_second=FRAMES_PER_SECOND / every, colours=colours)
        if len(raw) <= most_bytes:
            rows = " above ".join(episodes_said(trace, [place]) for place in episodes)
            return raw, (
                f"What AD sees on {len(shown)} of the tasks, a column each: {rows}. In green: the "
                "goal was reached."
            )
    return None
