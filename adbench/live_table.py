"""A run's steps as a table that stays up to date at a terminal: state, progress, time, note.

rich draws it twice a second from a thread of its own; the steps only put numbers into it. A
terminal that is lower than the table shows the rows around the step at work and counts the others;
when the work ends, all rows are left on the screen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adbench.progress import Progress, duration

WAITING, WORKING, DONE, THERE, STOPPED = "waiting", "working", "done", "there already", "stopped"
_STYLES = {WAITING: "dim", WORKING: "bold", DONE: "green", THERE: "green", STOPPED: "red"}

_FRAME_LINES = 6
"""Of the screen that the table's head and edges take, the lines that count what is folded, and the
cursor's."""
_BAR_WIDTH = 20


@dataclass
class Row:
    """One step.

    Attributes:
        what: in words ("train ad, seed 0").
        state: one of the states above.
        done: units finished.
        total: units in all; 0: not known yet.
        unit: what is counted.
        note: a few words worth seeing ("loss 1.32").
        began: when the work on it began, by the table's clock.
        first: units that were finished then: a resumed step does not start at zero.
        seconds: what it took, once it has ended.
    """

    what: str
    state: str = WAITING
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    began: float = 0.0
    first: int | None = None
    seconds: float | None = None


class LiveTable:
    """The table; steps are told apart by their words, two of the same words by their order.

    Args:
        steps: in words, in the order in which they will be worked on.
        stream: the terminal.
        clock: seconds from anywhere.
    """

    def __init__(
        self,
        steps: Sequence[str],
        *,
        stream: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = [Row(what) for what in steps]
        self._console = Console(file=stream, highlight=False, markup=False)
        self._clock = clock
        self._ended = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep it on the terminal while the inside works; leave it there, whole, at the end."""
        live = Live(
            get_renderable=self.render,
            console=self._console,
            refresh_per_second=2,
            # stdout is data: only where both are one terminal would it tear the table.
            redirect_stdout=sys.stdout.isatty(),
        )
        with live:
            try:
                yield
            finally:
                self._ended = True

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._console.print(line)

    def skip(self, what: str) -> None:
        """Note that a step was there already."""
        self._next(what).state = THERE

    @contextmanager
    def step(self, what: str, unit: str) -> Iterator[Progress]:
        """Show the work on a step; gives what it tells its progress to."""
        row = self._next(what)
        row.state, row.unit, row.began = WORKING, unit, self._clock()

        def progress(done: int, total: int, note: str = "") -> None:
            row.first = done if row.first is None else row.first
            row.done, row.total, row.note = done, total, note

        try:
            yield progress
        except BaseException:
            row.state = STOPPED
            raise
        else:
            row.state = DONE
        finally:
            row.seconds = self._clock() - row.began

    def render(self) -> RenderableType:
        """The table as it is now."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("step", "state", "progress", "time", "note"):
            table.add_column(name, no_wrap=True, justify="right" if name == "time" else "left")
        first, last = self._window()
        if first:
            table.add_row(Text(f"{first} before", "dim"))
        for row in self.rows[first:last]:
            table.add_row(*self._cells(row))
        if last < len(self.rows):
            table.add_row(Text(f"{len(self.rows) - last} more to do", "dim"))
        return table

    def _window(self) -> tuple[int, int]:
        """Rows that are shown, from and up to; all of them where they fit or the work has ended."""
        count, room = len(self.rows), max(1, self._console.height - _FRAME_LINES)
        if self._ended or count <= room:
            return 0, count
        at_work = next((i for i, row in enumerate(self.rows) if row.state == WORKING), None)
        if at_work is None:  # between two steps
            at_work = next(
                (i for i, row in enumerate(self.rows) if row.state == WAITING), count - 1
            )
        first = max(0, min(at_work - room // 3, count - room))
        return first, first + room

    def _cells(self, row: Row) -> tuple[RenderableType, ...]:
        style = _STYLES[row.state]
        progress: RenderableType = ""
        if row.state in (WORKING, STOPPED) and row.total:
            progress = Table.grid(padding=(0, 1))
            progress.add_row(
                ProgressBar(row.total, row.done, width=_BAR_WIDTH),
                Text(f"{row.done:,}/{row.total:,} {row.unit}"),
            )
        return (
            Text(row.what, style),
            Text(row.state, style),
            progress,
            Text(self._time(row)),
            Text(row.note if row.state in (WORKING, STOPPED) else "", "dim"),
        )

    def _time(self, row: Row) -> str:
        if row.seconds is not None:
            return duration(row.seconds)
        if row.state != WORKING:
            return ""
        spent, made = self._clock() - row.began, row.done - (row.first or 0)
        if made <= 0:
            return duration(spent)
        return f"{duration(spent / made * (row.total - row.done))} left"

    def _next(self, what: str) -> Row:
        """The first row of those words that nothing was done about; a new one where there is
        none."""
        for row in self.rows:
            if row.what == what and row.state == WAITING:
                return row
        self.rows.append(Row(what))
        return self.rows[-1]
