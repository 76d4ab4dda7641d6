"""What every stage of a run is handed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from adbench.config import RunConfig, TasksConfig
from adbench.errors import UsageError
from adbench.folder import RunFolder, write_text
from adbench.loggers import Listen
from adbench.progress import Progress, Stop, never
from adbench.task import TaskFamily

STAGES = ("collect", "train", "evaluate", "report")


@dataclass(frozen=True)
class Work:
    """A run under way.

    Attributes:
        folder: where it lies.
        family: its tasks.
        stop: asked between units of work: whether to stop cleanly now.
        listen: hears every line of `metrics.jsonl`; none: nobody does.
        verified: seeds whose histories were read in full and found whole by this process.
        compared: seeds whose sample frames this process has drawn anew.
    """

    folder: RunFolder
    family: TaskFamily
    stop: Stop = never
    listen: Listen | None = None
    verified: set[int] = field(default_factory=set)
    compared: set[int] = field(default_factory=set)

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.folder.config

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of the sets of held-out tasks that are played and scored."""
        return self.config.evaluate.scored(self.family.test_sets)

    def held_out(self, test_set: str) -> Tensor:
        """The tasks of one of them, [count, ...]."""
        return held_out(self.family, self.config.tasks, test_set)


def held_out(family: TaskFamily, tasks: TasksConfig, test_set: str) -> Tensor:
    """Tasks that a run plays and scores, [count, ...].

    A test set after the first may have fewer tasks than were asked for: then it is all it has.

    Raises:
        UsageError: the first test set, or the validation tasks, have fewer.
    """
    count = tasks.validation if test_set == "validation" else tasks.test
    try:
        return family.tasks(test_set, count, seed=tasks.split_seed)
    except UsageError:
        if test_set not in family.test_sets[1:]:
            raise
        return family.tasks(test_set, None, seed=tasks.split_seed)


@dataclass(frozen=True)
class Step:
    """One unit of a run's work, which can be killed at any moment and done again.

    Attributes:
        stage: one of `STAGES`.
        account: what its time is booked on, within the stage ("ad"); may be empty.
        what: in words ("train ad, seed 0").
        unit: what its progress counts ("updates").
        do: does what is left of it.
        done: whether nothing is left of it.
    """

    stage: str
    account: str
    what: str
    unit: str
    do: Callable[[Progress], None]
    done: Callable[[], bool]


class Seconds:
    """Seconds of work, by stage and account, added up over every process that took part.

    They are written down every few seconds, so that a killed process loses little of its account.

    Args:
        path: the JSON file.
        clock: seconds from anywhere; a test brings its own.
        interval_seconds: time between two writings.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_seconds: float = 5.0,
    ) -> None:
        self._path = path
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._accounts = _read(path)

    def of(self, stage: str, *accounts: str) -> float | None:
        """Seconds of some accounts of a stage (none named: of all); none: nothing was booked."""
        booked = [
            seconds
            for name, seconds in self._accounts.items()
            if name.partition("/")[0] == stage
            and (not accounts or name.partition("/")[2] in accounts)
        ]
        return round(sum(booked), 3) if booked else None

    @contextmanager
    def book(self, stage: str, account: str, progress: Progress) -> Iterator[Progress]:
        """Book the time inside; the progress that it gives back must be used in there."""
        name = f"{stage}/{account}"
        before = self._accounts.get(name, 0.0)
        began = written = self._clock()

        def tick(done: int, total: int, note: str = "") -> None:
            nonlocal written
            progress(done, total, note)
            if self._clock() - written >= self._interval_seconds:
                written = self._clock()
                self._write(name, before + written - began)

        try:
            yield tick
        finally:
            self._write(name, before + self._clock() - began)

    def _write(self, name: str, seconds: float) -> None:
        self._accounts[name] = round(seconds, 3)
        write_text(self._path, json.dumps(self._accounts, indent=1) + "\n")


def _read(path: Path) -> dict[str, float]:
    """What was counted so far; a damaged account starts anew, since no outcome depends on it."""
    try:
        told = json.loads(path.read_text())
        return {str(name): max(0.0, float(seconds)) for name, seconds in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
