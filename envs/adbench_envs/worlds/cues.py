"""Cues: pictures to hang on walls, one large shape in two strong colours each.

x and y go from -1 to 1 over a picture, y upwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]
Shape = Callable[[Field, Field], Mask]

SIDE = 128
"""Pixels."""

_FINE = 4
"""Cues are drawn this many times larger and averaged, for smooth edges."""


def _disc(x: Field, y: Field) -> Mask:
    return np.asarray(x * x + y * y < 0.55)


def _ring(x: Field, y: Field) -> Mask:
    radius = np.hypot(x, y)
    return np.asarray((radius > 0.4) & (radius < 0.8))


def _bars(x: Field, y: Field) -> Mask:
    return np.asarray(np.floor((x + 1) * 3) % 2 == 0)


def _triangle(x: Field, y: Field) -> Mask:
    return np.asarray((y > -0.75) & (y < 0.85 - 1.9 * np.abs(x)))


def _checks(x: Field, y: Field) -> Mask:
    return np.asarray((np.floor((x + 1) * 2) + np.floor((y + 1) * 2)) % 2 == 0)


def _cross(x: Field, y: Field) -> Mask:
    return np.asarray(
        ((np.abs(x) < 0.25) | (np.abs(y) < 0.25)) & (np.maximum(np.abs(x), np.abs(y)) < 0.8)
    )


def _diamond(x: Field, y: Field) -> Mask:
    return np.asarray(np.abs(x) + np.abs(y) < 0.8)


def _half(x: Field, y: Field) -> Mask:
    return np.asarray(y > x)


_DRAWN: dict[str, tuple[Shape, Colour, Colour]] = {
    "cue-disc": (_disc, (250, 230, 40), (200, 20, 20)),
    "cue-bars": (_bars, (255, 255, 255), (20, 20, 180)),
    "cue-triangle": (_triangle, (20, 150, 60), (255, 255, 255)),
    "cue-checks": (_checks, (10, 10, 10), (240, 130, 240)),
    "cue-cross": (_cross, (240, 120, 20), (20, 20, 20)),
    "cue-ring": (_ring, (20, 40, 120), (90, 230, 230)),
    "cue-diamond": (_diamond, (150, 20, 120), (250, 240, 120)),
    "cue-half": (_half, (120, 20, 20), (150, 240, 150)),
}

CUES = tuple(_DRAWN)
"""Eight shapes in eight pairs of colours."""


def cue(name: str) -> Image:
    """A cue by its name, one of `CUES`, uint8 [SIDE, SIDE, 3]."""
    shape, ground, figure = _DRAWN[name]
    fine = SIDE * _FINE
    steps = (np.arange(fine) + 0.5) * 2.0 / fine - 1.0
    inside = np.broadcast_to(shape(steps[None, :], -steps[:, None]), (fine, fine))
    share = inside.reshape(SIDE, _FINE, SIDE, _FINE).mean(axis=(1, 3))[..., None]
    image = np.array(ground) * (1.0 - share) + np.array(figure) * share
    return np.asarray(np.rint(image), dtype=np.uint8)
