"""The books of N lanes: where their episodes end, what they returned, and who is done.

One compiled loop a step, so that lanes whose episodes end at different times cost no more than
lanes in lockstep. E episodes at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]


class Ledger:
    """The books of N lanes.

    A lane is done after `episodes` episodes; where experts are wanted, after `window` more, once
    the mean of its last `window` returns is at least its threshold, or after `max_episodes`.

    Args:
        lanes: N.
        episodes: episodes of learning.
        max_episodes: E, where a lane is done in any case.
        window: episodes of converged behaviour; 0: none are wanted.
        optimum: return of each lane's best policy, float64 [N]; NaN: nobody knows, and the lane's
            own best mean of `window` episodes stands for it.
        share: how much of the optimum counts as converged.

    Attributes:
        episode_end: exclusive step index of each episode's end, int32 [N, E]; -1: there is none.
        returns: float32 [N, E].
        finished: episodes finished, int32 [N].
        length: steps up to the end of the last of them, int32 [N].
        done: bool [N].
    """

    def __init__(
        self,
        lanes: int,
        *,
        episodes: int,
        max_episodes: int,
        window: int,
        optimum: Array,
        share: float,
    ) -> None:
        self._rules = (episodes, max_episodes, window, share)
        self._optimum = optimum.astype(np.float64)
        self._running = np.zeros(lanes)
        self._best = np.full(lanes, -np.inf)
        self.episode_end = np.full((lanes, max_episodes), -1, np.int32)
        self.returns = np.zeros((lanes, max_episodes), np.float32)
        self.finished = np.zeros(lanes, np.int32)
        self.length = np.zeros(lanes, np.int32)
        self.done = np.zeros(lanes, np.bool_)

    def note(self, step: int, rewards: Array, ended: Array) -> Array:
        """Take down one step.

        Args:
            step: 0, 1, ...
            rewards: float32 [N].
            ended: whether the lane's episode ended with this step, bool [N].

        Returns:
            lanes that were not done yet and whose episode ended, int64 [n], rising.
        """
        lanes = np.empty(len(ended), np.int64)
        count: int = _note(
            step,
            rewards,
            ended,
            self._running,
            self._best,
            self._optimum,
            self.episode_end,
            self.returns,
            self.finished,
            self.length,
            self.done,
            lanes,
            *self._rules,
        )
        return lanes[:count]


def expert_threshold(optimum: float, share: float) -> float:
    """The mean return from which a lane counts as converged: `share` of the way to the optimum.

    A negative optimum (a cost) is missed by as much as a positive one of the same size.

    Args:
        optimum: return of the best policy.
        share: in (0, 1].
    """
    return optimum - (1.0 - share) * abs(optimum)


_threshold = njit(cache=True)(expert_threshold)


@njit(cache=True, nogil=True)
def _note(
    step: int,
    rewards: Array,
    ended: Array,
    running: Array,
    best: Array,
    optimum: Array,
    episode_end: Array,
    returns: Array,
    finished: Array,
    length: Array,
    done: Array,
    lanes: Array,
    episodes: int,
    max_episodes: int,
    window: int,
    share: float,
) -> int:
    count = 0
    for lane in range(rewards.shape[0]):
        if done[lane]:
            continue
        running[lane] += rewards[lane]
        if not ended[lane]:
            continue
        episode = finished[lane]
        returns[lane, episode] = running[lane]
        running[lane] = 0.0
        episode_end[lane, episode] = step + 1
        length[lane] = step + 1
        finished[lane] = episode + 1
        lanes[count] = lane
        count += 1
        converged = window == 0
        if window > 0 and episode + 1 >= window:
            mean = 0.0
            for back in range(window):
                mean += returns[lane, episode - back]
            mean /= window
            best[lane] = max(best[lane], mean)
            known = best[lane] if np.isnan(optimum[lane]) else optimum[lane]
            # Float32 returns that add up to the threshold itself must not miss it by a rounding.
            converged = mean >= _threshold(known, share) - 1e-6
        full = episode + 1 >= episodes + window
        done[lane] = (full and converged) or episode + 1 >= max_episodes
    return count
