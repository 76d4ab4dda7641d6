"""How a suite is doing, in words: what has begun and ended, and how much time is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adbench.progress import duration
from adbench.suite.cells import Cell
from adbench.suite.estimate import expected_seconds, seconds_left
from adbench.suite.runner import Progress
from adbench.suite.state import booked_seconds

_AT_LEAST = 0.03
"""Share of its time that a run is thought to need yet, however long it has taken."""


class Lines:
    """A `Watch` that says a line whenever something changes, and a summary now and then.

    Args:
        say: prints a line.
        cells: all of the suite, finished or not.
        took: seconds of those that were finished before.
        out: the suite's folder.
        jobs: runs at once.
        clock: seconds from anywhere.
        interval_seconds: between two summaries.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        cells: Sequence[Cell],
        took: Mapping[Cell, float],
        out: Path,
        *,
        jobs: int,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = 60.0,
    ) -> None:
        self._say, self._cells, self._out, self._jobs = say, cells, out, jobs
        self._took = dict(took)
        self._clock, self._interval_seconds = clock, interval_seconds
        self._told: dict[Cell, str] = {}
        self._last = clock()

    def __call__(self, table: Sequence[Progress]) -> None:
        """Take note of how far every cell is."""
        for each in table:
            if self._told.get(each.cell, "waiting") != each.phase:
                self._told[each.cell] = each.phase
                self._tell(each)
        if self._clock() - self._last >= self._interval_seconds:
            self._last = self._clock()
            self._say(self.summary(table))
            for each in table:
                if each.phase == "running" and each.said:
                    self._say(f"  {each.cell.name}: {each.said.strip()}")

    def summary(self, table: Sequence[Progress]) -> str:
        """One line: how many runs are done, and how long the rest will take."""
        running = sum(each.phase == "running" for each in table)
        left = self.seconds_left(table)
        done = len(self._cells) - len(table) + sum(each.phase == "finished" for each in table)
        text = f"{done} of {len(self._cells)} runs done, {running} under way"
        return text if left is None else f"{text}, about {duration(left)} left"

    def seconds_left(self, table: Sequence[Progress]) -> float | None:
        """How long the suite will still take; none: nothing has finished to judge by."""
        expected = expected_seconds(self._cells, self._took)
        left: list[float | None] = []
        for phase in ("running", "waiting"):
            for each in table:
                if each.phase == phase:
                    whole = expected[each.cell]
                    left.append(None if whole is None else self._rest(each, whole))
        return seconds_left(left, self._jobs)

    def _rest(self, each: Progress, whole: float) -> float:
        spent = max(each.seconds, booked_seconds(each.cell.folder(self._out)))
        return max(whole - spent, _AT_LEAST * whole)

    def _tell(self, each: Progress) -> None:
        name, took = each.cell.name, duration(each.seconds)
        if each.phase == "running":
            self._say(f"{name} ...")
        elif each.phase == "finished":
            # Starting a process and loading code takes its time, too, and is booked nowhere.
            booked = booked_seconds(each.cell.folder(self._out))
            self._took[each.cell] = max(each.seconds, booked)
            self._say(f"{name}: done in {took}")
        elif each.phase == "failed":
            last = each.said.splitlines()[-1] if each.said else "it said nothing"
            self._say(f"{name}: FAILED after {took}: {last}")
        elif each.phase == "stopped":
            self._say(f"{name}: stopped, its work so far is kept")
