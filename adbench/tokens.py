"""Transition tokens: what the transformer reads, whichever way it lays them out.

B rows, L tokens a row, A actions. A token holds an observation and the action and reward *that led
to it*. An episode of n steps makes n + 1 tokens: the last holds the final observation, the reward
and the flag that ended it; no action is asked there. The next token is a new start: no previous
action, no previous reward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Observation = Tensor | dict[str, Tensor]

NO_ACTION = -1
"""In `action`: none is asked here. In `previous_action`: an episode starts here."""

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2


@dataclass(frozen=True)
class Tokens:
    """B rows of L transition tokens.

    Attributes:
        observation: the agent's observation, [B, L, ...], or one tensor a key of a Dict space.
        previous_action: action that led here, int64 [B, L]; NO_ACTION at an episode's first token.
        previous_reward: reward that came with it, float32 [B, L]; 0 at an episode's first token.
        ending: uint8 [B, L]: RUNNING, or how the episode ended at its final token (TERMINATED,
            TRUNCATED).
        action: action taken here, the target, int64 [B, L]; NO_ACTION at final tokens and padding.
        valid: bool [B, L]; False is padding, always at a row's end.
    """

    observation: Observation
    previous_action: Tensor
    previous_reward: Tensor
    ending: Tensor
    action: Tensor
    valid: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and tokens a row, (B, L)."""
        rows, length = self.previous_action.shape
        return rows, length

    @property
    def first(self) -> Tensor:
        """Where an episode starts, bool [B, L]."""
        return self.valid & (self.previous_action == NO_ACTION)

    @property
    def asks(self) -> Tensor:
        """Where an action is predicted, bool [B, L]: loss is taken here and nowhere else."""
        return self.valid & (self.action != NO_ACTION)

    def map(self, change: Callable[[Tensor], Tensor]) -> Tokens:
        """The same tokens with `change` applied to every tensor."""
        return Tokens(
            observation=map_observation(self.observation, change),
            previous_action=change(self.previous_action),
            previous_reward=change(self.previous_reward),
            ending=change(self.ending),
            action=change(self.action),
            valid=change(self.valid),
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Tokens:
        """The same tokens on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))


def map_observation(observation: Observation, change: Callable[[Tensor], Tensor]) -> Observation:
    """Apply `change` to the tensor, or to each tensor of a Dict observation."""
    if isinstance(observation, dict):
        return {name: change(value) for name, value in observation.items()}
    return change(observation)
