"""Hot and Cold: a batched environment, written on tensors, that runs thousands of lanes at once.

N lanes, one task each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from adbench.errors import UsageError
from adbench.task import BatchedEnv, Observe, TaskFamily, split_indices

_MOVES = (-1, 1, 0)  # the actions left, right, stay
_NO_HINT, _COLDER, _WARMER = 0, 1, 2


class HotCold(TaskFamily):
    """Hot and Cold: a row of 21 cells; every step that ends on the buried treasure pays 1.

    Tasks: the treasure's cell, int64 in [0, 21): 15 for training, 2 for validation, 4 for the test.
    Observation: MultiDiscrete([21, 3]), (cell, hint); the hint is 1 after a step away from the
    treasure, 2 after a step towards it, else 0.
    Actions: Discrete(3), left, right, stay. Episode: starts in the middle, 20 steps, truncated.
    """

    name = "hot-cold"
    version = 0
    num_cells = 21
    max_episode_steps = 20
    num_tabular_states = num_cells

    def __init__(self) -> None:
        self.observation_space = spaces.MultiDiscrete([self.num_cells, 3])
        self.action_space = spaces.Discrete(len(_MOVES))

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Treasure cells of a split, int64 [count]."""
        cells = split_indices(self.num_cells, split, count, seed=seed, validation=2, test=4)
        return torch.from_numpy(cells.copy())

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> HotColdBatch:
        """One lane a treasure. Nothing is random here, so `seed` and `lane_ids` key no draws."""
        return HotColdBatch(self, tasks, seed=seed, device=device)

    def random_return(self, tasks: Tensor) -> Tensor:
        """Expected visits of a random walk to the treasure, float32 [N]."""
        walk = torch.zeros(self.num_cells, self.num_cells, dtype=torch.float64)
        for move in _MOVES:
            reached = (torch.arange(self.num_cells) + move).clamp(0, self.num_cells - 1)
            walk[torch.arange(self.num_cells), reached] += 1 / len(_MOVES)
        place = torch.zeros(self.num_cells, dtype=torch.float64)
        place[self.num_cells // 2] = 1.0
        visits = torch.zeros_like(place)
        for _ in range(self.max_episode_steps):
            place = place @ walk
            visits += place
        return visits[tasks].float()

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Every step from the one that reaches the treasure on, float32 [N]."""
        distance = (tasks - self.num_cells // 2).abs().clamp(min=1)
        return (self.max_episode_steps - distance + 1).float()

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """The cell, int64 [N]: with the treasure fixed, it decides everything."""
        return state["cell"]


class HotColdBatch(BatchedEnv):
    """N treasures, one lane each. All episodes are equally long, so the clock is one number."""

    family: HotCold
    _cell: Tensor
    _hint: Tensor

    def __init__(
        self, family: HotCold, tasks: Tensor, *, seed: int, device: torch.device | str
    ) -> None:
        super().__init__(family, tasks.to(device), device=device)
        self._seed = seed
        self._moves = torch.tensor(_MOVES, device=self.device)
        self._start()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start every lane's first episode."""
        if seed is not None and seed != self._seed:
            raise UsageError(f"reset(seed={seed}) on an environment made with seed {self._seed}.")
        self._start()
        return self._observe(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Move, pay, and start anew in the same step where time is up."""
        try:
            moves = self._moves.gather(0, actions)
        except RuntimeError:
            raise UsageError(f"actions go from 0 to {len(_MOVES) - 1}; got {actions}.") from None
        before = (self._cell - self.tasks).abs()
        self._cell = (self._cell + moves).clamp(0, self.family.num_cells - 1)
        after = (self._cell - self.tasks).abs()
        self._hint = torch.where(
            after < before, _WARMER, torch.where(after > before, _COLDER, _NO_HINT)
        )
        self._clock += 1
        time_is_up = self._clock == self.family.max_episode_steps
        terminated = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        truncated = torch.full_like(terminated, time_is_up)
        info = {
            "final_obs": self._observe(),
            "_final_obs": truncated.clone(),
            "final_state": self.state(),
        }
        if time_is_up:
            self._start()
        return self._observe(), (after == 0).float(), terminated, truncated, info

    def state(self) -> dict[str, Tensor]:
        """`cell`, int64 [N]."""
        return {"cell": self._cell.clone()}

    def _start(self) -> None:
        self._clock = 0
        self._cell = torch.full_like(self.tasks, self.family.num_cells // 2)
        self._hint = torch.full_like(self.tasks, _NO_HINT)

    def _observe(self) -> Tensor:
        return torch.stack([self._cell, self._hint], dim=1)
