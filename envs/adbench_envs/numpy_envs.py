"""The flat worlds as plain gymnasium environments: one room, numpy, no torch.

They say the same rules as the batched families a second time, in the simplest form; a test plays
the two against each other. An environment keeps its task from episode to episode, as a learner in
it expects.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from adbench_envs.grid import MOVES, centre_cell, coordinates, next_cells

Observed = npt.NDArray[Any] | np.int64


class TaskEnv(gymnasium.Env[Any, np.int64]):
    """An environment with a hidden task.

    `reset(seed=s)` draws a task from the seed, unless one was given to `gymnasium.make(...,
    task=...)`; a bare `reset()` keeps it; `reset(options={"task": t})` sets it, and `{"task":
    None}` draws another one. `info["task"]` of `reset` says which it is: an agent is not to look
    there.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (as gymnasium types it)
    task_shape: ClassVar[tuple[int, ...]]
    max_episode_steps: int

    def __init__(self, task: npt.ArrayLike | None = None) -> None:
        self._given = None if task is None else self.checked_task(task)
        self._task = self._given
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Start an episode; see the class for when the task changes."""
        super().reset(seed=seed)
        if options is not None and "task" in options:
            asked = options["task"]
            self._task = (
                self.draw_task(self.np_random) if asked is None else self.checked_task(asked)
            )
        elif self._task is None or (seed is not None and self._given is None):
            self._task = self.draw_task(self.np_random)
        self._steps = 0
        return self._begin(), {"task": self.task.copy()}

    def step(self, action: np.int64) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        """Take one step."""
        if not self.action_space.contains(action):
            raise gymnasium.error.InvalidAction(f"action {action!r} is not in {self.action_space}")
        self._steps += 1
        observation, reward, terminated = self._act(int(action))
        truncated = not terminated and self._steps == self.max_episode_steps
        return observation, reward, terminated, truncated, {}

    @property
    def task(self) -> npt.NDArray[Any]:
        """The hidden task, as its family writes it."""
        if self._task is None:
            raise gymnasium.error.ResetNeeded("there is no task before the first reset")
        return self._task

    @classmethod
    def draw_task(cls, random: np.random.Generator) -> npt.NDArray[Any]:
        """A task from all that the family has (for the bandit: from its training distribution)."""
        raise NotImplementedError

    @classmethod
    def checked_task(cls, task: npt.ArrayLike) -> npt.NDArray[Any]:
        """The task as an array.

        Raises:
            gymnasium.error.Error: another shape, or out of range.
        """
        raise NotImplementedError

    def _begin(self) -> Observed:
        raise NotImplementedError

    def _act(self, action: int) -> tuple[Observed, float, bool]:
        raise NotImplementedError


class RoomEnv(TaskEnv):
    """A square room of cells numbered `y * size + x`; a task is one cell, or several."""

    size: ClassVar[int]

    def __init__(self, task: npt.ArrayLike | None = None) -> None:
        super().__init__(task)
        self.observation_space = spaces.MultiDiscrete([self.size, self.size])
        self.action_space = spaces.Discrete(len(MOVES))
        self._next_cells = next_cells(self.size)
        self._coordinates = coordinates(self.size)
        self._cell = centre_cell(self.size)

    @classmethod
    def draw_task(cls, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Cells, uniformly."""
        return np.asarray(random.integers(cls.size**2, size=cls.task_shape), dtype=np.int64)

    @classmethod
    def checked_task(cls, task: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The task as int64; see `TaskEnv.checked_task`."""
        cells = np.asarray(task)
        fits = cells.shape == cls.task_shape and np.issubdtype(cells.dtype, np.integer)
        if not fits or (cells < 0).any() or (cells >= cls.size**2).any():
            raise gymnasium.error.Error(
                f"task {task!r} of {cls.__name__}: wanted integers of shape {cls.task_shape} "
                f"from 0 to {cls.size**2 - 1}"
            )
        return cells.astype(np.int64)

    def _move(self, action: int) -> npt.NDArray[np.int64]:
        self._cell = int(self._next_cells[action, self._cell])
        return self._observe()

    def _observe(self) -> npt.NDArray[np.int64]:
        return np.array(self._coordinates[self._cell])


class DarkRoomEnv(RoomEnv):
    """Dark Room, as `adbench_envs.dark_room.DarkRoom` describes it; the task is the goal's cell."""

    size = 9
    task_shape = ()
    max_episode_steps = 20
    reward_once: ClassVar[bool] = False

    def _begin(self) -> npt.NDArray[np.int64]:
        self._cell, self._found = centre_cell(self.size), False
        return self._observe()

    def _act(self, action: int) -> tuple[npt.NDArray[np.int64], float, bool]:
        observation = self._move(action)
        at_goal = self._cell == self.task
        reward = float(at_goal and not (self.reward_once and self._found))
        self._found = bool(self._found or at_goal)
        return observation, reward, False


class DarkRoomHardEnv(DarkRoomEnv):
    """Dark Room (Hard), as `adbench_envs.dark_room.DarkRoomHard` describes it."""

    size = 17
    reward_once = True


class KeyToDoorEnv(RoomEnv):
    """Dark Key-to-Door, as `adbench_envs.key_to_door.KeyToDoor` describes it.

    The task is the key's cell and the door's cell.
    """

    size = 9
    task_shape = (2,)
    max_episode_steps = 50

    def _begin(self) -> npt.NDArray[np.int64]:
        self._cell, self._has_key = int(self.np_random.integers(self.size**2)), False
        return self._observe()

    def _act(self, action: int) -> tuple[npt.NDArray[np.int64], float, bool]:
        observation = self._move(action)
        key, door = self.task
        reward = 0.0
        if self._cell == key and not self._has_key:
            self._has_key = True
            reward += 1.0
        terminated = bool(self._cell == door and self._has_key)
        return observation, reward + terminated, terminated


class BanditEnv(TaskEnv):
    """The adversarial bandit, as `adbench_envs.bandit.Bandit` describes it.

    The task is the ten means of its arms.
    """

    num_arms: ClassVar[int] = 10
    task_shape = (10,)
    max_episode_steps = 1

    def __init__(self, task: npt.ArrayLike | None = None) -> None:
        super().__init__(task)
        self.observation_space = spaces.Discrete(1)
        self.action_space = spaces.Discrete(self.num_arms)

    @classmethod
    def draw_task(cls, random: np.random.Generator) -> npt.NDArray[np.float32]:
        """Arm means: the odd arms are good in 95 of 100 bandits, the even ones in the others."""
        good_parity = 1 if random.random() < 0.95 else 0
        good = np.arange(cls.num_arms) % 2 == good_parity
        return np.asarray((random.random(cls.num_arms) + good) / 2, dtype=np.float32)

    @classmethod
    def checked_task(cls, task: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The task as float32; see `TaskEnv.checked_task`."""
        means = np.asarray(task, dtype=np.float32)
        if means.shape != cls.task_shape or not ((means >= 0) & (means <= 1)).all():
            raise gymnasium.error.Error(
                f"task {task!r} of {cls.__name__}: wanted {cls.num_arms} numbers from 0 to 1"
            )
        return means

    def _begin(self) -> np.int64:
        return np.int64(0)

    def _act(self, action: int) -> tuple[np.int64, float, bool]:
        return np.int64(0), float(self.np_random.random() < self.task[action]), True
