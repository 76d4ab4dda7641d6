"""The first-person worlds as plain gymnasium environments and numpy vector environments.

    gymnasium.make("adbench_envs:adbench/Watermaze-v0", height=72, width=96)

A single environment is one lane of its family, so torch is loaded with it. Frames come from the ray
caster; `miniworld_worlds` has the same environments drawn by MiniWorld.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from adbench.task import UsageError
from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.numpy_envs import TaskEnv
from adbench_envs.numpy_vector import NumpyVector
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.batch import WorldBatch
from adbench_envs.worlds.family import WorldFamily

Frames = npt.NDArray[np.uint8]

RENDER_FPS = 5
"""Steps a second at which films are pleasant to watch."""


class WalkEnv(TaskEnv):
    """One walker in a family's world; who draws what it sees is said by `_look`.

    `draw_task` is a training task of a split that the random generator draws, so any place may be
    hidden.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (as gymnasium types it)
        "render_modes": ["rgb_array"],
        "render_fps": RENDER_FPS,
    }

    family_type: ClassVar[type[WorldFamily]]
    family: WorldFamily
    _batch: WorldBatch

    @classmethod
    def draw_task(cls, random: np.random.Generator) -> npt.NDArray[Any]:
        """See the class."""
        split_seed = int(random.integers(2**31))
        return np.asarray(_family(cls.family_type).tasks("train", 1, seed=split_seed)[0].numpy())

    @classmethod
    def checked_task(cls, task: npt.ArrayLike) -> npt.NDArray[Any]:
        """The task in the family's dtype; see `TaskEnv.checked_task`."""
        family = _family(cls.family_type)
        like = family.tasks("train", 1, seed=0)
        try:
            given = torch.as_tensor(np.asarray(task))
            if like.is_floating_point():
                given = given.to(like.dtype)
            return np.asarray(family.checked(given[None])[0].numpy())
        except (UsageError, TypeError) as error:
            raise gymnasium.error.Error(f"task {task!r} of {cls.__name__}: {error}") from error

    def _begin(self) -> Frames:
        seed = int(self.np_random.integers(2**31))
        task = torch.from_numpy(self.task)[None]
        self._batch = self.family.make(task, seed=seed, observe="state")
        return self._look(self._batch.state())

    def _act(self, action: int) -> tuple[Frames, float, bool]:
        _, reward, terminated, _, info = self._batch.step(torch.tensor([action]))
        return self._look(info["final_state"]), float(reward), bool(terminated)

    def _look(self, state: dict[str, torch.Tensor]) -> Frames:
        """The frame of one lane's state."""
        raise NotImplementedError


class WorldEnv(WalkEnv):
    """A world drawn by the ray caster.

    Args:
        task: that is hidden; none: `reset` draws one.
        height: rows of a frame.
        width: its columns.
        samples: 1 a pixel, or 4.
        render_mode: "rgb_array": `render` gives what was seen last.
    """

    def __init__(
        self,
        task: npt.ArrayLike | None = None,
        *,
        height: int = 64,
        width: int = 64,
        samples: int = 1,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(task)
        self.render_mode = render_mode
        self.family = self.family_type(height=height, width=width, samples=samples)
        self.max_episode_steps = self.family.max_episode_steps
        self.observation_space = self.family.observation_space
        self.action_space = self.family.action_space
        self._seen: Frames | None = None

    def render(self) -> Frames | None:
        """What was seen last, uint8 [Y, X, 3]; nothing without a render mode."""
        if self.render_mode is None:
            return None
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("nothing was seen before the first reset")
        return self._seen.copy()

    def _look(self, state: dict[str, torch.Tensor]) -> Frames:
        self._seen = self.family.render_state(state)[0].numpy()
        return self._seen.copy()


class WorldVector(NumpyVector):
    """N lanes of one world, drawn by the ray caster; see `NumpyVector`.

    Args:
        num_envs: lanes.
        tasks: one a lane, [N, ...].
        render_mode: "rgb_array": `render` gives what every lane saw last.
        settings: height, width and samples, as `WorldEnv`.
    """

    metadata: dict[str, Any] = {**NumpyVector.metadata, **WorldEnv.metadata}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        tasks: npt.ArrayLike | None = None,
        *,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(num_envs, tasks, **settings)
        self.render_mode = render_mode
        self._seen: Frames | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Frames, dict[str, Any]]:
        """See `NumpyVector.reset`."""
        self._seen, info = super().reset(seed=seed, options=options)
        return self._seen, info

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[
        Frames,
        npt.NDArray[np.float64],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        dict[str, Any],
    ]:
        """See `NumpyVector.step`."""
        self._seen, reward, terminated, truncated, info = super().step(actions)
        return self._seen, reward, terminated, truncated, info

    def render(self) -> tuple[Frames, ...] | None:
        """What every lane saw last, N times uint8 [Y, X, 3]; nothing without a render mode."""
        if self.render_mode is None:
            return None
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("nothing was seen before the first reset")
        return tuple(frame.copy() for frame in self._seen)


class WatermazeEnv(WorldEnv):
    """`adbench_envs.watermaze.Watermaze`."""

    family_type = Watermaze


class WatermazeSmallEnv(WorldEnv):
    """`adbench_envs.watermaze.WatermazeSmall`."""

    family_type = WatermazeSmall


class WatermazeHardEnv(WorldEnv):
    """`adbench_envs.watermaze.WatermazeHard`."""

    family_type = WatermazeHard


class DarkRoom3DEnv(WorldEnv):
    """`adbench_envs.dark_room_3d.DarkRoom3D`."""

    family_type = DarkRoom3D


class KeyToDoor3DEnv(WorldEnv):
    """`adbench_envs.key_to_door_3d.KeyToDoor3D`."""

    family_type = KeyToDoor3D


class RadialArmEnv(WorldEnv):
    """`adbench_envs.radial_arm.RadialArm`."""

    family_type = RadialArm


class FourBoxesEnv(WorldEnv):
    """`adbench_envs.four_boxes.FourBoxes`."""

    family_type = FourBoxes


class WatermazeVector(WorldVector):
    """N water mazes."""

    single, family = WatermazeEnv, Watermaze


class WatermazeSmallVector(WorldVector):
    """N small water mazes."""

    single, family = WatermazeSmallEnv, WatermazeSmall


class WatermazeHardVector(WorldVector):
    """N hard water mazes."""

    single, family = WatermazeHardEnv, WatermazeHard


class DarkRoom3DVector(WorldVector):
    """N halls with a hidden spot."""

    single, family = DarkRoom3DEnv, DarkRoom3D


class KeyToDoor3DVector(WorldVector):
    """N halls with a key and a door."""

    single, family = KeyToDoor3DEnv, KeyToDoor3D


class RadialArmVector(WorldVector):
    """N radial arm mazes."""

    single, family = RadialArmEnv, RadialArm


class FourBoxesVector(WorldVector):
    """N halls with four boxes."""

    single, family = FourBoxesEnv, FourBoxes


@cache
def _family(family_type: type[WorldFamily]) -> WorldFamily:
    """One of each family, for its tasks."""
    return family_type()
