"""A world as the ray caster draws it.

S worlds, N cameras.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from adbench.task import UsageError
from adbench_envs.worlds import textures
from adbench_envs.worlds.outlines import regular, walls_of
from adbench_envs.worlds.world import Rim, Room, World
from adbench_kernels.ray_casting import Disc, Flat, Scene, Wall, build_scene
from adbench_kernels.ray_casting.parts import Part

_KEPT = 32


@lru_cache(maxsize=_KEPT)
def scene(worlds: tuple[World, ...], device: torch.device) -> Scene:
    """Worlds as one scene, kept.

    Args:
        worlds: S of them; they share the first one's light.
        device: where its tables lie.

    Raises:
        UsageError: their lights differ.
    """
    if any(world.light != worlds[0].light for world in worlds):
        raise UsageError("worlds that are drawn together share one light. Make them the same.")
    pictures = {name: textures.texture(name).copy() for name in worn(worlds)}
    parts = [[part for part in parts_of(world)] for world in worlds]
    return build_scene(parts, textures=pictures, light=worlds[0].light).to(device)


def worn(worlds: tuple[World, ...]) -> tuple[str, ...]:
    """Names of the textures that worlds need, each once."""
    names = [part.texture for w in worlds for part in parts_of(w) if hasattr(part, "texture")]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def parts_of(world: World) -> tuple[Part, ...]:
    """All that is seen in a world."""
    rooms = [part for room in world.rooms for part in _room(room)]
    rims = [part for rim in world.rims for part in _rim(rim)]
    return (*rooms, *rims, *world.discs, *world.boxes, *world.pictures)


def _room(room: Room) -> list[Part]:
    walls: list[Part] = [
        Wall(start, end, top=room.height, texture=texture, texels_per_metre=room.texels_per_metre)
        for (start, end), texture in zip(walls_of(room.outline), room.walls, strict=True)
        if texture is not None
    ]
    floor = Flat(room.outline, texture=room.floor, texels_per_metre=room.texels_per_metre)
    ceiling = Flat(
        room.outline,
        room.height,
        "down",
        texture=room.ceiling,
        texels_per_metre=room.texels_per_metre,
    )
    return [*walls, floor, ceiling]


def _rim(rim: Rim) -> list[Part]:
    x, z = rim.centre
    corners = tuple((x + a, z + b) for a, b in regular(rim.corners, rim.radius))
    return [Wall(start, end, rim.bottom, rim.top, rim.colour) for start, end in walls_of(corners)]


def water(radius: float, height: float, corners: int = 32) -> Disc:
    """A surface of water around the origin.

    Args:
        radius: metres.
        height: metres above the ground.
        corners: of the polygon that it is drawn as.
    """
    return Disc((0.0, 0.0), radius, height, corners=corners, texture="water", texels_per_metre=64.0)
