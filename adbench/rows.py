"""Rows of a held-out set of tasks: lanes averaged within tasks, seeds side by side.

S seeds, T tasks, E episodes of a row (K of every row but the sources), L lanes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adbench import stats
from adbench.config import METHODS
from adbench.data_efficiency import (
    SOURCES,
    WINDOW_EPISODES,
    Stream,
    Target,
    share_targets,
)
from adbench.errors import ResultsError
from adbench.stats import Floats, Resamples

CONSTANTS = ("random", "optimal")
"""Rows that are computed from the tasks and repeat their constant."""

_LONGEST_ID = 4
"""Numbers of a task that its id spells out; a task of more is named by a digest."""


class Rollout(Protocol):
    """What L lanes lived through; tensors or arrays.

    Attributes:
        returns: return of each whole episode, float32 [L, E].
        lengths: its environment steps, int32 [L, E].
        task_index: which of the tasks each lane played, int64 [L].
        tasks: [T, ...].
    """

    @property
    def returns(self) -> Any: ...  # noqa: D102
    @property
    def lengths(self) -> Any: ...  # noqa: D102
    @property
    def task_index(self) -> Any: ...  # noqa: D102
    @property
    def tasks(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Baseline:
    """What is known of one seed's test tasks without rolling out.

    Attributes:
        random: expected return of uniformly random actions, float [T].
        optimal: expected return of the best policy that knows the task, float [T]; none where
            nobody knows.
    """

    random: Any
    optimal: Any | None


@dataclass(frozen=True)
class Row:
    """One method on one test set.

    Attributes:
        returns: lanes averaged within tasks, [S, T, E].
        steps: environment steps of each episode, averaged alike; none where it is computed, not
            rolled out.
        lanes: lanes behind each point of the curve, over all seeds; 0: computed.
        to_goal: environment steps of each episode until the goal, those of one that did not get
            there counted as the longest episode's, averaged alike; none where episodes have no such
            end.
    """

    returns: Floats
    steps: Floats | None
    lanes: int
    to_goal: Floats | None = None


@dataclass(frozen=True)
class HeldOut:
    """All rows of one held-out set of tasks.

    Attributes:
        name: of the set.
        episodes: K.
        task_ids: [S][T].
        random: expected return of random actions, [S, T].
        optimal: expected return of the best policy, [S, T]; none: nobody knows and no source was
            run.
        estimated: whether `optimal` is the best that a source did.
        scored: tasks with room between random and optimal in every seed, bool [T]; others have no
            normalised score.
        rows: method -> row, in the order of `METHODS`.
        incomplete: method -> seeds that it has not been run with; such a row is left out.
        resamples: draws among all tasks, shared by all rows.
        scored_resamples: draws among the scored tasks.
    """

    name: str
    episodes: int
    task_ids: list[list[Any]]
    random: Floats
    optimal: Floats | None
    estimated: bool
    scored: NDArray[np.bool_]
    rows: dict[str, Row]
    incomplete: dict[str, list[int]]
    resamples: Resamples
    scored_resamples: Resamples

    @cached_property
    def targets(self) -> dict[str, Target]:
        """50 % and 90 % of the way from random to optimal; nothing where there is no such way."""
        if self.optimal is None or not self.scored.any():
            return {}
        return share_targets(self.random, self.optimal, self.resamples)

    @cached_property
    def streams(self) -> dict[str, Stream]:
        """Every row that was rolled out, in full length."""
        return {
            name: Stream(name, row.returns, row.steps, self.resamples)
            for name, row in self.rows.items()
            if row.steps is not None
        }


def gather(
    name: str,
    rollouts: Mapping[tuple[str, int], Rollout],
    baselines: Mapping[int, Baseline],
    *,
    methods: Sequence[str],
    episodes: int,
    generator: np.random.Generator,
    resamples: int = stats.RESAMPLES,
    goal_within: int | None = None,
) -> HeldOut:
    """Average lanes within tasks and put seeds side by side.

    Args:
        name: of the test set.
        rollouts: by (method, seed). Those of `random` and `optimal` are not needed and not read.
        baselines: by seed, in the order of the results; a row that lacks one of these seeds is
            left out.
        methods: rows that were asked for; `random` and `optimal` are there if they are named here.
        episodes: K, which every lane of every row but the sources must have played.
        generator: draws of the intervals.
        resamples: how many.
        goal_within: steps of the longest episode, if episodes end at a goal.

    Raises:
        ResultsError: rows that disagree on tasks, or lanes that did not play what they should have.
    """
    seeds = list(baselines)
    tasks = [_tasks_of(name, rollouts, seed) for seed in seeds]
    if len({len(each) for each in tasks}) != 1:
        counts = ", ".join(
            f"{len(each)} (seed {seed})" for seed, each in zip(seeds, tasks, strict=True)
        )
        raise ResultsError(
            f"test set {name}: number of tasks: {counts}; every seed must have as many."
        )
    rows: dict[str, Row] = {}
    incomplete: dict[str, list[int]] = {}
    for method in METHODS:
        missing = [seed for seed in seeds if (method, seed) not in rollouts]
        if method in CONSTANTS or len(missing) == len(seeds):
            continue
        if missing:
            incomplete[method] = missing
            continue
        rows[method] = _row(
            name, method, {seed: rollouts[method, seed] for seed in seeds}, episodes, goal_within
        )
    random = np.stack([_per_task(base.random, name, "random") for base in baselines.values()])
    known = [
        _per_task(base.optimal, name, "optimal")
        for base in baselines.values()
        if base.optimal is not None
    ]
    optimal = np.stack(known) if len(known) == len(seeds) else None
    estimated = optimal is None
    if optimal is None:
        optimal = _best_of_sources([rows[source] for source in SOURCES if source in rows])
    for method, constant in zip(CONSTANTS, (random, optimal), strict=True):
        if method in methods and constant is not None:
            rows[method] = Row(np.repeat(constant[..., None], episodes, axis=-1), None, 0)
    num_seeds, num_tasks = random.shape
    scored: NDArray[np.bool_] = np.zeros(num_tasks, np.bool_)
    if optimal is not None:
        scored = np.logical_and.reduce(stats.has_room(random, optimal), axis=0)
    drawn = stats.draw_resamples(num_seeds, num_tasks, generator, resamples=resamples)
    scored_drawn = drawn
    if scored.any() and not scored.all():
        scored_drawn = stats.draw_resamples(
            num_seeds, int(scored.sum()), generator, resamples=resamples
        )
    return HeldOut(
        name=name,
        episodes=episodes,
        task_ids=[task_ids(each) for each in tasks],
        random=random,
        optimal=optimal,
        estimated=estimated and optimal is not None,
        scored=scored,
        rows={method: rows[method] for method in METHODS if method in rows},
        incomplete=incomplete,
        resamples=drawn,
        scored_resamples=scored_drawn,
    )


def task_ids(tasks: Any) -> list[Any]:
    """Names of tasks for results: their numbers, or a digest of those that have more than four.

    Args:
        tasks: tensor or array [T, ...].

    Returns:
        T values: a number, a list of numbers, or 16 hexadecimal digits.
    """
    array = np.ascontiguousarray(np.asarray(tasks))
    if array.size > _LONGEST_ID * len(array):
        return [hashlib.blake2b(task.tobytes(), digest_size=8).hexdigest() for task in array]
    if array.ndim == 1:
        return [number(task) for task in array]
    return [[number(part) for part in task.ravel()] for task in array]


def number(value: Any) -> int | float:
    """A JSON number: integers as they are, others to 7 digits, which is what float32 carries.

    Raises:
        ResultsError: it is not finite.
    """
    if isinstance(value, int | np.integer | np.bool_):
        return int(value)
    exact = float(value)
    if not np.isfinite(exact):
        raise ResultsError(f"a result is {exact}; wanted a finite number.")
    return float(f"{exact:.7g}")


def _tasks_of(name: str, rollouts: Mapping[tuple[str, int], Rollout], seed: int) -> NDArray[Any]:
    """The tasks that every row of a seed was evaluated on."""
    found: tuple[str, NDArray[Any]] | None = None
    for (method, of_seed), rollout in rollouts.items():
        if of_seed != seed:
            continue
        tasks = np.asarray(rollout.tasks)
        if found is None:
            found = method, tasks
        elif not np.array_equal(found[1], tasks):
            raise ResultsError(
                f"test set {name}, seed {seed}: {found[0]} and {method} were evaluated on "
                "different tasks. Evaluate both again with one configuration."
            )
    if found is None:
        raise ResultsError(
            f"test set {name}: nothing was evaluated with seed {seed}. Evaluate a row first."
        )
    return found[1]


def _row(
    name: str,
    method: str,
    rollouts: Mapping[int, Rollout],
    episodes: int,
    goal_within: int | None,
) -> Row:
    returns, steps, to_goal, lanes = [], [], [], 0
    for seed, rollout in rollouts.items():
        what = f"{method} on {name}, seed {seed}"
        played, lengths = np.asarray(rollout.returns), np.asarray(rollout.lengths)
        if played.ndim != 2 or lengths.shape != played.shape or played.shape[1] == 0:
            raise ResultsError(
                f"{what}: returns {played.shape} and lengths {lengths.shape}; "
                "wanted [lanes, episodes]."
            )
        if method not in SOURCES and played.shape[1] != episodes:
            raise ResultsError(
                f"{what}: its lanes played {played.shape[1]} episodes; "
                f"evaluate.episodes is {episodes}."
            )
        if (lengths < 1).any():
            lane, episode = np.argwhere(lengths < 1)[0]
            raise ResultsError(
                f"{what}: lane {lane} did not play its episode {episode + 1}; every lane plays all."
            )
        index = np.asarray(rollout.task_index)
        num_tasks = len(np.asarray(rollout.tasks))
        try:
            returns.append(stats.task_means(played, index, num_tasks))
            steps.append(stats.task_means(lengths, index, num_tasks))
            if goal_within is not None:
                # Who ends early with nothing was stopped, and did not arrive.
                needed = np.where(played > 0, lengths, goal_within)
                to_goal.append(stats.task_means(needed, index, num_tasks))
        except ResultsError as error:
            raise ResultsError(f"{what}: {error}") from None
        lanes += len(played)
    # A source's learners may have gone on for longer in one seed than in another.
    shared = min(each.shape[1] for each in returns)
    return Row(
        np.stack([each[:, :shared] for each in returns]),
        np.stack([each[:, :shared] for each in steps]),
        lanes,
        np.stack([each[:, :shared] for each in to_goal]) if to_goal else None,
    )


def _per_task(values: Any, name: str, what: str) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ResultsError(
            f"test set {name}: the family's {what} return is not finite for every task: {array}."
        )
    return array


def _best_of_sources(rows: Iterable[Row]) -> Floats | None:
    """A source's best running mean on each task, [S, T]: what stands in for an unknown optimum."""
    best = [
        stats.running_mean(row.returns, min(WINDOW_EPISODES, row.returns.shape[-1])).max(axis=-1)
        for row in rows
    ]
    return np.max(best, axis=0) if best else None
