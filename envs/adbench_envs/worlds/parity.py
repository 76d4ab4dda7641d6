"""How alike two renderers' frames are: `python -m adbench_envs.worlds.parity` measures all worlds.

N frames.
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from adbench.task import generator
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.obstacles import obstacles

ALIKE = 8
"""Steps of 255 by which every channel of a pixel may be off, for it to count as the same."""

POSES = 200


class Difference(NamedTuple):
    """Between two renderers' frames of the same states.

    Attributes:
        mean_error: mean absolute difference over all channels, steps of 255.
        share_alike: of the pixels whose three channels are all within `ALIKE`.
    """

    mean_error: float
    share_alike: float

    def within(self, bounds: Difference) -> bool:
        """Whether it is as small as that."""
        return self.mean_error <= bounds.mean_error and self.share_alike >= bounds.share_alike


BOUNDS = {1: Difference(2.5, 0.92), 4: Difference(1.0, 0.98)}
"""Between the ray caster at so many samples a pixel and OpenGL, which blends four. With one sample
the edges of things differ, with four nothing does but rounding."""


def difference(ours: Tensor, theirs: Tensor) -> Difference:
    """Between frames of the same states, both uint8 [N, Y, X, 3]."""
    apart = (ours.int() - theirs.int()).abs()
    alike = apart.amax(dim=-1) <= ALIKE
    return Difference(float(apart.float().mean()), float(alike.float().mean()))


def anywhere(family: WorldFamily, count: int, *, seed: int) -> dict[str, Tensor]:
    """States whose places are uniform over the ground and whose headings are any, by name.

    Args:
        family: whose world it is.
        count: how many.
        seed: of the draws.
    """
    tasks = family.tasks("train", 1, seed=seed)
    state = family.make(tasks.expand(count, *tasks.shape[1:]), seed=seed, observe="state").state()
    world = family.worlds[0]
    free = obstacles(world)
    corners = np.array([corner for room in world.rooms for corner in room.outline])
    low, high = corners.min(axis=0), corners.max(axis=0)
    random = generator(family.name, "anywhere", seed)
    places: list[tuple[float, float]] = []
    while len(places) < count:
        x, z = (low + random.random(2) * (high - low)).tolist()
        if free.admit((x, z)):
            places.append((x, z))
    yaw = random.random((count, 1)) * 2.0 * math.pi
    pose = np.concatenate([np.array(places), yaw], axis=1)
    return {**state, "pose": torch.from_numpy(pose).float()}


def measured(family_type: type[WorldFamily], count: int = POSES) -> dict[int, Difference]:
    """Between the ray caster at 1 and at 4 samples a pixel and MiniWorld's frames, 64 x 64.

    Args:
        family_type: whose world is drawn.
        count: of states.

    Raises:
        UsageError: MiniWorld cannot run here; names what is missing.
    """
    theirs = family_type(samples=4, renderer="miniworld")
    states = anywhere(theirs, count, seed=0)
    frames = theirs.render_state(states)
    return {
        samples: difference(family_type(samples=samples).render_state(states), frames)
        for samples in BOUNDS
    }


def main() -> None:
    """Print a table of all families that are installed."""
    print(f"| family ({POSES} poses, 64 x 64) | 1 sample: mean error, alike | 4 samples |")
    print("|---|---|---|")
    for entry in sorted(entry_points(group="adbench.envs")):
        family = entry.load()
        if isinstance(family, type) and issubclass(family, WorldFamily):
            found = [
                f"{d.mean_error:.2f}, {100 * d.share_alike:.2f} %"
                for d in measured(family).values()
            ]
            print(f"| `{entry.name}` | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main()
