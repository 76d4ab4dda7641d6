"""The worlds as numpy vector environments, for gymnasium's own vector wrappers.

N lanes. The stepping is the families' own; this module turns tensors into arrays and tells endings
as gymnasium does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from adbench.task import BatchedEnv, TaskFamily
from adbench_envs.bandit import Bandit
from adbench_envs.dark_room import DarkRoom, DarkRoomHard
from adbench_envs.key_to_door import KeyToDoor
from adbench_envs.numpy_envs import BanditEnv, DarkRoomEnv, DarkRoomHardEnv, KeyToDoorEnv, TaskEnv


class NumpyVector(VectorEnv[Any, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """N lanes of one family, one task each; episodes that end are reset in the same step.

    `reset(seed=s)` draws every lane's task from the seed, unless tasks were given to
    `gymnasium.make_vec(..., tasks=...)`; a bare `reset()` keeps them and draws new starts;
    `reset(options={"tasks": t})` sets them. On steps on which episodes end, `info` holds
    `final_obs` (object [N]), `_final_obs` (bool [N]), `final_info` and `_final_info`.

    Args:
        num_envs: lanes.
        tasks: one a lane, [N, ...].
        settings: of the family.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (as gymnasium types it)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }
    single: ClassVar[type[TaskEnv]]
    family: ClassVar[type[TaskFamily]]

    def __init__(
        self, num_envs: int = 1, tasks: npt.ArrayLike | None = None, **settings: Any
    ) -> None:
        self.num_envs = num_envs
        self._family = self.family(**settings)
        self.single_observation_space = self._family.observation_space
        self.single_action_space = self._family.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._given = None if tasks is None else self._checked(tasks)
        self._tasks = self._given
        self._batch: BatchedEnv | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Start every lane's first episode; see the class for when tasks change."""
        super().reset(seed=seed)
        if options is not None and "tasks" in options:
            self._tasks = self._checked(options["tasks"])
        elif self._tasks is None or (seed is not None and self._given is None):
            self._tasks = np.stack(
                [self.single.draw_task(self.np_random) for _ in range(self.num_envs)]
            )
        noise_seed = int(self.np_random.integers(2**31))
        self._batch = self._family.make(torch.from_numpy(self._tasks), seed=noise_seed)
        observation, _ = self._batch.reset()
        assert isinstance(observation, torch.Tensor)  # none of these worlds has a Dict observation
        return observation.numpy(), {
            "task": self._tasks.copy(),
            "_task": np.ones(self.num_envs, np.bool_),
        }

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[
        npt.NDArray[Any],
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Take one step in every lane."""
        if self._batch is None:
            raise gymnasium.error.ResetNeeded("step was called before reset")
        taken = torch.from_numpy(np.asarray(actions, dtype=np.int64))
        observation, reward, terminated, truncated, told = self._batch.step(taken)
        assert isinstance(observation, torch.Tensor)
        info: dict[str, Any] = {}
        ended = told["_final_obs"].numpy()
        if ended.any():
            last = np.full(self.num_envs, None, dtype=object)
            for lane in np.flatnonzero(ended):
                last[lane] = told["final_obs"][lane].numpy()[()]
            info = {
                "final_obs": last,
                "_final_obs": ended,
                "final_info": {},
                "_final_info": ended.copy(),
            }
        return (
            observation.numpy(),
            reward.double().numpy(),
            terminated.numpy(),
            truncated.numpy(),
            info,
        )

    def _checked(self, tasks: npt.ArrayLike) -> npt.NDArray[Any]:
        checked = [self.single.checked_task(task) for task in np.asarray(tasks)]
        if len(checked) != self.num_envs:
            raise gymnasium.error.Error(
                f"{len(checked)} tasks for {self.num_envs} lanes; give one a lane"
            )
        return np.stack(checked)


class DarkRoomVector(NumpyVector):
    """N dark rooms."""

    single, family = DarkRoomEnv, DarkRoom


class DarkRoomHardVector(NumpyVector):
    """N hard dark rooms."""

    single, family = DarkRoomHardEnv, DarkRoomHard


class KeyToDoorVector(NumpyVector):
    """N rooms with a key and a door."""

    single, family = KeyToDoorEnv, KeyToDoor


class BanditVector(NumpyVector):
    """N bandits."""

    single, family = BanditEnv, Bandit
