"""The square hall that several families share.

x points east, z south; walls stand in the east, north, west and south.
"""

from __future__ import annotations

import math

from adbench_envs.worlds.cues import CUES
from adbench_envs.worlds.outlines import rectangle
from adbench_envs.worlds.world import Camera, Room, World
from adbench_kernels.ray_casting import Box, Picture

HALF = 3.0
"""Half a side of the hall, metres."""

BODY = 0.2
REACH = HALF - BODY
"""How far from the middle one gets along x and along z, metres."""

_WALL_HEIGHT = 2.6
_EYE = 1.2
_CUE = 1.4
_CUE_HEIGHT = 1.4


def hall(name: str, *, cues: bool, boxes: tuple[Box, ...] = ()) -> World:
    """A bare room of 6 x 6 metres with plain walls.

    Args:
        name: the world's.
        cues: whether two different pictures hang on each wall, so that a heading can be told.
        boxes: what else is in it.
    """
    return World(
        name,
        rooms=(
            Room("hall", rectangle(HALF), ("plaster",) * 4, "concrete", "panels", _WALL_HEIGHT),
        ),
        boxes=boxes,
        pictures=tuple(_cue(k) for k in range(len(CUES))) if cues else (),
        camera=Camera(_EYE),
        body_radius=BODY,
    )


def _cue(number: int) -> Picture:
    """The pictures in order around the hall, two a wall."""
    angle = 0.5 * math.pi * (number // 2)
    aside = HALF * 0.45 * (1 if number % 2 else -1)
    cos, sin = math.cos(angle), math.sin(angle)
    return Picture(
        (HALF * cos - aside * sin, _CUE_HEIGHT, -HALF * sin - aside * cos),
        angle + math.pi,
        width=_CUE,
        height=_CUE,
        texture=CUES[number],
    )
