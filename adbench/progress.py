"""How far a stage has come: told by the stage, shown on stderr.

A stage is handed a `Progress` and calls it as often as it likes. What becomes of it is no concern
of the stage: a table or a bar where a person looks at a terminal, one line now and then in a log
file, nothing in a test.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from adbench.live_table import LiveTable

Stop = Callable[[], bool]
"""Asked between units of work: whether to stop cleanly now."""


class Progress(Protocol):
    """A stage says how far it is: `progress(400, 1000, "loss 1.32")`."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Take note.

        Args:
            done: units finished so far.
            total: units in all.
            note: a few words worth seeing ("loss 1.32").
        """


def silent(done: int, total: int, note: str = "") -> None:
    """A `Progress` that shows nothing."""


def never() -> bool:
    """A `Stop` that never stops."""
    return False


def deadline(
    began: float, minutes: float | None, clock: Callable[[], float] = time.monotonic
) -> Stop:
    """A `Stop` for when time is up.

    Args:
        began: when the work began, by the clock.
        minutes: how long it may take; none: for ever.
        clock: seconds from anywhere.
    """
    if minutes is None:
        return never
    end = began + 60 * minutes
    return lambda: clock() >= end


class Reporter:
    """Shows what stages say, on one stream.

    Args:
        stream: where to; none: stderr as it is when asked.
        clock: seconds from anywhere; a test brings its own.
        interval_seconds: plain lines of one stage are at least this far apart.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = 10.0,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._line_is_open = False
        self._print_line: Callable[[str], object] = self._print_plain
        self._table: LiveTable | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it, on what can be drawn over."""
        return self._stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")

    def say(self, line: str) -> None:
        """Print one line."""
        self._close_line()
        self._print_line(line)

    @contextmanager
    def steps(self, steps: Sequence[str]) -> Iterator[None]:
        """At a terminal, show steps as a table while the inside works on them; in a log nothing.

        Args:
            steps: in words, as `task` and `skip` will name them, in order.
        """
        if not self.is_terminal:
            yield
            return
        from adbench.live_table import LiveTable  # rich, as in `_bar`

        table = LiveTable(steps, stream=self._stream, clock=self._clock)
        with table.shown():
            self._table, self._print_line = table, table.say
            try:
                yield
            finally:
                self._table, self._print_line = None, self._print_plain

    def skip(self, what: str) -> None:
        """Say that a step was there already."""
        if self._table is not None:
            self._table.skip(what)
        else:
            self.say(f"{what}: there already")

    @contextmanager
    def task(self, what: str, *, unit: str) -> Iterator[Progress]:
        """A `Progress` for one stage; when it ends without an error, its time is said.

        In a log a short stage is one line, "train ad, seed 0 ... 4 s".

        Args:
            what: the stage in words ("train ad, seed 0").
            unit: what it counts ("updates").
        """
        if self._table is not None:
            with self._table.step(what, unit) as progress:
                yield progress
            return
        shown = self._bar(what, unit) if self.is_terminal else self._lines(what, unit)
        began = self._clock()
        try:
            with shown as progress:
                yield progress
        except BaseException:
            self._close_line()
            raise
        took = duration(self._clock() - began)
        print(took if self._line_is_open else f"{what}: {took}", file=self._stream, flush=True)
        self._line_is_open = False

    def _print_plain(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _close_line(self) -> None:
        if self._line_is_open:
            self._line_is_open = False
            print(file=self._stream)

    @contextmanager
    def _lines(self, what: str, unit: str) -> Iterator[Progress]:
        began = last = self._clock()
        first: int | None = None  # a resumed stage does not start at zero
        print(f"{what} ... ", end="", file=self._stream, flush=True)
        self._line_is_open = True

        def progress(done: int, total: int, note: str = "") -> None:
            nonlocal last, first
            first = done if first is None else first
            now = self._clock()
            if done <= first or done >= total or now - last < self._interval_seconds:
                return
            last = now
            left = (now - began) / (done - first) * (total - done)
            share = f"{100 * done // total} %"
            tail = f", {note}" if note else ""
            self.say(f"{what}: {done:,} of {total:,} {unit} ({share}), {duration(left)} left{tail}")

        yield progress

    @contextmanager
    def _bar(self, what: str, unit: str) -> Iterator[Progress]:
        # rich takes 50 ms to import and is wanted at a terminal only.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
        )
        console = Console(file=self._stream, highlight=False, markup=False)
        with Bars(*columns, console=console, transient=True, refresh_per_second=5) as bars:
            bar = bars.add_task(what, total=None, note="")
            # Above the bar, which is drawn again below it.
            self._print_line = bars.console.print

            def progress(done: int, total: int, note: str = "") -> None:
                bars.update(bar, completed=done, total=total, note=note)

            try:
                yield progress
            finally:
                self._print_line = self._print_plain


def duration(seconds: float) -> str:
    """A length of time as people say it: "4 s", "3 min 20 s", "2 h 5 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
