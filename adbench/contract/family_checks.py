"""Checks of a family before any environment is made: what it says of itself, and its tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from gymnasium import Space
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.subject import Subject
from adbench.errors import UsageError
from adbench.spaces import action_problem, observation_problem
from adbench.task import TaskFamily

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MORE_THAN_ANY_SPLIT = 10**9


@check(
    "attributes",
    "it says its name, version, spaces and sizes",
    advice="Set these as class attributes, or in __init__; TaskFamily's docstring explains each.",
)
def attributes(subject: Subject) -> Iterator[str]:
    """Types and ranges of a family's attributes."""
    family = subject.family
    if not isinstance(family, TaskFamily):
        yield f"it is a {type(family).__name__}, not an adbench.TaskFamily"
        return
    name = getattr(family, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"name is {name!r}; it must be lower-case words joined by hyphens, like 'dark-room'"
    for attribute, least in (("version", 0), ("max_episode_steps", 1), ("num_tabular_states", 0)):
        value = getattr(family, attribute, None)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield f"{attribute} is {value!r}; it must be an int from {least} up"
    sets = getattr(family, "test_sets", None)
    if not isinstance(sets, tuple) or not sets or not all(isinstance(s, str) for s in sets):
        yield f"test_sets is {sets!r}; it must be a tuple of names, such as ('test',)"
    elif {"train", "validation"} & set(sets) or len(set(sets)) < len(sets):
        yield f"test_sets is {sets!r}; names must differ from each other, train and validation"
    for attribute, problem_of in (
        ("observation_space", observation_problem),
        ("action_space", action_problem),
    ):
        space = getattr(family, attribute, None)
        if not isinstance(space, Space):
            yield f"{attribute} is {space!r}, not a gymnasium space"
        elif problem := problem_of(space):
            yield f"{attribute}: {problem}"
    if getattr(getattr(family, "action_space", None), "start", 0) != 0:
        yield "action_space does not count from 0"


@check(
    "tasks",
    "every split gives as many tasks as are asked for, as a CPU tensor",
    needs=("attributes",),
    advice="Let tasks(split, count, *, seed) return a tensor [count, ...]; raise "
    "adbench.errors.unknown_name for an unknown split and UsageError for too many. "
    "adbench.split_indices does this for finite sets of tasks.",
)
def tasks(subject: Subject) -> Iterator[str]:
    """Counts, types and refusals of `tasks`."""
    family, seed = subject.family, subject.seed
    shapes = set()
    for split in subject.splits:
        everything = family.tasks(split, None, seed=seed)
        if not isinstance(everything, Tensor):
            yield f"tasks({split!r}, None) gave a {type(everything).__name__}, not a tensor"
            return
        if everything.device.type != "cpu":
            yield f"tasks({split!r}, None) lie on {everything.device}, not on the CPU"
        if not len(everything):
            yield f"tasks({split!r}, None) is empty"
        for count in range(1, min(3, len(everything)) + 1):
            found = len(family.tasks(split, count, seed=seed))
            if found != count:
                yield f"tasks({split!r}, {count}) gave {found} tasks"
        shapes.add((everything.dtype, tuple(everything.shape[1:])))
    if len(shapes) > 1:
        yield f"the splits' tasks differ in dtype or shape: {sorted(map(str, shapes))}"
    try:
        family.tasks("no such split", None, seed=seed)
        yield "an unknown split is not refused"
    except UsageError:
        pass
    for split in subject.splits:
        if len(family.tasks(split, None, seed=seed)) < 1:
            yield f"{split} has no tasks"
    for wrong in (0, -1):
        try:
            found = len(family.tasks("train", wrong, seed=seed))
            yield f"tasks('train', {wrong}) gave {found} tasks and no UsageError"
        except UsageError:
            pass


@check(
    "splits",
    "splits are the same every time, and training, validation and test share no task",
    needs=("tasks",),
    advice="Draw from adbench.noise.generator(name, split, seed) and from nothing else; cut one "
    "permutation of all tasks into the splits (adbench.split_indices), or give each its own draws.",
)
def splits(subject: Subject) -> Iterator[str]:
    """Reproducible and disjoint, at two seeds."""
    family = subject.family
    for seed in (subject.seed, subject.seed + 1):
        found = {split: family.tasks(split, None, seed=seed) for split in subject.splits}
        for split, first in found.items():
            again = family.tasks(split, None, seed=seed)
            if first.shape != again.shape or not torch.equal(first, again):
                yield f"tasks({split!r}, None, seed={seed}) differ from one call to the next"
        rows = {split: _rows(values) for split, values in found.items()}
        for a, b in _apart(subject):
            if shared := len(rows[a] & rows[b]):
                yield f"{shared} tasks are in {a} and in {b} too, at split seed {seed}"


def _apart(subject: Subject) -> Iterator[tuple[str, str]]:
    yield "train", "validation"
    for test in subject.family.test_sets:
        yield "train", test
        yield "validation", test


def _rows(values: Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in values.contiguous()}
