"""What a scene is put together from: plain records in metres and radians.

x points east, y up, z south. Angles turn counterclockwise as seen from above; 0 is east. Points on
the ground are (x, z). A surface has one side: what is behind it looks through it.

Every part may belong to a `body`, by name: a thing whose place is given a camera at a time. It is
then described in the body's own coordinates, and lit where it comes to stand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Colour = tuple[float, float, float]

WHITE: Colour = (1.0, 1.0, 1.0)
BLACK: Colour = (0.0, 0.0, 0.0)

TEXELS_PER_METRE = 512.0
"""MiniWorld's."""

SMALLEST = 1e-6
"""Metres (or square metres) below which a surface is taken for a mistake."""


@dataclass(frozen=True)
class Wall:
    """A vertical rectangle, seen from the left of who walks from its start to its end."""

    start: Point
    end: Point
    bottom: float = 0.0
    top: float = 1.0
    colour: Colour = WHITE
    """Red, green, blue from 0 to 1; multiplies the texture."""
    texture: str | None = None
    uv: tuple[float, float, float, float] | None = None
    """Texture coordinates: u, v at the bottom of the start, then u, v at the top of the end. u = 1
    and v = 1 are the picture's right and upper edge. None: u from the start and v from height 0,
    by `texels_per_metre`."""
    texels_per_metre: float = TEXELS_PER_METRE
    body: str | None = None

    def __post_init__(self) -> None:
        _finite("Wall", "start", self.start, 2)
        _finite("Wall", "end", self.end, 2)
        _finite("Wall", "bottom, top", (self.bottom, self.top), 2)
        if self.uv is not None:
            _finite("Wall", "uv", self.uv, 4)
        _positive("Wall", "texels_per_metre", self.texels_per_metre)
        _colour("Wall", self.colour)
        if math.dist(self.start, self.end) < SMALLEST:
            raise ValueError(f"Wall: start and end must differ; got {self.start} for both")
        if self.top - self.bottom < SMALLEST:
            raise ValueError(f"Wall: top must be above bottom {self.bottom} m; got {self.top} m")

    def pieces(self) -> tuple[Wall | Flat, ...]:
        """Itself."""
        return (self,)


@dataclass(frozen=True)
class Flat:
    """A horizontal convex polygon: floor, ceiling, water, the lid of a box."""

    outline: tuple[Point, ...]
    """Its corners in order, either way round."""
    height: float = 0.0
    faces: Literal["up", "down"] = "up"
    colour: Colour = WHITE
    texture: str | None = None
    texels_per_metre: float = TEXELS_PER_METRE
    """The texture's lower left corner is at the origin, its u along x, its v along z."""
    body: str | None = None

    def __post_init__(self) -> None:
        if len(self.outline) < 3:
            raise ValueError(
                f"Flat: outline must have three corners or more; got {len(self.outline)}"
            )
        for corner in self.outline:
            _finite("Flat", "outline", corner, 2)
        _finite("Flat", "height", (self.height,), 1)
        _positive("Flat", "texels_per_metre", self.texels_per_metre)
        _colour("Flat", self.colour)
        if self.faces not in ("up", "down"):
            raise ValueError(f"Flat: faces must be 'up' or 'down'; got {self.faces!r}")
        corners = self.counterclockwise()
        if _area(corners) < SMALLEST:
            raise ValueError(f"Flat: outline must enclose an area; got {self.outline}")
        if not _is_convex(corners):
            raise ValueError(
                f"Flat: outline must be convex and not cross itself: cut it up; got {self.outline}"
            )

    def counterclockwise(self) -> tuple[Point, ...]:
        """The corners, counterclockwise as seen from above."""
        return self.outline if _area(self.outline) > 0 else self.outline[::-1]

    def pieces(self) -> tuple[Wall | Flat, ...]:
        """Itself."""
        return (self,)


@dataclass(frozen=True)
class Disc:
    """A horizontal disc: a regular polygon whose first corner is in the east."""

    centre: Point
    radius: float
    height: float = 0.0
    faces: Literal["up", "down"] = "up"
    corners: int = 32
    colour: Colour = WHITE
    texture: str | None = None
    texels_per_metre: float = TEXELS_PER_METRE
    body: str | None = None

    def __post_init__(self) -> None:
        _finite("Disc", "centre", self.centre, 2)
        _positive("Disc", "radius", self.radius)
        if isinstance(self.corners, bool) or not 3 <= self.corners <= 1024:
            raise ValueError(f"Disc: corners must be from 3 to 1024; got {self.corners}")
        self.pieces()

    def outline(self) -> tuple[Point, ...]:
        """The corners, counterclockwise as seen from above."""
        turns = [2.0 * math.pi * k / self.corners for k in range(self.corners)]
        x, z = self.centre
        return tuple((x + self.radius * math.cos(a), z - self.radius * math.sin(a)) for a in turns)

    def pieces(self) -> tuple[Wall | Flat, ...]:
        """One flat."""
        return (
            Flat(
                self.outline(),
                self.height,
                self.faces,
                self.colour,
                self.texture,
                self.texels_per_metre,
                self.body,
            ),
        )


@dataclass(frozen=True)
class Box:
    """A box in one colour that stands on `bottom`, turned by `yaw`."""

    centre: Point
    size: tuple[float, float, float]
    """Along its own x, up, along its own z."""
    bottom: float = 0.0
    yaw: float = 0.0
    colour: Colour = WHITE
    body: str | None = None

    def __post_init__(self) -> None:
        _finite("Box", "centre", self.centre, 2)
        _finite("Box", "size", self.size, 3)
        _finite("Box", "bottom, yaw", (self.bottom, self.yaw), 2)
        for side in self.size:
            _positive("Box", "size", side)
        self.pieces()

    def pieces(self) -> tuple[Wall | Flat, ...]:
        """Four walls, a lid and a bottom."""
        depth, height, width = self.size
        corners = _rectangle(self.centre, self.yaw, -depth / 2, depth / 2, width / 2)
        top = self.bottom + height
        walls = tuple(
            Wall(corners[k], corners[k - 1], self.bottom, top, self.colour, body=self.body)
            for k in range(4)
        )
        return (
            *walls,
            Flat(corners, top, "up", self.colour, body=self.body),
            Flat(corners, self.bottom, "down", self.colour, body=self.body),
        )


@dataclass(frozen=True)
class Picture:
    """A picture in a black frame as deep as it stands out from the wall behind it."""

    centre: tuple[float, float, float]
    """x, y, z of the middle of its back."""
    yaw: float
    """The direction in which it faces."""
    width: float
    height: float
    texture: str
    depth: float = 0.05
    colour: Colour = WHITE
    body: str | None = None

    def __post_init__(self) -> None:
        _finite("Picture", "centre", self.centre, 3)
        _finite("Picture", "yaw", (self.yaw,), 1)
        for name in ("width", "height", "depth"):
            _positive("Picture", name, getattr(self, name))
        self.pieces()

    def pieces(self) -> tuple[Wall | Flat, ...]:
        """The picture and the four sides of the frame."""
        x, y, z = self.centre
        low, high = y - self.height / 2, y + self.height / 2
        corners = _rectangle((x, z), self.yaw, 0.0, self.depth, self.width / 2)
        left, right, back_right, back_left = corners
        # Walls start on the right of who sees them, where a picture's u is 1.
        face = Wall(
            right, left, low, high, self.colour, self.texture, (1.0, 0.0, 0.0, 1.0), body=self.body
        )
        return (
            face,
            Wall(left, back_left, low, high, BLACK, body=self.body),
            Wall(back_right, right, low, high, BLACK, body=self.body),
            Flat(corners, high, "up", BLACK, body=self.body),
            Flat(corners, low, "down", BLACK, body=self.body),
        )


Part = Wall | Flat | Disc | Box | Picture


def _rectangle(
    centre: Point, yaw: float, back: float, front: float, half_width: float
) -> tuple[Point, Point, Point, Point]:
    """Counterclockwise corners of a rectangle that faces `yaw`: front left (of who faces it), front
    right, back right, back left."""
    cos, sin = math.cos(yaw), math.sin(yaw)

    def corner(ahead: float, aside: float) -> Point:
        return (
            centre[0] + ahead * cos + aside * sin,
            centre[1] - ahead * sin + aside * cos,
        )

    return (
        corner(front, half_width),
        corner(front, -half_width),
        corner(back, -half_width),
        corner(back, half_width),
    )


def _area(corners: Iterable[Point]) -> float:
    """Positive where corners are counterclockwise as seen from above (z points south)."""
    points = list(corners)
    following = points[1:] + points[:1]
    return 0.5 * sum(
        z0 * x1 - x0 * z1 for (x0, z0), (x1, z1) in zip(points, following, strict=True)
    )


def _is_convex(corners: tuple[Point, ...]) -> bool:
    """Whether every corner turns left, and all of them together once around."""
    turned = 0.0
    for k in range(len(corners)):
        (x0, z0), (x1, z1), (x2, z2) = corners[k - 2], corners[k - 1], corners[k]
        ahead, onward = math.atan2(z0 - z1, x1 - x0), math.atan2(z1 - z2, x2 - x1)
        turn = math.remainder(onward - ahead, 2.0 * math.pi)
        if turn < -1e-6:
            return False
        turned += turn
    return math.isclose(turned, 2.0 * math.pi, abs_tol=1e-3)


def _finite(part: str, name: str, numbers: tuple[float, ...], count: int) -> None:
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{part}: {name} must be {count} finite numbers; got {numbers}")


def _positive(part: str, name: str, number: float) -> None:
    if not (math.isfinite(number) and number >= SMALLEST):
        raise ValueError(f"{part}: {name} must be above {SMALLEST} m; got {number}")


def _colour(part: str, colour: Colour) -> None:
    if len(colour) != 3 or not all(0.0 <= number <= 1.0 for number in colour):
        raise ValueError(f"{part}: colour must be three numbers from 0 to 1; got {colour}")
