"""Dark Key-to-Door: find an invisible key, then an invisible door.

N lanes, T tasks, A actions, S states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from adbench.task import Observe
from adbench_envs.grid import MOVES, coordinates, next_cells
from adbench_envs.keyed import KeyedEnv, checked_tasks, ending
from adbench_envs.tabular import Outcomes, TabularFamily


class KeyToDoor(TabularFamily):
    """Dark Key-to-Door: a 9 x 9 room, 1 for the invisible key and then 1 for the invisible door.

    Description:
        The agent sees where it is and nothing else, not even whether it holds the key.
    Tasks:
        The cells of key and door, int64 [2], each `y * 9 + x` in [0, 81); they may be the same
        cell, so there are 81 * 81 = 6561. A permutation keyed by the split's seed is cut into 1312
        test, 656 validation and 4593 training tasks (a fifth, a tenth and the rest).
    Observation space:
        MultiDiscrete([9, 9]): (x, y), int64 [N, 2]. y grows downwards.
    Action space:
        Discrete(5): left, right, up, down, stay. A move into a wall stays.
    Starting state:
        A cell drawn uniformly at every episode, without the key (the key is taken by a step that
        ends on it).
    Rewards:
        1 on the step that ends on the key for the first time, 1 on the step that ends on the door
        while holding it. Where both are the same cell, one step earns both.
    Episode end:
        Terminated at the door, truncated after 50 steps.
    Sources:
        Laskin et al. 2022 (arXiv 2210.14215), section 4 and appendix C. The paper states neither
        its split nor whether the door ends the episode; that it does, and that one step may earn
        both, is the choice of toy-meta-gym and of AD-eps (Zisman et al. 2024).
    Version history:
        0: first.
    """

    name = "key-to-door"
    version = 0
    size = 9
    max_episode_steps = 50
    ends_at_goal = True

    def __init__(self) -> None:
        self.num_cells = self.size**2
        self.observation_space = spaces.MultiDiscrete([self.size, self.size])
        self.action_space = spaces.Discrete(len(MOVES))
        self.num_tabular_states = 2 * self.num_cells

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Cells of key and door, int64 [count, 2]; see `TaskFamily.tasks`."""
        pairs = self._fifth_for_testing(self.num_cells**2, split, count, seed=seed)
        return torch.stack([pairs // self.num_cells, pairs % self.num_cells], dim=1)

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> KeyToDoorBatch:
        """One lane a (key, door), int64 [N, 2]; see `TaskFamily.make`."""
        return KeyToDoorBatch(
            self, self.checked(tasks), seed=seed, lane_ids=lane_ids, device=device
        )

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """`2 * cell + has_key`, int64 [N]."""
        return state["cell"] * 2 + state["has_key"]

    def outcomes(self, tasks: Tensor) -> Outcomes:
        """What every action leads to from every tabular state of T tasks."""
        moved = torch.from_numpy(next_cells(self.size))[None, :, :, None]
        had_key = torch.tensor([False, True])
        key, door = tasks.T[..., None, None, None]
        has_key, opens, reward = arrive(moved, had_key, key, door)
        return Outcomes((moved * 2 + has_key).flatten(2), reward.flatten(2), opens.flatten(2))

    def start(self) -> Tensor:
        """Any cell, without the key; see `TabularFamily.start`."""
        start = torch.zeros(self.num_cells, 2, dtype=torch.float64)
        start[:, 0] = 1.0 / self.num_cells
        return start.flatten()

    def checked(self, tasks: Tensor) -> Tensor:
        """Pairs of cells; see `TabularFamily.checked`."""
        return checked_tasks(self, tasks, shape=(2,), below=self.num_cells)


def arrive(
    cell: Tensor, had_key: Tensor, key: Tensor, door: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The rules: what ending a step on `cell` brings. All arguments broadcast.

    Args:
        cell: where the step ended, int64.
        had_key: whether the key was held before it, bool.
        key: the key's cell, int64.
        door: the door's cell, int64.

    Returns:
        has_key bool, opens (the door, which ends the episode) bool, reward float32.
    """
    has_key = had_key | (cell == key)
    opens = has_key & (cell == door)
    reward = (has_key ^ had_key).float() + opens
    return has_key, opens, reward


class KeyToDoorBatch(KeyedEnv):
    """N rooms with a key and a door; every lane has its own clock, because doors end episodes."""

    family: KeyToDoor
    _cell: Tensor
    _has_key: Tensor
    _began: Tensor

    def __init__(
        self,
        family: KeyToDoor,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None,
        device: torch.device | str,
    ) -> None:
        super().__init__(family, tasks, seed=seed, lane_ids=lane_ids, device=device)
        # Indexed by action * cells + cell, so that an action out of range can never pass for
        # another one.
        self._moves = torch.from_numpy(next_cells(family.size)).flatten().to(self.device)
        self._coordinates = torch.from_numpy(coordinates(family.size)).to(self.device)
        self._key, self._door = self.tasks.T.contiguous()
        self._starts = self._noise(1)
        self._restart()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Put every lane onto a cell of its own; see `BatchedEnv.reset`."""
        self._refuse_another_seed(seed, self.seed)
        self._restart()
        return self._observe(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Move; see `BatchedEnv.step`. A door opened on the last step is no truncation."""
        try:
            self._cell = self._moves.gather(0, actions * self.family.num_cells + self._cell)
        except RuntimeError:
            raise self._refuse_actions(actions) from None
        self._has_key, terminated, reward = arrive(self._cell, self._has_key, self._key, self._door)
        self._step += 1
        due = self._step - self._began == self.family.max_episode_steps
        truncated = due & ~terminated
        ended = due | terminated
        info = ending(self._observe(), ended, self.state())
        self._began = torch.where(ended, self._step, self._began)
        self._cell = torch.where(ended, self._drawn_starts(), self._cell)
        self._has_key = self._has_key & ~ended
        return self._observe(), reward, terminated, truncated, info

    def state(self) -> dict[str, Tensor]:
        """`cell` int64 [N] and `has_key` bool [N]."""
        return {"cell": self._cell.clone(), "has_key": self._has_key.clone()}

    def _restart(self) -> None:
        self._step = 0
        self._began = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._cell = self._drawn_starts()
        self._has_key = self._flags(False)

    def _drawn_starts(self) -> Tensor:
        """A start for every lane whose episode begins now, int64 [N]."""
        return (self._starts.at(self._step)[:, 0] * self.family.num_cells).long()

    def _observe(self) -> Tensor:
        return self._coordinates.index_select(0, self._cell)
