"""What is refused of a world, with what is wrong, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations

from adbench.task import UsageError, unknown_name
from adbench_envs.worlds.obstacles import obstacles
from adbench_envs.worlds.outlines import (
    CLOSE,
    Point,
    Segment,
    area,
    aside,
    first_crossing,
    is_convex,
    walls_of,
)
from adbench_envs.worlds.textures import NAMES
from adbench_envs.worlds.world import Rim, Room, World

FARTHEST_METRES = 100.0
"""From the origin: beyond, positions in float32 are too coarse for walls to hold."""


def check_world(world: World) -> None:
    """Look at a world from all sides, once.

    Raises:
        UsageError: names the world, the room and the wall.
    """
    if not world.rooms:
        raise UsageError(f"world {world.name!r} has no room. Give it at least one.")
    for room in world.rooms:
        _check_room(world, room)
    _check_openings(world)
    _check_overlaps(world)
    _check_body_and_eye(world)
    for rim in world.rims:
        _check_rim(world, rim)
    worn = [disc.texture for disc in world.discs if disc.texture is not None]
    worn += [picture.texture for picture in world.pictures]
    _check_textures(f"world {world.name!r}", worn)
    obstacles(world)


def check_start(world: World, points: Iterable[Point]) -> None:
    """Refuse to start where nobody can stand.

    Args:
        world: where.
        points: (x, z) of possible starts.

    Raises:
        UsageError: names the first one that is in a wall, in a box, beyond a rim or outside.
    """
    found = obstacles(world)
    for point in points:
        where = f"world {world.name!r}: the start ({point[0]:g}, {point[1]:g})"
        if not _in_a_room(world, point):
            raise UsageError(f"{where} lies outside of every room. Move it into one.")
        if not found.admit(point):
            raise UsageError(
                f"{where} is inside a wall, a box or a rim, or nearer to one than the body's "
                f"radius, {world.body_radius:g} m. Move it into the open."
            )


def _check_room(world: World, room: Room) -> None:
    where = f"world {world.name!r}, room {room.name!r}"
    outline = room.outline
    corners = [
        corner for corner in outline if len(corner) == 2 and math.hypot(*corner) < FARTHEST_METRES
    ]
    if len(corners) < len(outline):
        wrong = next(corner for corner in outline if corner not in corners)
        raise UsageError(
            f"{where}: corner {wrong} is not x, z in metres within {FARTHEST_METRES:g} m of the "
            "origin. Move the room there."
        )
    for name, number in (("height", room.height), ("texels_per_metre", room.texels_per_metre)):
        if not (math.isfinite(number) and number > 0.0):
            raise UsageError(f"{where}: its {name} must be finite and above 0; got {number:g}.")
    if len(outline) < 3 or len(room.walls) != len(outline):
        raise UsageError(
            f"{where}: its outline is open: {len(outline)} corners and {len(room.walls)} walls. "
            "Give at least three corners and one wall from each to the next, the last to the first."
        )
    for k, (start, end) in enumerate(walls_of(outline)):
        if math.dist(start, end) < CLOSE:
            raise UsageError(f"{where}: wall {k} has no length. Leave one of its corners out.")
    crossing = first_crossing(outline)
    if crossing is not None:
        walls = walls_of(outline)
        i, j = crossing
        raise UsageError(
            f"{where}: its outline crosses itself: wall {i} {_said(walls[i])} and wall {j} "
            f"{_said(walls[j])}. Put the corners in the order in which one walks around the room."
        )
    if area(outline) < 0.0:
        raise UsageError(
            f"{where}: its corners go clockwise as seen from above (z points south). Turn their "
            "order round."
        )
    if not is_convex(outline):
        raise UsageError(
            f"{where}: its outline is not convex. Cut it into convex rooms that share openings."
        )
    worn = [wall for wall in room.walls if wall is not None]
    _check_textures(where, (*worn, room.floor, room.ceiling))


def _check_openings(world: World) -> None:
    """Every opening leads into another room."""
    openings = [
        (room, k, wall)
        for room in world.rooms
        for k, wall in enumerate(walls_of(room.outline))
        if room.walls[k] is None
    ]
    for room, k, (start, end) in openings:
        leads = any(
            math.dist(start, other[1]) < CLOSE and math.dist(end, other[0]) < CLOSE
            for another, _, other in openings
            if another is not room
        )
        if not leads:
            raise UsageError(
                f"world {world.name!r}, room {room.name!r}: its outline is open at wall {k} "
                f"{_said((start, end))}: no other room has an opening there. Give the wall a "
                "texture, or the neighbour an opening along the same line."
            )


def _check_overlaps(world: World) -> None:
    """No room is in another's way."""
    for room, other in combinations(world.rooms, 2):
        pairs = ((room.outline, other.outline), (other.outline, room.outline))
        apart = any(
            all(aside(corner, wall) < CLOSE for corner in corners)
            for outline, corners in pairs
            for wall in walls_of(outline)
        )
        if not apart:
            raise UsageError(
                f"world {world.name!r}: the rooms {room.name!r} and {other.name!r} overlap. Move "
                "one of them, or make one room of both."
            )


def _check_body_and_eye(world: World) -> None:
    if not (math.isfinite(world.body_radius) and world.body_radius > 0.0):
        raise UsageError(
            f"world {world.name!r}: its body_radius must be finite and above 0 m; "
            f"got {world.body_radius:g}."
        )
    lowest = min(room.height for room in world.rooms)
    if not 0.0 < world.camera.height < lowest:
        raise UsageError(
            f"world {world.name!r}: its camera is {world.camera.height:g} m above the ground, and "
            f"sees nothing unless it is between floor and ceiling: put it above 0 m and below "
            f"{lowest:g} m."
        )


def _check_rim(world: World, rim: Rim) -> None:
    where = f"world {world.name!r}: a rim around ({rim.centre[0]:g}, {rim.centre[1]:g})"
    if not math.hypot(*rim.centre) < FARTHEST_METRES or not 3 <= rim.corners <= 1024:
        raise UsageError(
            f"{where} must lie within {FARTHEST_METRES:g} m of the origin and have 3 to 1024 "
            f"corners; got {rim.corners}."
        )
    if len(rim.colour) != 3 or not all(0.0 <= number <= 1.0 for number in rim.colour):
        raise UsageError(
            f"{where}: its colour must be three numbers from 0 to 1; got {rim.colour}."
        )
    if (
        not world.body_radius < rim.radius < math.inf
        or not -math.inf < rim.bottom < rim.top < math.inf
    ):
        raise UsageError(
            f"{where} of radius {rim.radius:g} m from {rim.bottom:g} m to {rim.top:g} m holds no "
            f"body of radius {world.body_radius:g} m. Make it wider, and its top higher than its "
            "bottom."
        )


def _check_textures(where: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in NAMES:
            raise unknown_name("texture", str(name), NAMES, hint=f"Wanted by {where}.")


def _in_a_room(world: World, point: Point) -> bool:
    return any(
        all(aside(point, wall) >= 0.0 for wall in walls_of(room.outline)) for room in world.rooms
    )


def _said(wall: Segment) -> str:
    (x0, z0), (x1, z1) = wall
    return f"from ({x0:g}, {z0:g}) to ({x1:g}, {z1:g})"
