"""Outlines on the ground: areas, crossings, insets.

x points east, z south, as everywhere in worlds. "Left" and "counterclockwise" are as seen from
above, so the left of (dx, dz) is (dz, -dx).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
Segment = tuple[Point, Point]

CLOSE = 1e-6
"""Metres within which two corners are the same."""


def regular(corners: int, radius: float, *, first: float = 0.0) -> tuple[Point, ...]:
    """A regular polygon around the origin, counterclockwise.

    Args:
        corners: how many.
        radius: of the circle through them, metres.
        first: direction of the first one, radians.
    """
    turns = [first + 2.0 * math.pi * k / corners for k in range(corners)]
    return tuple((radius * math.cos(a), -radius * math.sin(a)) for a in turns)


def rectangle(half_x: float, half_z: float | None = None) -> tuple[Point, ...]:
    """A rectangle around the origin, counterclockwise: walls in the east, north, west and south."""
    z = half_x if half_z is None else half_z
    return ((half_x, z), (half_x, -z), (-half_x, -z), (-half_x, z))


def walls_of(outline: Sequence[Point]) -> list[Segment]:
    """From each corner to the next, the last to the first."""
    return [(outline[k], outline[(k + 1) % len(outline)]) for k in range(len(outline))]


def area(outline: Sequence[Point]) -> float:
    """Square metres; positive where the corners are counterclockwise."""
    return 0.5 * sum(z0 * x1 - x0 * z1 for (x0, z0), (x1, z1) in walls_of(outline))


def left_of(wall: Segment) -> Point:
    """Unit vector to the left of who walks along a wall."""
    (x0, z0), (x1, z1) = wall
    length = math.hypot(x1 - x0, z1 - z0)
    return (z1 - z0) / length, (x0 - x1) / length


def aside(point: Point, wall: Segment) -> float:
    """Metres by which a point lies to the left of a wall's line."""
    (x0, z0), _ = wall
    nx, nz = left_of(wall)
    return (point[0] - x0) * nx + (point[1] - z0) * nz


def first_crossing(outline: Sequence[Point]) -> tuple[int, int] | None:
    """Numbers of two walls that cross or touch beside their shared corner; none: no such."""
    walls = walls_of(outline)
    count = len(walls)
    for i in range(count):
        for j in range(i + 1, count):
            neighbours = j == i + 1 or (i == 0 and j == count - 1)
            if not neighbours and _meet(walls[i], walls[j]):
                return i, j
            if neighbours and _folds_back(walls[i], walls[j]):
                return i, j
    return None


def is_convex(outline: Sequence[Point]) -> bool:
    """Whether no corner lies to the right of any wall."""
    return all(aside(corner, wall) >= -CLOSE for wall in walls_of(outline) for corner in outline)


def inset(outline: Sequence[Point], distance: float) -> tuple[Point, ...]:
    """The outline moved to its left, corners stay sharp.

    Args:
        outline: counterclockwise ones shrink, clockwise ones grow.
        distance: metres.
    """
    walls = walls_of(outline)
    moved = []
    for k, (x, z) in enumerate(outline):
        (ax, az), (bx, bz) = left_of(walls[k - 1]), left_of(walls[k])
        # The point that is `distance` to the left of both walls' lines.
        scale = distance / (1.0 + ax * bx + az * bz)
        moved.append((x + (ax + bx) * scale, z + (az + bz) * scale))
    return tuple(moved)


def chained(walls: Sequence[Segment]) -> list[tuple[Point, ...]]:
    """Walls put end to end into closed outlines.

    Raises:
        ValueError: a wall's end is no other wall's start; its coordinates are the message.
    """
    waiting = list(walls)
    loops = []
    while waiting:
        first, end = waiting.pop(0)
        loop = [first]
        while not _same(end, first):
            following = next((w for w in waiting if _same(w[0], end)), None)
            if following is None:
                raise ValueError(f"({end[0]:g}, {end[1]:g})")
            waiting.remove(following)
            loop.append(following[0])
            end = following[1]
        loops.append(_without_straight_corners(loop))
    return loops


def _without_straight_corners(loop: list[Point]) -> tuple[Point, ...]:
    """Walls in one line become one, so that an inset has no corner there."""
    walls = walls_of(loop)
    kept = [
        loop[k]
        for k in range(len(loop))
        if abs(aside(walls[k][1], walls[k - 1])) > CLOSE or _folds_back(walls[k - 1], walls[k])
    ]
    return tuple(kept)


def _same(a: Point, b: Point) -> bool:
    return math.dist(a, b) < CLOSE


def _meet(a: Segment, b: Segment) -> bool:
    ends = [_side(a, b[0]), _side(a, b[1]), _side(b, a[0]), _side(b, a[1])]
    if ends[0] * ends[1] < 0 and ends[2] * ends[3] < 0:
        return True
    return any(_on(a, point) for point in b) or any(_on(b, point) for point in a)


def _folds_back(a: Segment, b: Segment) -> bool:
    """Whether two walls that share a corner run back over each other."""
    shared = a[1] if _same(a[1], b[0]) else a[0]
    other_a = a[0] if shared == a[1] else a[1]
    other_b = b[1] if _same(b[0], shared) else b[0]
    (ax, az), (bx, bz) = _from(shared, other_a), _from(shared, other_b)
    return abs(ax * bz - az * bx) < CLOSE and ax * bx + az * bz > 0


def _from(origin: Point, point: Point) -> Point:
    return point[0] - origin[0], point[1] - origin[1]


def _side(wall: Segment, point: Point) -> float:
    distance = aside(point, wall)
    return 0.0 if abs(distance) < CLOSE else distance


def _on(wall: Segment, point: Point) -> bool:
    if abs(aside(point, wall)) > CLOSE:
        return False
    (x0, z0), (x1, z1) = wall
    share = ((point[0] - x0) * (x1 - x0) + (point[1] - z0) * (z1 - z0)) / math.dist(*wall) ** 2
    return 0.0 <= share <= 1.0
