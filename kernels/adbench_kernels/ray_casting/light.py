"""Light: one direction, flat over a face, as MiniWorld's turns out to be.

MiniWorld means a lamp, but hands OpenGL a fourth coordinate of 0, which makes it a direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adbench_kernels.ray_casting.surfaces import Surfaces


@dataclass(frozen=True)
class Light:
    """Colour of a face = min(1, its own * (ambient + diffuse * max(0, normal . towards)))."""

    towards: tuple[float, float, float] = (1.0, 3.5, 1.0)
    """x, y, z of the way to the light, of any length."""
    ambient: float = 0.65
    """MiniWorld's 0.45, and 0.2 that OpenGL adds to every scene."""
    diffuse: float = 0.7

    def __post_init__(self) -> None:
        numbers = (*self.towards, self.ambient, self.diffuse)
        if len(numbers) != 5 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"Light: needs finite numbers; got {self}")
        if math.hypot(*self.towards) == 0.0:
            raise ValueError("Light: towards must not be (0, 0, 0)")
        if self.ambient < 0.0 or self.diffuse < 0.0:
            raise ValueError(f"Light: ambient and diffuse must not be negative; got {self}")

    def shine(self, surfaces: Surfaces) -> tuple[Tensor, Tensor]:
        """Colours of walls [L, W, 3] and of flats [L, F, 3], lit."""
        length = math.hypot(*self.towards)
        x, y, z = (number / length for number in self.towards)
        along = surfaces.wall_ends[..., 2:] - surfaces.wall_ends[..., :2]
        # A wall is seen from its left: that of (a, b) is (b, -a), z pointing south.
        facing = (along[..., 1] * x - along[..., 0] * z) / along.norm(dim=-1).clamp_min(1e-12)
        walls = self.ambient + self.diffuse * facing.clamp_min(0.0)
        flats = self.ambient + self.diffuse * (surfaces.flat_faces * y).clamp_min(0.0)
        return (
            torch.clamp_max(surfaces.wall_colour * walls[..., None], 1.0),
            torch.clamp_max(surfaces.flat_colour * flats[..., None], 1.0),
        )
