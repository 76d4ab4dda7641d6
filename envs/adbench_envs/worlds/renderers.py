"""Who draws a world: the ray caster, or MiniWorld in OpenGL. Both show the same picture.

N poses, B bodies, Y rows and X columns of a frame.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from adbench.task import unknown_name
from adbench_envs.worlds.scene import scene
from adbench_envs.worlds.world import World
from adbench_kernels.ray_casting import raycast

if TYPE_CHECKING:
    from adbench_envs.worlds.opengl.workers import Painters

COMPILES_SECONDS = 10
"""That numba may take for the ray caster's kernel, on one core."""


class Renderer(Protocol):
    """Draws the worlds of one family in frames of one size."""

    def __call__(self, pose: Tensor, index: Tensor | None, bodies: Tensor | None) -> Tensor:
        """Frames, uint8 [N, Y, X, 3], where `pose` is.

        Args:
            pose: x, z, yaw; float32 [N, 3].
            index: number of each one's world, int64 [N]; none: the first.
            bodies: x, y, z, yaw of what moves, float32 [N, B, 4]; none: nothing does.
        """


class Raycast:
    """Draws where the poses are, on any device; see `adbench_kernels.raycast`."""

    def __init__(self, worlds: tuple[World, ...], frame: tuple[int, int], samples: int) -> None:
        self._worlds, self._frame, self._samples = worlds, frame, samples
        self._drew = False

    def __call__(self, pose: Tensor, index: Tensor | None, bodies: Tensor | None) -> Tensor:
        """See `Renderer`."""
        height, width = self._frame
        x, z, yaw = pose.unbind(1)
        eye = torch.full_like(x, self._worlds[0].camera.height)
        with self._told(pose.device):
            return raycast(
                scene(self._worlds, pose.device),
                torch.stack([x, eye, z, yaw], dim=1),
                scene_index=index,
                bodies=bodies,
                height=height,
                width=width,
                samples=self._samples,
            )

    def _told(self, device: torch.device) -> AbstractContextManager[None]:
        """A first frame may have to wait for numba; then a line says so."""
        if self._drew or device.type != "cpu":
            return nullcontext()
        from adbench_kernels.cpu.announce import announced

        self._drew = True
        return announced("the ray caster", COMPILES_SECONDS)


class MiniWorld:
    """Draws in processes of its own, on the CPU or the graphics card; see `opengl.workers`.

    Raises:
        UsageError: names what MiniWorld needs and this machine lacks.
    """

    def __init__(self, worlds: tuple[World, ...], frame: tuple[int, int], samples: int) -> None:
        from adbench_envs.worlds.opengl.workers import Painters

        self.painters: Painters = Painters(worlds, frame=frame, samples=samples)

    def __call__(self, pose: Tensor, index: Tensor | None, bodies: Tensor | None) -> Tensor:
        """See `Renderer`."""
        frames = self.painters.draw(
            pose.cpu().numpy(),
            worlds=None if index is None else index.cpu().numpy(),
            bodies=None if bodies is None else bodies.cpu().numpy(),
        )
        return torch.from_numpy(frames).to(pose.device)


RENDERERS: dict[str, type[Raycast] | type[MiniWorld]] = {"raycast": Raycast, "miniworld": MiniWorld}


def renderer(
    name: str, worlds: tuple[World, ...], *, frame: tuple[int, int], samples: int
) -> Renderer:
    """A renderer by its name.

    Args:
        name: one of `RENDERERS`.
        worlds: what is drawn.
        frame: Y and X.
        samples: 1 a pixel, or 4.

    Raises:
        UnknownNameError: there is no such renderer.
        UsageError: it cannot draw on this machine.
    """
    if name not in RENDERERS:
        raise unknown_name("renderer", str(name), RENDERERS)
    return RENDERERS[name](worlds, frame, samples)
