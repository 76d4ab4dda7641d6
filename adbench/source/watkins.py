"""Watkins's Q(lambda) for many tables at once, as two compiled loops: choose, and take in.

M learners with one table each, A actors (streams) a learner, N = M * A lanes, S states, C choices
(actions), L trace slots. A lane's eligibility trace is a short list of the pairs that its episode
has visited: an episode of tens of steps touches tens of pairs of a table of hundreds, so the list
costs a fraction of a dense trace.

Both loops write into the arrays they are given; they are the only code that touches them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

# Below this an eligibility moves no float32 value that matters, and its slot is freed.
_LEAST_ELIGIBILITY = 1e-4

# Values this near are tied. Faint traces and rounding leave differences that mean nothing; an order
# by them would look like chance to whoever watches, and to a transformer that has to predict it.
_TIE = np.float32(1e-5)

_NOBODY = -1


def trace_slots(decay: float, steps: int) -> int:
    """Slots that a trace can fill before its oldest is freed.

    Args:
        decay: of eligibility from one step to the next, in [0, 1).
        steps: the longest episode, in steps.
    """
    if decay <= 0.0:
        return 1
    # One more for what float32 rounds up.
    return min(steps, int(math.log(_LEAST_ELIGIBILITY) / math.log(decay)) + 2)


@dataclass(frozen=True)
class Tables:
    """What N lanes and their learners remember.

    Attributes:
        values: action values, float32 [M, S, C].
        trace_pairs: visited pairs as state * C + action, int32 [N, L].
        trace_weights: their eligibility, float32 [N, L].
        trace_lengths: slots in use, int32 [N].
        action: the last choice, int64 [N]; -1 at an episode's start.
        greedy: whether it was one of the best, bool [N].
        finished: episodes finished, int32 [N].
        under_way: whether the last choice is still being carried out, bool [N]: such a lane chooses
            nothing, and learns nothing from what the step brought.
    """

    values: Array
    trace_pairs: Array
    trace_weights: Array
    trace_lengths: Array
    action: Array
    greedy: Array
    finished: Array
    under_way: Array

    @classmethod
    def fresh(
        cls, learners: int, actors: int, states: int, choices: int, *, value: float, slots: int
    ) -> Tables:
        """Tables that hold one value everywhere, and empty traces.

        Args:
            learners: M.
            actors: A.
            states: S.
            choices: C.
            value: every entry.
            slots: L, as `trace_slots` counts them.
        """
        lanes = learners * actors
        return cls(
            values=np.full((learners, states, choices), value, np.float32),
            trace_pairs=np.zeros((lanes, slots), np.int32),
            trace_weights=np.zeros((lanes, slots), np.float32),
            trace_lengths=np.zeros(lanes, np.int32),
            action=np.full(lanes, _NOBODY, np.int64),
            greedy=np.zeros(lanes, np.bool_),
            finished=np.zeros(lanes, np.int32),
            under_way=np.zeros(lanes, np.bool_),
        )


@njit(cache=True, nogil=True)
def choose(
    values: Array,
    action: Array,
    greedy: Array,
    finished: Array,
    under_way: Array,
    states: Array,
    noise: Array,
    actors: int,
    persistence: float,
    epsilon_start: float,
    epsilon_end: float,
    epsilon_episodes: float,
) -> None:
    """Epsilon-greedy choices; a tie among the best is broken by persistence, then by the noise.

    Args:
        values: float32 [M, S, C].
        action: the last choice, int64 [N]; becomes the new one.
        greedy: bool [N]; written.
        finished: int32 [N].
        under_way: bool [N]; these lanes keep the choice they have.
        states: int64 [N].
        noise: uniform in [0, 1), float32 [N, 2]: whether to explore, and which action.
        actors: A.
        persistence: probability that a tie goes to the last choice, if that is among the best.
        epsilon_start: probability of a uniformly random choice in the first episode.
        epsilon_end: the same from episode `epsilon_episodes` on; between them it falls linearly.
        epsilon_episodes: episodes over which it falls.
    """
    choices = values.shape[2]
    for lane in range(states.shape[0]):
        if under_way[lane]:
            continue
        row = values[lane // actors, states[lane]]
        best = row[0]
        for choice in range(1, choices):
            best = max(best, row[choice])
        enough = best - _TIE
        ties = 0
        for choice in range(choices):
            ties += row[choice] >= enough
        epsilon = epsilon_end
        if finished[lane] < epsilon_episodes:
            left = 1.0 - finished[lane] / epsilon_episodes
            epsilon += (epsilon_start - epsilon_end) * left
        last = action[lane]
        pick = noise[lane, 1]
        if noise[lane, 0] < epsilon:
            chosen = min(int(pick * choices), choices - 1)
        elif last >= 0 and row[last] >= enough and pick < persistence:
            chosen = last
        else:
            if last >= 0 and row[last] >= enough:
                pick = (pick - persistence) / (1.0 - persistence)  # uniform again
            skip = min(int(pick * ties), ties - 1)
            chosen = 0
            for choice in range(choices):
                if row[choice] >= enough:
                    if skip == 0:
                        chosen = choice
                        break
                    skip -= 1
        action[lane] = chosen
        greedy[lane] = row[chosen] >= enough


@njit(cache=True, nogil=True)
def _end_episode(
    lane: int, trace_lengths: Array, action: Array, finished: Array, under_way: Array
) -> None:
    trace_lengths[lane] = 0
    action[lane] = _NOBODY
    finished[lane] += 1
    under_way[lane] = False


@njit(cache=True, nogil=True)
def take_in(
    values: Array,
    trace_pairs: Array,
    trace_weights: Array,
    trace_lengths: Array,
    action: Array,
    greedy: Array,
    finished: Array,
    under_way: Array,
    states: Array,
    rewards: Array,
    terminated: Array,
    truncated: Array,
    next_states: Array,
    actors: int,
    learning_rate: float,
    discount: float,
    trace: float,
) -> None:
    """One backup of every lane, in lane order within a learner.

    A truncated episode still has a future, so its last step bootstraps; a terminated one has
    none. Traces are replaced pair by pair (Singh and Sutton 1996) and cut before a choice that was
    not greedy (Watkins 1989).

    Args:
        values: float32 [M, S, C]; changed.
        trace_pairs: int32 [N, L]; changed.
        trace_weights: float32 [N, L]; changed.
        trace_lengths: int32 [N]; changed.
        action: as `choose` left it, int64 [N]; -1 where an episode ended.
        greedy: as `choose` left it, bool [N].
        finished: int32 [N]; one more where an episode ended.
        under_way: bool [N]; no step of these lanes' tables. False where an episode ended.
        states: where the choices were made, int64 [N].
        rewards: float32 [N].
        terminated: bool [N].
        truncated: bool [N].
        next_states: what followed in the same episode, int64 [N].
        actors: A.
        learning_rate: share of the error that is made good at once.
        discount: of what comes one step later.
        trace: lambda, the decay of eligibility beside the discount.
    """
    choices = values.shape[2]
    decay = np.float32(discount * trace)
    for lane in range(states.shape[0]):
        if under_way[lane]:
            if terminated[lane] or truncated[lane]:
                _end_episode(lane, trace_lengths, action, finished, under_way)
            continue
        table = values[lane // actors].reshape(-1)  # a view: the table is contiguous
        pair = np.int32(states[lane] * choices + action[lane])
        target = rewards[lane]
        if not terminated[lane]:
            start = next_states[lane] * choices
            best = table[start]
            for choice in range(1, choices):
                best = max(best, table[start + choice])
            target += np.float32(discount) * best
        step = np.float32(learning_rate) * (target - table[pair])
        length = trace_lengths[lane] if greedy[lane] else 0
        kept = 0
        for slot in range(length):
            visited = trace_pairs[lane, slot]
            if visited == pair:
                continue  # replaced, not added to
            weight = trace_weights[lane, slot] * decay
            if weight < _LEAST_ELIGIBILITY:
                continue
            trace_pairs[lane, kept] = visited
            trace_weights[lane, kept] = weight
            table[visited] += step * weight
            kept += 1
        table[pair] += step
        trace_pairs[lane, kept] = pair
        trace_weights[lane, kept] = 1.0
        trace_lengths[lane] = kept + 1
        if terminated[lane] or truncated[lane]:
            _end_episode(lane, trace_lengths, action, finished, under_way)
