"""What AD does and sees, on the page: its ways from above, and a GIF."""

from __future__ import annotations

from collections.abc import Mapping

from adbench.report.drawing import Drawing, Picture
from adbench.report.path_figures import path_panels
from adbench.report.seen import seen_gif
from adbench.task import TaskFamily
from adbench.trace import Trace


def draw_paths(family: TaskFamily, traces: Mapping[str, Trace]) -> dict[str, Drawing]:
    """Where AD goes, a figure a test set, by the names `paths-SET`; none where there is no map."""
    found = {}
    for test_set, trace in traces.items():
        panels = path_panels(trace, family.map)
        if panels is None:
            continue
        where = f" of {test_set}" if len(traces) > 1 else ""
        caption = (
            f"Where AD goes on tasks{where} that it has never seen, from above: its first episodes "
            "on each, and its last. Orange: what is hidden. Dots: starts; rings: an episode that "
            "ended with a reward; crosses: one that did not. Of a few tasks, evenly spaced among "
            "all, the first lane each."
        )
        found[f"paths-{test_set}"] = Drawing(f"paths-{test_set}.svg", panels, caption)
    return found


def draw_seen(family: TaskFamily, trace: Trace) -> Picture | None:
    """What AD sees; none where frames cannot be drawn."""
    found = seen_gif(family, trace)
    return None if found is None else Picture("seen.gif", *found)
