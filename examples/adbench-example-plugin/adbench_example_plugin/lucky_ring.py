"""Lucky Ring: a plain `gymnasium.Env`, one lane on numpy, made a family by `adbench.gym_family`."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces

import adbench
from adbench.task import TaskFamily

_CELLS = 12
_STEPS = 15
_SLIP = 0.1


class LuckyRing(gymnasium.Env[Any, Any]):
    """A ring of 12 cells; every step that ends on the lucky one pays 1; one step in ten slips.

    It knows nothing of adbench: it is written as any gymnasium environment is.
    """

    def __init__(self, lucky: int) -> None:
        self.observation_space = spaces.Discrete(_CELLS)
        self.action_space = spaces.Discrete(3)  # stay, clockwise, the other way
        self._lucky = lucky
        self._cell = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Start at cell 0."""
        super().reset(seed=seed)
        self._cell = 0
        return self._cell, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move round the ring."""
        move = (0, 1, -1)[action]
        if self.np_random.random() < _SLIP:
            move = -move
        self._cell = (self._cell + move) % _CELLS
        return self._cell, float(self._cell == self._lucky), False, False, {}


def lucky_ring() -> TaskFamily:
    """Lucky Ring: 12 cells in a ring, one of which pays; a plain gymnasium environment."""
    return adbench.gym_family(
        lambda task: LuckyRing(task["lucky"]),
        tasks=[{"lucky": cell} for cell in range(_CELLS)],
        name="lucky-ring",
        max_episode_steps=_STEPS,
    )
