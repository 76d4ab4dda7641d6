"""How long what is left of a suite will take, judged by what of it is done.

Nothing is said before a run has finished: how fast a machine is cannot be known from a file.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from statistics import mean

from adbench.config import TRAINED_METHODS, RunConfig
from adbench.suite.cells import Cell


def trained_tokens(config: RunConfig) -> int:
    """Tokens that all trained rows of a run read: most of its time goes with them."""
    rows = sum(method in TRAINED_METHODS for method in config.methods)
    return rows * config.train.updates * config.train.batch_sequences * config.train.row_steps


def expected_seconds(cells: Sequence[Cell], took: Mapping[Cell, float]) -> dict[Cell, float | None]:
    """Seconds that each cell takes as a whole.

    As long as other seeds of the same took; else as long as its tokens say, at the pace of the
    same world, or of all that has finished.

    Args:
        cells: all of a suite.
        took: seconds of those that have finished.
    """
    return {cell: took.get(cell, _expected(cell, took)) for cell in cells}


def _expected(cell: Cell, took: Mapping[Cell, float]) -> float | None:
    alike = [seconds for done, seconds in took.items() if done.group == cell.group]
    if alike:
        return mean(alike)
    for kin in ([done for done in took if done.world == cell.world], list(took)):
        tokens = sum(trained_tokens(done.config) for done in kin)
        if tokens:
            pace = sum(took[done] for done in kin) / tokens
            return pace * trained_tokens(cell.config)
    return None


def seconds_left(left: Sequence[float | None], jobs: int) -> float | None:
    """How long until the last of some runs ends.

    Args:
        left: seconds that each still takes, in the order of their start; none: not known.
        jobs: how many run at once.

    Returns:
        None: not known of one of them.
    """
    ends = [0.0] * jobs
    for seconds in left:
        if seconds is None:
            return None
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def longest_first(cells: Sequence[Cell], expected: Mapping[Cell, float | None]) -> list[Cell]:
    """An order in which the machine's last minutes are not one long run's alone."""
    known = all(expected[cell] is not None for cell in cells)

    def length(cell: Cell) -> float:
        return (expected[cell] or 0.0) if known else float(trained_tokens(cell.config))

    return sorted(cells, key=lambda cell: -length(cell))
