"""The suite's own textures: drawn by code when they are first asked for, then kept.

Walls differ in colour as well as in pattern, and so do the cues on them, so that a heading can be
told from a frame of 32 x 32 pixels. Nothing here is copied from anywhere.

Pictures are uint8 [SIDE, SIDE, 3], red, green, blue, the top row first; walls and floors repeat
without a seam, and cover two metres where there are 64 texels a metre.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from adbench_envs.worlds.cues import CUES, SIDE, Colour, Field, Image, cue


@cache
def texture(name: str) -> Image:
    """A picture by its name, one of `NAMES`; not to be written into."""
    image = cue(name) if name in CUES else _DRAWN[name]()
    image.setflags(write=False)
    return image


def _bricks() -> Image:
    """Red bricks, eight courses to two metres."""
    y, x = _pixels()
    course = y // 16
    shifted = (x + (course % 2) * 16) % SIDE
    mortar = (y % 16 < 2) | (shifted % 32 < 2)
    each = _numbers("bricks", 8, 4)[course, shifted // 32]
    return _painted(
        np.where(mortar, 0.80, 0.62 + 0.30 * each),
        (214, 82, 56),
        where=mortar,
        other=(196, 188, 176),
    )


def _tiles() -> Image:
    """Blue glazed tiles, a quarter of a metre wide."""
    y, x = _pixels()
    joint = (x % 16 < 2) | (y % 16 < 2)
    each = _numbers("tiles", 8, 8)[y // 16, x // 16]
    return _painted(0.70 + 0.30 * each, (62, 118, 214), where=joint, other=(226, 232, 240))


def _planks() -> Image:
    """Upright boards of green-stained wood, half a metre wide."""
    y, x = _pixels()
    gap = x % 32 < 2
    grain = np.sin((x * 0.9 + 3.0 * np.sin(y * 2 * np.pi / SIDE)) * 2 * np.pi / 16)
    each = _numbers("planks", 1, 4)[0][x // 32]
    return _painted(0.62 + 0.08 * grain + 0.28 * each, (70, 168, 78), where=gap, other=(32, 60, 34))


def _stripes() -> Image:
    """Yellow plaster with broad level bands."""
    y, _ = _pixels()
    band = (y // 16) % 2 == 0
    shade = 0.90 + 0.10 * _cloud("stripes")
    return _painted(shade, (240, 200, 52), where=band, other=(250, 226, 140))


def _plaster() -> Image:
    """Plain light plaster."""
    return _painted(0.80 + 0.14 * _cloud("plaster"), (206, 202, 194))


def _concrete() -> Image:
    """A grey floor in slabs of a metre."""
    y, x = _pixels()
    joint = (x % 64 < 1) | (y % 64 < 1)
    shade = 0.55 + 0.20 * _cloud("concrete")
    return _painted(np.where(joint, 0.4, shade), (176, 172, 166))


def _panels() -> Image:
    """A ceiling of light panels."""
    y, x = _pixels()
    joint = (x % 32 < 2) | (y % 32 < 2)
    return _painted(np.where(joint, 0.72, 0.92), (230, 230, 226))


def _water() -> Image:
    """Milky water: the platform does not show."""
    y, x = _pixels()
    wave = np.sin((x + 12 * np.sin(2 * np.pi * y / SIDE)) * 2 * np.pi / 32)
    return _painted(0.80 + 0.05 * wave + 0.12 * _cloud("water"), (120, 186, 206))


def _pixels() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return y, x


def _numbers(name: str, rows: int, columns: int) -> Field:
    """Numbers from 0 to 1 that depend on a texture's name alone."""
    key = int.from_bytes(name.encode()[:8].ljust(8, b"."), "little")
    return np.random.Generator(np.random.Philox(key=key)).random((rows, columns))


def _cloud(name: str) -> Field:
    """Smooth noise from 0 to 1 that repeats, [SIDE, SIDE]."""
    total = np.zeros((SIDE, SIDE))
    for cells, weight in ((8, 0.5), (16, 0.3), (32, 0.2)):
        grid = _numbers(f"{cells}{name}", cells, cells)
        at = np.arange(SIDE) * cells / SIDE
        low = at.astype(int)
        share = at - low
        share = share * share * (3.0 - 2.0 * share)
        rows = grid[low] * (1 - share)[:, None] + grid[(low + 1) % cells] * share[:, None]
        total += weight * (rows[:, low] * (1 - share) + rows[:, (low + 1) % cells] * share)
    return total


def _painted(
    shade: Field,
    colour: Colour,
    *,
    where: npt.NDArray[np.bool_] | None = None,
    other: Colour = (0, 0, 0),
) -> Image:
    """A colour darkened by `shade`, another one `where` that holds, [SIDE, SIDE]."""
    image = shade[..., None] * np.array(colour, dtype=np.float64)
    if where is not None:
        image = np.where(where[..., None], np.array(other, dtype=np.float64), image)
    return _rounded(image)


def _rounded(image: Field) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


WALLS = ("bricks", "tiles", "planks", "stripes")
"""Red, blue, green and yellow."""

_DRAWN: dict[str, Callable[[], Image]] = {
    "bricks": _bricks,
    "tiles": _tiles,
    "planks": _planks,
    "stripes": _stripes,
    "plaster": _plaster,
    "concrete": _concrete,
    "panels": _panels,
    "water": _water,
}

NAMES = (*_DRAWN, *CUES)
"""Every texture there is."""
