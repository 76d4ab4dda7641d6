"""What is refused of a frame or of states to draw, with what is wrong, where, and what to do.

N lanes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from adbench.task import UsageError
from adbench_envs.worlds.outlines import walls_of
from adbench_envs.worlds.world import World

MOST_PIXELS_A_SIDE = 4096


def check_frame(height: int, width: int, samples: int) -> None:
    """Refuse frames that cannot be drawn.

    Raises:
        UsageError: names the number.
    """
    for name, pixels in (("height", height), ("width", width)):
        whole = isinstance(pixels, int) and not isinstance(pixels, bool)
        if not whole or not 1 <= pixels <= MOST_PIXELS_A_SIDE:
            raise UsageError(
                f"a frame's {name} must be a whole number of pixels from 1 to "
                f"{MOST_PIXELS_A_SIDE}; got {pixels!r}. Usual frames are 32 x 32, 64 x 64, "
                "84 x 84 and 72 x 96."
            )
    if samples not in (1, 4):
        raise UsageError(f"a pixel has 1 or 4 samples; got {samples!r}.")


def check_poses(world: World, poses: Tensor) -> None:
    """Refuse to look from where there is no world.

    On the CPU alone: elsewhere the host would wait for the device.

    Args:
        world: where.
        poses: x, z, yaw; float32 [N, 3].

    Raises:
        UsageError: another shape; or names the first lane that is outside.
    """
    if poses.ndim != 2 or poses.shape[1] != 3 or poses.dtype != torch.float32:
        raise UsageError(
            f"world {world.name!r}: poses must be x, z, yaw, float32 ['N', 3]; "
            f"got {poses.dtype} {list(poses.shape)}."
        )
    if poses.device.type != "cpu":
        return
    x, z, yaw = poses.unbind(1)
    inside = (x != x) & False
    for room in world.rooms:
        here = inside | True
        for wall in walls_of(room.outline):
            (x0, z0), (x1, z1) = wall
            length = math.dist(*wall)
            nx, nz = (z1 - z0) / length, (x0 - x1) / length
            here &= x * nx + z * nz >= x0 * nx + z0 * nz
        inside |= here
    bad = ~(inside & yaw.isfinite())
    if bool(bad.any()):
        lane = int(bad.nonzero()[0])
        pose = ", ".join(f"{number:g}" for number in poses[lane].tolist())
        raise UsageError(
            f"world {world.name!r}: pose (x, z, yaw) = ({pose}) of lane {lane} lies outside of "
            "every room, so there is nothing to draw. Give poses as state() does."
        )


def check_memory(name: str, state: Mapping[str, Tensor], below: Mapping[str, int]) -> None:
    """Refuse to draw what no rules can have left behind.

    The numbers are looked at on the CPU alone.

    Args:
        name: the family's.
        state: by name, [N, ...].
        below: names of what is drawn, and how many values it has.

    Raises:
        UsageError: something is missing, or out of range.
    """
    for wanted in ("pose", *below):
        if wanted not in state:
            raise UsageError(
                f"{name}: a state to draw has no {wanted!r}, only {', '.join(state) or 'nothing'}. "
                "Give states as state() does."
            )
    for memory, values in below.items():
        numbers = state[memory]
        if numbers.device.type == "cpu" and len(numbers):
            low, high = (int(bound) for bound in numbers.aminmax())
            if low < 0 or high >= values:
                raise UsageError(
                    f"{name}: {memory!r} of a state to draw goes from 0 to {values - 1}; got {low} "
                    f"to {high}. Give states as state() does."
                )
