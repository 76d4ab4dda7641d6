"""What is refused of a world, with what is wrong, where, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

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
from adbench_envs.worlds.world import Room, World

MOST_PIXELS_A_SIDE = 4096


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
    for rim in world.rims:
        if not rim.radius > world.body_radius or not rim.top > rim.bottom:
            raise UsageError(
                f"world {world.name!r}: a rim of radius {rim.radius:g} m from {rim.bottom:g} m to "
                f"{rim.top:g} m holds no body of radius {world.body_radius:g} m. Make it wider, "
                "and its top higher than its bottom."
            )
    worn = [disc.texture for disc in world.discs] + [p.texture for p in world.pictures]
    _check_textures(f"world {world.name!r}", (name for name in worn if name is not None))
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
        UsageError: names the first lane that is outside.
    """
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


def _check_room(world: World, room: Room) -> None:
    where = f"world {world.name!r}, room {room.name!r}"
    outline = room.outline
    numbers = [number for corner in outline for number in corner] + [room.height]
    if not all(math.isfinite(number) for number in numbers) or room.height <= 0.0:
        raise UsageError(f"{where}: corners and height must be finite, the height above 0 m.")
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


def _check_textures(where: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in NAMES:
            raise unknown_name("texture", name, NAMES, hint=f"Wanted by {where}.")


def _in_a_room(world: World, point: Point) -> bool:
    return any(
        all(aside(point, wall) >= 0.0 for wall in walls_of(room.outline)) for room in world.rooms
    )


def _said(wall: Segment) -> str:
    (x0, z0), (x1, z1) = wall
    return f"from ({x0:g}, {z0:g}) to ({x1:g}, {z1:g})"
