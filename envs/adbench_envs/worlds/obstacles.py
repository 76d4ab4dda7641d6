"""What stands in a body's way, from the point of view of its centre.

Walls are moved inwards and boxes grow by the body's radius, so a body is a point. Corners stay
sharp: around the corner of a box one keeps a little more distance than the radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adbench.task import UsageError
from adbench_envs.worlds.outlines import (
    CLOSE,
    Point,
    Segment,
    aside,
    chained,
    first_crossing,
    inset,
    walls_of,
)

if TYPE_CHECKING:
    from adbench_envs.worlds.world import World
    from adbench_kernels.ray_casting import Box


@dataclass(frozen=True)
class Obstacles:
    """Where a body's centre may go.

    Attributes:
        loops: closed outlines, the open space on their left.
        rims: x, z and radius of circles that one stays within, metres.
    """

    loops: tuple[tuple[Point, ...], ...]
    rims: tuple[tuple[float, float, float], ...]

    def segments(self) -> list[Segment]:
        """All walls, the open space on their left."""
        return [wall for loop in self.loops for wall in walls_of(loop)]

    def admit(self, point: Point) -> bool:
        """Whether a body's centre can be there; touching is allowed."""
        if any(math.dist(point, (x, z)) > radius + CLOSE for x, z, radius in self.rims):
            return False
        if any(_distance(point, wall) < CLOSE for wall in self.segments()):
            return True
        crossed = sum(_east_of(point, wall) for wall in self.segments())
        return crossed % 2 == 1


def obstacles(world: World) -> Obstacles:
    """What stands in one's way in a world.

    Raises:
        UsageError: its walls leave a gap, or a passage that is too narrow.
    """
    solid = [
        wall
        for room in world.rooms
        for wall, texture in zip(walls_of(room.outline), room.walls, strict=True)
        if texture is not None
    ]
    try:
        loops = chained(solid)
    except ValueError as gap:
        raise UsageError(
            f"world {world.name!r} is open at {gap}: no wall goes on from there. Let rooms that "
            "share an opening share its two corners."
        ) from None
    boxes = [_around(box) for box in world.boxes if box.body is None]
    return Obstacles(
        loops=tuple(_for_centres(world, loop) for loop in (*loops, *boxes)),
        rims=tuple((*rim.centre, rim.radius - world.body_radius) for rim in world.rims),
    )


def _for_centres(world: World, loop: tuple[Point, ...]) -> tuple[Point, ...]:
    """Where centres of bodies may go along an outline."""
    moved = inset(loop, world.body_radius)
    turned = any(
        (b[0] - a[0]) * (d[0] - c[0]) + (b[1] - a[1]) * (d[1] - c[1]) <= 0.0
        for (a, b), (c, d) in zip(walls_of(loop), walls_of(moved), strict=True)
    )
    if turned or first_crossing(moved) is not None:
        raise UsageError(
            f"world {world.name!r} has a passage that a body of radius {world.body_radius:g} m "
            "does not fit through. Widen it, or make the body smaller."
        )
    return moved


def _around(box: Box) -> tuple[Point, ...]:
    """A box's corners, clockwise: open space is on the left."""
    half_x, half_z = box.size[0] / 2, box.size[2] / 2
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    x, z = box.centre
    corners = ((half_x, half_z), (-half_x, half_z), (-half_x, -half_z), (half_x, -half_z))
    return tuple((x + a * cos + b * sin, z - a * sin + b * cos) for a, b in corners)


def _east_of(point: Point, wall: Segment) -> bool:
    """Whether a ray to the east crosses the wall."""
    (x0, z0), (x1, z1) = wall
    x, z = point
    return (z0 > z) != (z1 > z) and x < x0 + (z - z0) * (x1 - x0) / (z1 - z0)


def _distance(point: Point, wall: Segment) -> float:
    (x0, z0), (x1, z1) = wall
    length = math.dist(*wall)
    along = ((point[0] - x0) * (x1 - x0) + (point[1] - z0) * (z1 - z0)) / length
    beyond = max(-along, along - length, 0.0)
    return math.hypot(aside(point, wall), beyond)
