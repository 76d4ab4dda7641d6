"""What a world is: rooms, pools, boxes, pictures, an eye and a light, as plain data.

Metres and radians. x points east, y up, z south; yaw 0 looks east and grows counterclockwise as
seen from above, so the heading is (cos yaw, 0, -sin yaw). Points on the ground are (x, z). A world
is checked once, when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adbench_envs.worlds.outlines import Point
from adbench_kernels.ray_casting import Box, Disc, Light, Picture

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """A convex floor with walls around it."""

    name: str
    outline: tuple[Point, ...]
    """Its corners, counterclockwise as seen from above."""
    walls: tuple[str | None, ...]
    """Texture of the wall from each corner to the next; none: an opening into another room, which
    has one along the same line."""
    floor: str
    ceiling: str
    height: float = 3.0
    texels_per_metre: float = 64.0


@dataclass(frozen=True)
class Rim:
    """A ring of stone around water: nobody inside gets out. Its outside is not drawn."""

    radius: float
    centre: Point = (0.0, 0.0)
    bottom: float = 0.0
    top: float = 0.5
    colour: Colour = (0.85, 0.85, 0.9)
    corners: int = 32
    """Drawn as a regular polygon; one moves within the circle."""


@dataclass(frozen=True)
class Camera:
    """An eye that looks level along its yaw, with a field of view of 60 degrees upright."""

    height: float = 1.5
    """Metres above the ground."""


@dataclass(frozen=True)
class World:
    """Everything that is seen, and what stands in one's way.

    Walls, rims and boxes are solid. A box with a `body` is described around the origin and placed
    for each lane; it stands in nobody's way.
    """

    name: str
    rooms: tuple[Room, ...]
    rims: tuple[Rim, ...] = ()
    discs: tuple[Disc, ...] = ()
    boxes: tuple[Box, ...] = ()
    pictures: tuple[Picture, ...] = ()
    camera: Camera = field(default_factory=Camera)
    light: Light = field(default_factory=Light)
    body_radius: float = 0.2
    """How near one comes to walls, metres."""

    def __post_init__(self) -> None:
        from adbench_envs.worlds.checks import check_world

        check_world(self)
