"""Worlds from above: rooms, rims and boxes as outlines on a map."""

from __future__ import annotations

import math

from torch import Tensor

from adbench.task import Outline, Spot
from adbench_envs.worlds import textures
from adbench_envs.worlds.outlines import Point, regular, walls_of
from adbench_envs.worlds.world import World
from adbench_kernels.ray_casting import Box

_WATER = (0.86, 0.93, 0.97)
_CORNERS = 64


def ground_outlines(world: World) -> tuple[Outline, ...]:
    """Walls of all rooms in their mean colour, openings left out; water with its rim; boxes without
    a body."""
    walls = tuple(
        Outline(wall, closed=False, colour=_mean_colour(texture))
        for room in world.rooms
        for wall, texture in zip(walls_of(room.outline), room.walls, strict=True)
        if texture is not None
    )
    rims = tuple(
        Outline(_circle(rim.centre, rim.radius), filled=_WATER if world.discs else None)
        for rim in world.rims
    )
    boxes = tuple(box_outline(box, box.centre, box.yaw) for box in world.boxes if box.body is None)
    return (*walls, *rims, *boxes)


def within_rims(world: World) -> tuple[float, float, float, float] | None:
    """West, east, north and south ends of the water, beyond which nobody gets; none: no water."""
    if not world.rims:
        return None
    ends = [(*rim.centre, rim.radius) for rim in world.rims]
    return (
        min(x - r for x, _, r in ends),
        max(x + r for x, _, r in ends),
        min(z - r for _, z, r in ends),
        max(z + r for _, z, r in ends),
    )


def box_outline(box: Box, centre: Point, yaw: float = 0.0) -> Outline:
    """A box from above.

    Args:
        box: its size and colour.
        centre: x, z of its middle.
        yaw: how it is turned, radians counterclockwise.
    """
    (x, z), (width, _, depth) = centre, box.size
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = tuple(
        (x + a * cos + b * sin, z - a * sin + b * cos)
        for a, b in (
            (width / 2, depth / 2),
            (width / 2, -depth / 2),
            (-width / 2, -depth / 2),
            (-width / 2, depth / 2),
        )
    )
    return Outline(corners, filled=box.colour)


def spot(centre: Tensor, radius: float, label: str = "") -> Spot:
    """A hidden place.

    Args:
        centre: x, z in metres, [2].
        radius: metres.
        label: what it is.
    """
    x, z = centre.tolist()
    return Spot((x, z), radius, label)


def _mean_colour(name: str) -> tuple[float, float, float]:
    red, green, blue = (textures.texture(name).mean(axis=(0, 1)) / 255.0).tolist()
    return red, green, blue


def _circle(centre: Point, radius: float) -> tuple[Point, ...]:
    return tuple((centre[0] + a, centre[1] + b) for a, b in regular(_CORNERS, radius))
