"""Scores and their intervals: small pure functions, array in, number out.

S seeds, T tasks, E episodes, L lanes, R resamples. Lanes are averaged within a task, then tasks,
then seeds. Intervals are percentiles of a stratified bootstrap: seeds are drawn with replacement,
then tasks within each drawn seed. One set of draws serves every method of a test set, so a
difference between two methods is paired: the same seeds and tasks on both sides.
`docs/statistics.md` says how well these intervals cover.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adbench.errors import ResultsError

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Scores [..., S, T] -> one number for each leading index, [...]."""

Drawn = Literal["seeds and tasks", "tasks", "seeds", "nothing"]

CONFIDENCE = 0.95
RESAMPLES = 2000

# Of all seeds' tasks together: what `iqm` cuts at either end (Agarwal et al. 2021).
_TRIM = 0.25
# Random-to-optimal room below which a task has no normalised score: float32 returns carry about 7
# digits.
_LEAST_ROOM = 1e-6


def task_means(
    values: NDArray[np.generic], task_index: NDArray[np.integer], num_tasks: int
) -> Floats:
    """Lanes averaged within their task, float64 [T, E].

    Args:
        values: one row a lane, [L, E].
        task_index: the task of each lane, int [L] in [0, T).
        num_tasks: T.

    Raises:
        ResultsError: a task without a lane, or a value that is not finite.
    """
    lanes = np.asarray(values, np.float64)
    if not np.isfinite(lanes).all():
        lane, episode = np.argwhere(~np.isfinite(lanes))[0]
        raise ResultsError(
            f"lane {lane} has the value {lanes[lane, episode]} at episode {episode + 1}; "
            "wanted a finite number."
        )
    counts = np.bincount(task_index, minlength=num_tasks)
    if len(counts) > num_tasks or (counts == 0).any():
        missing = np.flatnonzero(counts[:num_tasks] == 0).tolist()
        raise ResultsError(
            f"{num_tasks} tasks were to be evaluated; tasks without a lane: {missing or 'none'}, "
            f"highest task index: {len(counts) - 1}. Every task needs at least one lane."
        )
    sums = np.zeros((num_tasks, lanes.shape[1]))
    np.add.at(sums, task_index, lanes)
    return np.asarray(sums / counts[:, None])


def normalise(returns: Floats, random: Floats, optimal: Floats) -> Floats:
    """Normalised score: random = 0, optimal = 1, task by task.

    Args:
        returns: [..., S, T].
        random: expected return of uniformly random actions, [S, T].
        optimal: expected return of the best policy that knows the task, [S, T]; above `random`
            everywhere (`has_room` says where it is).
    """
    return np.asarray((returns - random) / (optimal - random))


def has_room(random: Floats, optimal: Floats) -> NDArray[np.bool_]:
    """Where optimal lies far enough above random for a normalised score, bool like both."""
    scale = np.maximum(1.0, np.maximum(np.abs(random), np.abs(optimal)))
    return np.asarray(optimal - random > _LEAST_ROOM * scale)


def mean(scores: Floats) -> Floats:
    """Tasks averaged, then seeds: [..., S, T] -> [...]."""
    return np.asarray(scores.mean(axis=-1).mean(axis=-1))


def worst_quarter_mean(scores: Floats) -> Floats:
    """Mean of the worst quarter of each seed's tasks, then of seeds: [..., S, T] -> [...].

    A quarter is rounded up to whole tasks.
    """
    quarter = -(-scores.shape[-1] // 4)
    worst = np.partition(scores, quarter - 1, axis=-1)[..., :quarter]
    return np.asarray(worst.mean(axis=-1).mean(axis=-1))


def share_under_half(scores: Floats) -> Floats:
    """Share of tasks whose normalised score is under one half: [..., S, T] -> [...]."""
    return np.asarray((scores < 0.5).mean(axis=-1).mean(axis=-1))


def iqm(scores: Floats) -> Floats:
    """Interquartile mean of all seeds' tasks together: [..., S, T] -> [...].

    Of n values the floor(n / 4) lowest and as many of the highest are left out.
    """
    together = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(_TRIM * together.shape[-1])
    return np.asarray(together[..., cut : together.shape[-1] - cut].mean(axis=-1))


def last_tenth(num_episodes: int) -> slice:
    """The last 10 % of E episodes, rounded up to whole episodes."""
    return slice(num_episodes - -(-num_episodes // 10), num_episodes)


def running_mean(curves: Floats, window: int) -> Floats:
    """Means of `window` neighbouring episodes: [..., E] -> [..., max(0, E - window + 1)]."""
    if curves.shape[-1] < window:
        return np.empty((*curves.shape[:-1], 0))
    return np.asarray(
        np.lib.stride_tricks.sliding_window_view(curves, window, axis=-1).mean(axis=-1)
    )


def first_reaching(curves: Floats, target: Floats | float, *, window: int) -> NDArray[np.int64]:
    """Episode at whose end the mean of the last `window` episodes first is at least the target.

    Args:
        curves: [..., E].
        target: a number, or one a curve [...].
        window: episodes averaged; the first of them that can count is number `window`.

    Returns:
        Episode numbers from 1, int64 [...]; 0 where it never happens.
    """
    there = running_mean(curves, window) >= np.asarray(target)[..., None]
    if there.shape[-1] == 0:
        return np.zeros(curves.shape[:-1], np.int64)
    return np.where(there.any(axis=-1), there.argmax(axis=-1) + window, 0).astype(np.int64)


@dataclass(frozen=True)
class Resamples:
    """R draws of S seeds with T tasks each, shared by all methods of a test set.

    Attributes:
        seeds: which seed takes each place, int64 [R, S].
        tasks: which of that seed's tasks take each place, int64 [R, S, T].
        over: what was drawn; "tasks" where there is one seed, "nothing" where there is one task of
            one seed (then there is no interval).
    """

    seeds: NDArray[np.int64]
    tasks: NDArray[np.int64]
    over: Drawn

    @cached_property
    def weights(self) -> Floats:
        """How much each seed's task counts in each draw's mean, [R, S * T]; every row sums to 1."""
        draws, seeds, tasks = self.tasks.shape
        cells = (self.seeds[:, :, None] * tasks + self.tasks).reshape(draws, -1)
        flat = cells + np.arange(draws)[:, None] * (seeds * tasks)
        counts = np.bincount(flat.ravel(), minlength=draws * seeds * tasks)
        return np.asarray(counts.reshape(draws, seeds * tasks) / (seeds * tasks))

    def take(self, scores: Floats) -> Floats:
        """Scores [S, T] as each draw sees them, [R, S, T]."""
        return np.asarray(scores[self.seeds[:, :, None], self.tasks])

    def means(self, values: Floats) -> Floats:
        """Each draw's mean over tasks and seeds: [S, T, ...] -> [R, ...]."""
        seeds, tasks = values.shape[:2]
        return np.asarray(
            (self.weights @ values.reshape(seeds * tasks, -1)).reshape(-1, *values.shape[2:])
        )


def draw_resamples(
    num_seeds: int, num_tasks: int, generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> Resamples:
    """Draw seeds with replacement, then tasks within each; with one seed, tasks alone.

    Args:
        num_seeds: S.
        num_tasks: T.
        generator: where the draws come from; equal generators give equal intervals.
        resamples: R.
    """
    seeds = generator.integers(num_seeds, size=(resamples, num_seeds))
    tasks = generator.integers(num_tasks, size=(resamples, num_seeds, num_tasks))
    over: Drawn
    if num_seeds > 1:
        over = "seeds and tasks" if num_tasks > 1 else "seeds"
    else:
        over = "tasks" if num_tasks > 1 else "nothing"
    return Resamples(seeds, tasks, over)


def interval(draws: Floats, *, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Percentile interval of R draws: [R, ...] -> (low [...], high [...])."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def curve_interval(values: Floats, resamples: Resamples) -> tuple[Floats, Floats] | None:
    """Interval of a mean curve: [S, T, E] -> (low [E], high [E]); none where nothing was drawn."""
    return None if resamples.over == "nothing" else interval(resamples.means(values))


def score_interval(
    scores: Floats, statistic: Statistic, resamples: Resamples
) -> tuple[float, float] | None:
    """Interval of a statistic of scores [S, T]; none where nothing was drawn."""
    if resamples.over == "nothing":
        return None
    # Drawn means as one product of matrices are a hundred times as fast as drawing scores.
    draws = resamples.means(scores) if statistic is mean else statistic(resamples.take(scores))
    low, high = interval(draws)
    return float(low), float(high)


def paired_difference(
    ours: Floats, theirs: Floats, resamples: Resamples
) -> tuple[float, tuple[float, float] | None]:
    """Mean of ours minus theirs, and its interval over the same seeds and tasks on both sides.

    Args:
        ours: lane means of one method, [S, T].
        theirs: those of the other on the same seeds and tasks, [S, T].
        resamples: the test set's draws.
    """
    difference = ours - theirs
    return float(mean(difference)), score_interval(difference, mean, resamples)


def share_between(values: Floats, zero: Floats, one: Floats) -> Floats:
    """Where a mean lies between two others: (v - zero) / (one - zero), [..., S, T] -> [...].

    A ratio of means, not a mean of ratios: a single task's `one - zero` may be as small as noise.
    NaN where it is 0.
    """
    room = mean(one) - mean(zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(
            np.where(np.abs(room) > _LEAST_ROOM, (mean(values) - mean(zero)) / room, np.nan)
        )
