"""Advantages of a roll-out.

T environment steps, then any axes (learners, actors).
"""

from __future__ import annotations

from torch import Tensor


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, eq. 16), [T, ...].

    Args:
        rewards: float [T, ...].
        values: value of the state each reward was earned from, [T, ...].
        next_values: value of the state that the step led to in the same episode, [T, ...]: where an
            episode ended, of its last state and not of the next one's first.
        terminated: the task ended; nothing follows. bool [T, ...].
        truncated: time ran out; the value of what follows still counts. bool [T, ...].
        discount: worth of a reward one step later.
        trace: lambda; 0: one-step errors, 1: returns minus values.
    """
    advantages = rewards + discount * next_values * ~terminated - values
    goes_on = (~(terminated | truncated)).to(rewards.dtype) * (discount * trace)
    for step in range(len(rewards) - 2, -1, -1):
        advantages[step].addcmul_(goes_on[step], advantages[step + 1])
    return advantages
