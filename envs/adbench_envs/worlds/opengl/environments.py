"""Task families as MiniWorld environments: gymnasium environments that are `MiniWorldEnv`s.

They obey the families' rules and movement, and draw with MiniWorld in this process: one at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.numpy_worlds import WalkEnv
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.opengl.drawing import WorldView

RENDERED = 256
"""Rows and columns of what `render` gives."""


class MiniWorldTask(WalkEnv, WorldView):
    """A family's world, drawn by MiniWorld.

    Args:
        task: that is hidden; none: `reset` draws one.
        height: rows of a frame.
        width: its columns.
        samples: 1 a pixel, or 4.
        render_mode: "rgb_array": `render` gives a larger picture.
        view: of `render`: "agent", or "top" for the map.

    Raises:
        UsageError: there is another one in this process, or no OpenGL.
    """

    def __init__(
        self,
        task: npt.ArrayLike | None = None,
        *,
        height: int = 64,
        width: int = 64,
        samples: int = 4,
        render_mode: str | None = None,
        view: str = "agent",
    ) -> None:
        self.family = self.family_type(height=height, width=width, samples=samples)
        WalkEnv.__init__(self, task)
        WorldView.__init__(
            self,
            self.family.worlds,
            height=height,
            width=width,
            samples=samples,
            window_height=RENDERED,
            window_width=RENDERED,
            render_mode=render_mode,
            view=view,
        )
        self.max_episode_steps = self.family.max_episode_steps
        self.observation_space = self.family.observation_space
        self.action_space = self.family.action_space

    def _look(self, state: dict[str, torch.Tensor]) -> npt.NDArray[np.uint8]:
        index, bodies = self.family.world_index(state), self.family.bodies(state)
        names = [box.body for box in self.family.worlds[0].boxes if box.body is not None]
        places = [] if bodies is None else bodies[0].tolist()
        world = 0 if index is None else int(index[0])
        x, z, yaw = state["pose"][0].tolist()
        self.place(x, z, yaw, dict(zip(names, places, strict=True)), world)
        return self.render_obs()


class WatermazeMiniWorld(MiniWorldTask):
    """`adbench_envs.watermaze.Watermaze`."""

    family_type = Watermaze


class WatermazeSmallMiniWorld(MiniWorldTask):
    """`adbench_envs.watermaze.WatermazeSmall`."""

    family_type = WatermazeSmall


class WatermazeHardMiniWorld(MiniWorldTask):
    """`adbench_envs.watermaze.WatermazeHard`."""

    family_type = WatermazeHard


class DarkRoom3DMiniWorld(MiniWorldTask):
    """`adbench_envs.dark_room_3d.DarkRoom3D`."""

    family_type = DarkRoom3D


class KeyToDoor3DMiniWorld(MiniWorldTask):
    """`adbench_envs.key_to_door_3d.KeyToDoor3D`."""

    family_type = KeyToDoor3D


class RadialArmMiniWorld(MiniWorldTask):
    """`adbench_envs.radial_arm.RadialArm`."""

    family_type = RadialArm


class FourBoxesMiniWorld(MiniWorldTask):
    """`adbench_envs.four_boxes.FourBoxes`."""

    family_type = FourBoxes
