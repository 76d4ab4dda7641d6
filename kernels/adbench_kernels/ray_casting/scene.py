"""Scenes: tables of surfaces, textures, a light and a sky.

S scenes, N cameras, B bodies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.ray_casting.light import Light
from adbench_kernels.ray_casting.parts import Colour, Part
from adbench_kernels.ray_casting.surfaces import Surfaces, padded_edges, tabulate
from adbench_kernels.ray_casting.textures import Textures, pack_textures

SKY: Colour = (0.25, 0.82, 1.0)
"""MiniWorld's."""


@dataclass(frozen=True)
class Scene:
    """S scenes that share textures, light and sky; made by `build_scene`.

    Attributes:
        fixed: surfaces that stay where they are, lit; leading size S.
        moving: surfaces of bodies, in the coordinates of their body, not lit; leading size S.
        bodies: names of the B bodies, in the order in which their poses are given.
        textures: that surfaces wear.
        light: for what moves.
        sky: where a ray meets nothing, float32 [3], 0 to 1.
        num_edges: of the flats of the scene that has most, see `padded_edges`.
    """

    fixed: Surfaces
    moving: Surfaces
    bodies: tuple[str, ...]
    textures: Textures
    light: Light
    sky: Tensor
    num_edges: int
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What implementations keep in a form of their own."""

    @property
    def num_scenes(self) -> int:
        """S."""
        return self.fixed.wall_texture.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tables are."""
        return self.sky.device

    def to(self, device: torch.device | str) -> Scene:
        """The same on another device."""
        return replace(
            self,
            fixed=self.fixed.to(device),
            moving=self.moving.to(device),
            textures=self.textures.to(device),
            sky=self.sky.to(device),
            cache={},
        )


def build_scene(
    worlds: Sequence[Sequence[Part]],
    *,
    textures: Mapping[str, Any] | Textures | None = None,
    light: Light | None = None,
    sky: Colour = SKY,
) -> Scene:
    """Put scenes together, and check them once.

    Args:
        worlds: S lists of parts, at least one. Keep parallel surfaces a millimetre apart: which of
            two in one plane is seen is not defined.
        textures: uint8 [height, width, 3] by name, or what `pack_textures` made of them.
        light: none: MiniWorld's.
        sky: colour where a ray meets nothing.

    Raises:
        ValueError: no world, or a part wants an unknown texture.
    """
    if not worlds:
        raise ValueError("worlds: there must be at least one")
    if len(sky) != 3 or not all(0.0 <= number <= 1.0 for number in sky):
        raise ValueError(f"sky: must be three numbers from 0 to 1; got {sky}")
    packed = textures if isinstance(textures, Textures) else pack_textures(textures or {})
    bodies = tuple(
        dict.fromkeys(part.body for world in worlds for part in world if part.body is not None)
    )
    light = Light() if light is None else light
    fixed = tabulate([[p for p in world if p.body is None] for world in worlds], packed, ())
    moving = tabulate([[p for p in w if p.body is not None] for w in worlds], packed, bodies)
    walls, flats = light.shine(fixed)
    staying, movable = (padded_edges(s.flat_num_corners).sum(1) for s in (fixed, moving))
    return Scene(
        fixed=replace(fixed, wall_colour=walls, flat_colour=flats),
        moving=moving,
        bodies=bodies,
        textures=packed,
        light=light,
        sky=torch.tensor(sky, dtype=torch.float32),
        num_edges=int((staying + movable).max()),
    )


def place_bodies(scene: Scene, index: Tensor, poses: Tensor) -> Surfaces:
    """Surfaces of bodies where cameras find them, lit.

    Args:
        scene: with B bodies.
        index: the scene of each camera, int64 [N].
        poses: x, y, z, yaw of each body, floating [N, B, 4].

    Returns:
        Leading size N.
    """
    surfaces = scene.moving.take(index)

    def of(body: Tensor) -> tuple[Tensor, ...]:
        number = body.long().clamp_min(0)[..., None].expand(*body.shape, 4)
        x, y, z, yaw = poses.gather(1, number).unbind(-1)
        return x, y, z, torch.cos(yaw), torch.sin(yaw)

    x, y, z, cos, sin = (number[..., None] for number in of(surfaces.wall_body))
    own = surfaces.wall_ends.to(poses.dtype)
    ends = torch.empty_like(own)
    ends[..., 0::2] = x + own[..., 0::2] * cos + own[..., 1::2] * sin
    ends[..., 1::2] = z - own[..., 0::2] * sin + own[..., 1::2] * cos
    heights = surfaces.wall_heights + y

    x, y, z, cos, sin = of(surfaces.flat_body)
    own = surfaces.flat_corners.to(poses.dtype)
    corners = torch.empty_like(own)
    wide = (..., None)
    corners[..., 0] = x[wide] + own[..., 0] * cos[wide] + own[..., 1] * sin[wide]
    corners[..., 1] = z[wide] - own[..., 0] * sin[wide] + own[..., 1] * cos[wide]
    # A point in the world is turned and moved back to find its texture coordinates.
    a, b, c = surfaces.flat_uv.to(poses.dtype).view(*surfaces.flat_height.shape, 2, 3).unbind(-1)
    x, z, cos, sin = x[wide], z[wide], cos[wide], sin[wide]
    east, south = a * cos + b * sin, b * cos - a * sin
    uv = torch.stack((east, south, c - east * x - south * z), -1).flatten(-2)
    placed = replace(
        surfaces,
        wall_ends=ends,
        wall_heights=heights,
        flat_corners=corners,
        flat_height=surfaces.flat_height + y,
        flat_uv=uv,
    )
    walls, flats = scene.light.shine(placed)
    return replace(placed, wall_colour=walls, flat_colour=flats)
