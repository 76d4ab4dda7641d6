"""Tasks of a gymnasium family: JSON values, numbered so that a tensor can name them.

A number names one task for good, whatever the split's seed: an index into the list, or what seeds
the generator that `sample` draws from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from adbench.errors import UsageError, unknown_name
from adbench.noise import generator, key_of
from adbench.task import SPLITS, split_indices

# Tasks are whatever JSON can say: None, bool, int, float, str, and lists and dictionaries of them.
Task = Any

_VALIDATION_SHARE, _TEST_SHARE = 0.1, 0.2
_SAMPLED_COUNTS = {"train": 200, "validation": 16, "test": 32}
_DRAWS_WITHOUT_A_NEW_TASK = 1000


class Numbered(Protocol):
    """Tasks by number."""

    def numbers(self, split: str, count: int | None, *, seed: int) -> np.ndarray:
        """Numbers of a split's tasks, int64 [count]; see `TaskFamily.tasks`."""

    def text(self, number: int) -> str:
        """The task of that number, as JSON."""


class ListedTasks:
    """A finite list: a fifth is for the test, a tenth for validation, the rest for training.

    Args:
        tasks: three or more JSON values, all different.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._texts = [as_json(task, f"task {index}") for index, task in enumerate(tasks)]
        if len(self._texts) < 3:
            raise UsageError(
                f"a list of {len(self._texts)} tasks cannot be split into train, validation and "
                "test. Give three or more, or a function sample(rng) -> task."
            )
        first: dict[str, int] = {}
        for index, text in enumerate(self._texts):
            if first.setdefault(text, index) != index:
                raise UsageError(
                    f"tasks {first[text]} and {index} are the same: {text}. List every task once, "
                    "or one of them could be trained on and tested too."
                )

    def numbers(self, split: str, count: int | None, *, seed: int) -> np.ndarray:
        """Indices into the list, int64 [count]."""
        total = len(self._texts)
        return split_indices(
            total,
            split,
            count,
            seed=seed,
            validation=max(1, round(_VALIDATION_SHARE * total)),
            test=max(1, round(_TEST_SHARE * total)),
        ).astype(np.int64)

    def text(self, number: int) -> str:
        """The task of that number, as JSON."""
        if not 0 <= number < len(self._texts):
            raise UsageError(
                f"there is no task {number}; the list has {len(self._texts)}, counted from 0."
            )
        return self._texts[number]


class SampledTasks:
    """As many as one asks for: `sample` draws them, and a hash of the task says whose split it is.

    Splits are disjoint by their tasks and not only by their draws: a sampler with few different
    outcomes never shows a test task in training.

    Args:
        sample: draws a task, a JSON value, from a numpy generator and from nothing else.
    """

    def __init__(self, sample: Callable[[np.random.Generator], Task]) -> None:
        self._sample = sample

    def numbers(self, split: str, count: int | None, *, seed: int) -> np.ndarray:
        """Seeds of the first `count` tasks that fall to a split, int64 [count]."""
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        if count is not None and count < 1:
            raise UsageError(f"{count} {split} tasks were asked for. Ask for at least 1.")
        wanted = _SAMPLED_COUNTS[split] if count is None else count
        found: list[int] = []
        for number in self._of_split(split, seed):
            found.append(number)
            if len(found) == wanted:
                break
        if not found or (count is not None and len(found) < count):
            raise UsageError(
                f"sample() gave {len(found)} different {split} tasks and then none in "
                f"{_DRAWS_WITHOUT_A_NEW_TASK} draws; {wanted} were asked for. Ask for fewer, let "
                "it draw from more, or give the tasks as a list."
            )
        return np.asarray(found, dtype=np.int64)

    def text(self, number: int) -> str:
        """The task of that number, as JSON."""
        return as_json(self._sample(generator("gym task", number)), f"the task of seed {number}")

    def _of_split(self, split: str, seed: int) -> Iterator[int]:
        seen: set[str] = set()
        draw = last_new = 0
        while draw - last_new < _DRAWS_WITHOUT_A_NEW_TASK:
            # 53 bits: results.json lists these, and many readers of JSON know no longer integers.
            number = int(key_of("gym task number", seed, draw)[0] >> np.uint64(11))
            draw += 1
            text = self.text(number)
            if text not in seen and _split_of(text, seed) == split:
                seen.add(text)
                last_new = draw
                yield number


def as_json(task: Task, what: str) -> str:
    """A task as JSON, the same text for equal tasks.

    Args:
        task: a JSON value.
        what: what to call it in an error.

    Raises:
        UsageError: it is none; names the type that JSON does not have.
    """
    try:
        return json.dumps(task, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{what} is not a JSON value: {error}. Tasks are made of None, bool, int, float, str, "
            "lists and dictionaries; write int(x) or x.tolist() for a number of numpy's."
        ) from None


def _split_of(text: str, seed: int) -> str:
    share = int(key_of("gym split", seed, text)[0]) / 2**64
    if share < _TEST_SHARE:
        return "test"
    return "validation" if share < _TEST_SHARE + _VALIDATION_SHARE else "train"
