"""Dark Room and Dark Room (Hard): find an invisible goal in a square room.

N lanes, T tasks, A actions, S states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from adbench.task import Observe
from adbench_envs.grid import MOVES, centre_cell, coordinates, next_cells
from adbench_envs.keyed import KeyedEnv, checked_tasks, ending
from adbench_envs.tabular import Outcomes, TabularFamily


class DarkRoom(TabularFamily):
    """Dark Room: a 9 x 9 room, reward for every step that ends on an invisible goal.

    Description:
        The agent sees where it is and nothing else. What it has learnt of the goal is in what
        happened before.
    Tasks:
        The goal's cell, int64 in [0, 81), `y * 9 + x`. A permutation keyed by the split's seed is
        cut into 16 test, 8 validation and 57 training goals (a fifth, a tenth and the rest).
    Observation space:
        MultiDiscrete([9, 9]): (x, y), int64 [N, 2]. y grows downwards.
    Action space:
        Discrete(5): left, right, up, down, stay. A move into a wall stays.
    Starting state:
        The centre, (4, 4).
    Rewards:
        1 on every step that ends on the goal, else 0 (so staying there pays).
    Episode end:
        Truncated after 20 steps; never terminated.
    Sources:
        Laskin et al. 2022 (arXiv 2210.14215), section 4 and appendix C. The paper does not state
        its split.
    Version history:
        0: first.
    """

    name = "dark-room"
    version = 0
    size = 9
    max_episode_steps = 20
    reward_once = False

    def __init__(self) -> None:
        self.num_cells = self.size**2
        self.observation_space = spaces.MultiDiscrete([self.size, self.size])
        self.action_space = spaces.Discrete(len(MOVES))
        self.num_tabular_states = self.num_cells * (2 if self.reward_once else 1)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Goal cells of a split, int64 [count]; see `TaskFamily.tasks`."""
        return self._fifth_for_testing(self.num_cells, split, count, seed=seed)

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> DarkRoomBatch:
        """One lane a goal cell, int64 [N]; see `TaskFamily.make`."""
        return DarkRoomBatch(self, self.checked(tasks), seed=seed, lane_ids=lane_ids, device=device)

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """The cell, or `2 * cell + found` where the goal pays once; int64 [N]."""
        if self.reward_once:
            return state["cell"] * 2 + state["found"]
        return state["cell"]

    def outcomes(self, tasks: Tensor) -> Outcomes:
        """What every action leads to from every tabular state of T tasks."""
        moved = torch.from_numpy(next_cells(self.size)).expand(len(tasks), -1, -1)
        at_goal = moved == tasks[:, None, None]
        if not self.reward_once:
            return Outcomes(moved, at_goal.float(), torch.zeros_like(at_goal))
        found = torch.tensor([False, True])
        reward = at_goal[..., None] & ~found
        next_state = moved[..., None] * 2 + (at_goal[..., None] | found)
        return Outcomes(
            next_state.flatten(2), reward.float().flatten(2), torch.zeros_like(reward).flatten(2)
        )

    def start(self) -> Tensor:
        """The centre, nothing found yet; see `TabularFamily.start`."""
        start = torch.zeros(self.num_tabular_states, dtype=torch.float64)
        start[centre_cell(self.size) * (2 if self.reward_once else 1)] = 1.0
        return start

    def checked(self, tasks: Tensor) -> Tensor:
        """Goal cells; see `TabularFamily.checked`."""
        return checked_tasks(self, tasks, shape=(), below=self.num_cells)


class DarkRoomHard(DarkRoom):
    """Dark Room (Hard): a 17 x 17 room whose invisible goal pays once an episode.

    Description:
        As Dark Room, but larger, and sparse: a random walk finds the goal in one episode of
        twenty-seven.
    Tasks:
        The goal's cell, int64 in [0, 289), `y * 17 + x`: 58 test, 29 validation and 202 training
        goals.
    Observation space:
        MultiDiscrete([17, 17]): (x, y), int64 [N, 2]. y grows downwards.
    Action space:
        Discrete(5): left, right, up, down, stay. A move into a wall stays.
    Starting state:
        The centre, (8, 8).
    Rewards:
        1 on the first step of an episode that ends on the goal, else 0.
    Episode end:
        Truncated after 20 steps; never terminated. The paper says "r = 1 exactly once, else 0" and
        draws 1,000 episodes as 20,000 steps, which leaves every episode its 20; later work (Tarasov
        et al. 2025) ends it at the goal.
    Sources:
        Laskin et al. 2022 (arXiv 2210.14215), section 4 and appendix C. The paper does not state
        its split.
    Version history:
        0: first.
    """

    name = "dark-room-hard"
    version = 0
    size = 17
    reward_once = True


class DarkRoomBatch(KeyedEnv):
    """N dark rooms in lockstep: all episodes are equally long, so the clock is a host number."""

    family: DarkRoom
    _cell: Tensor
    _found: Tensor

    def __init__(
        self,
        family: DarkRoom,
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
        self._start = torch.full((self.num_envs,), centre_cell(family.size), device=self.device)
        self._restart()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Put every lane into the centre; see `BatchedEnv.reset`."""
        self._refuse_another_seed(seed, self.seed)
        self._restart()
        return self._observe(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Move; see `BatchedEnv.step`."""
        try:
            self._cell = self._moves.gather(0, actions * self.family.num_cells + self._cell)
        except RuntimeError:
            raise self._refuse_actions(actions) from None
        pays = self._cell == self.tasks
        if self.family.reward_once:
            pays, self._found = pays & ~self._found, pays | self._found
        self._clock += 1
        truncated = self._flags(self._clock == self.family.max_episode_steps)
        observation = self._observe()
        info = ending(observation, truncated.clone(), self.state())
        if self._clock == self.family.max_episode_steps:
            self._restart()
            observation = self._observe()
        return observation, pays.float(), self._flags(False), truncated, info

    def state(self) -> dict[str, Tensor]:
        """`cell` int64 [N]; where the goal pays once also `found` bool [N]."""
        if self.family.reward_once:
            return {"cell": self._cell.clone(), "found": self._found.clone()}
        return {"cell": self._cell.clone()}

    def _restart(self) -> None:
        self._clock = 0
        self._cell = self._start
        self._found = self._flags(False)

    def _observe(self) -> Tensor:
        return self._coordinates.index_select(0, self._cell)
