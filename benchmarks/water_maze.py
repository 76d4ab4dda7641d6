"""The water maze in which the ray caster is timed: on CPUs, on GPUs, and nowhere else described.

63 quadrilaterals, two thirds of them walls, as the renderer was compared with MiniWorld in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adbench_kernels import Scene, build_scene
from adbench_kernels.ray_casting import Box, Disc, Flat, Part, Picture, Wall

HALF, HIGH, POOL, WATER = 6.0, 3.5, 4.0, 0.15
CORNERS = ((HALF, HALF), (HALF, -HALF), (-HALF, -HALF), (-HALF, HALF))
EYE = WATER + 0.9


def room() -> list[Part]:
    """What is in it."""
    pool = Disc((0.0, 0.0), POOL, WATER, corners=24, texture="water")
    rim = pool.outline()
    parts: list[Part] = [
        Flat(CORNERS, 0.0, texture="floor"),
        Flat(CORNERS, HIGH, "down", texture="ceiling"),
        pool,
        Box((5.1, 5.1), (0.8, 2.0, 0.8), yaw=0.4, colour=(1.0, 0.0, 0.0)),
        Box((-5.1, 5.1), (0.8, 1.2, 0.8), yaw=0.8, colour=(0.0, 1.0, 0.0)),
    ]
    for k in range(4):
        turn = k * math.pi / 2
        place = (HALF * math.cos(turn), 2.2, -HALF * math.sin(turn))
        parts.append(Wall(CORNERS[k], CORNERS[(k + 1) % 4], 0.0, HIGH, texture=f"wall {k}"))
        parts.append(Picture(place, turn + math.pi, 2.0, 2.0, f"cue {k}"))
    for k in range(24):
        parts.append(Wall(rim[k], rim[(k + 1) % 24], WATER, 0.5, colour=(0.85, 0.85, 0.9)))
    return parts


def scene() -> Scene:
    """The room in textures of noise, which no cache makes smaller than they are."""
    source = torch.Generator().manual_seed(0)
    sizes = {"water": 512, "floor": 512, "ceiling": 512}
    sizes |= {f"wall {k}": 1024 if k % 2 else 512 for k in range(4)}
    sizes |= {f"cue {k}": 256 for k in range(4)}
    textures = {
        name: torch.randint(60, 220, (size, size, 3), dtype=torch.uint8, generator=source)
        for name, size in sizes.items()
    }
    return build_scene([room()], textures=textures)


def cameras(count: int, *, seed: int) -> Tensor:
    """Swimmers anywhere in the pool, looking anywhere, float32 [count, 4] on the CPU."""
    source = torch.Generator().manual_seed(seed)
    r, turn, yaw = torch.rand(3, count, generator=source)
    r, turn, yaw = (POOL - 0.6) * r.sqrt(), 2 * math.pi * turn, 2 * math.pi * yaw
    return torch.stack((r * turn.cos(), torch.full_like(r, EYE), r * turn.sin(), yaw), -1)
