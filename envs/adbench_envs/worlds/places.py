"""Hidden spots: drawn over a ground, with a sector that training never sees.

M spots. Angles are counterclockwise from the east, as yaw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adbench.task import UsageError, generator, unknown_name

Array = npt.NDArray[np.float64]
Draw = Callable[[Array], Array]

SECTOR = math.radians(60.0)
"""Width of the sector that is kept from training."""

SPLITS = ("train", "validation", "test", "region")
DEFAULT_COUNTS = {"train": 2048, "validation": 64, "test": 128, "region": 128}

_BLOCK = 256


@dataclass(frozen=True)
class Sector:
    """The part of a ground that lies within half of `SECTOR` of a direction.

    Attributes:
        middle: direction, radians.
        nearest: metres from the origin at which spots begin.
    """

    middle: float
    nearest: float

    def distance(self, spots: Array) -> Array:
        """Metres from spots [M, 2] to the nearest place in it; 0 within."""
        angle = np.arctan2(-spots[:, 1], spots[:, 0]) - self.middle
        beyond = np.abs(np.remainder(angle + math.pi, 2 * math.pi) - math.pi) - SECTOR / 2
        far = np.hypot(spots[:, 0], spots[:, 1])
        along = np.maximum(far * np.cos(beyond), self.nearest)
        apart = np.hypot(far * np.cos(beyond) - along, far * np.sin(beyond))
        return np.asarray(np.where(beyond <= 0, np.maximum(self.nearest - far, 0.0), apart))


def sector(family: str, nearest: float, *, seed: int) -> Sector:
    """The sector that a split's seed keeps from training."""
    middle = float(generator(family, "region", seed).random() * 2.0 * math.pi)
    return Sector(middle, nearest)


def spots(
    family: str,
    split: str,
    count: int | None,
    *,
    seed: int,
    each: int,
    diameter: float,
    nearest: float,
    draw: Draw,
) -> Tensor:
    """Hidden spots of a split, float32 [count, each, 2]; equal arguments give equal spots.

    `region` lies in the sector; the other splits keep at least a spot's diameter away from it, so
    that no spot of theirs overlaps with one of its. Every split is a stream of its own: the first n
    of a longer request are the n of a shorter one.

    Args:
        family: its name.
        split: one of `SPLITS`.
        count: how many tasks; none: `DEFAULT_COUNTS`.
        seed: the split's.
        each: spots a task.
        diameter: of a spot, metres.
        nearest: metres from the origin at which spots begin.
        draw: spots [n, 2] from uniform draws [n, 2].

    Raises:
        UnknownNameError: no such split.
        UsageError: fewer than one task.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    count = DEFAULT_COUNTS[split] if count is None else count
    if count < 1:
        raise UsageError(f"{count} {split} {family} tasks were asked for. Ask for at least 1.")
    kept_away = sector(family, nearest, seed=seed)
    random = generator(family, "spots", split, seed)
    found: list[Array] = []
    while sum(map(len, found)) < count * each:
        drawn = draw(random.random((_BLOCK, 2))).astype(np.float32).astype(np.float64)
        apart = kept_away.distance(drawn)
        far = np.hypot(drawn[:, 0], drawn[:, 1]) >= nearest
        wanted = apart <= 0.0 if split == "region" else apart > diameter
        found.append(drawn[wanted & far])
    chosen = np.concatenate(found)[: count * each].astype(np.float32)
    return torch.from_numpy(chosen).reshape(count, each, 2)


def in_ring(inner: float, outer: float) -> Draw:
    """Uniform over the area between two circles around the origin, metres."""

    def draw(uniform: Array) -> Array:
        radius = np.sqrt(inner**2 + uniform[:, 0] * (outer**2 - inner**2))
        angle = uniform[:, 1] * 2.0 * math.pi
        return np.stack([radius * np.cos(angle), -radius * np.sin(angle)], axis=1)

    return draw


def in_square(half: float) -> Draw:
    """Uniform over a square around the origin, half a side in metres."""
    return lambda uniform: (2.0 * uniform - 1.0) * half


def within(position: Tensor, spot: Tensor, radius: float) -> Tensor:
    """Whether places lie within a radius (metres) of spots, bool [N]; both float32 [N, 2]."""
    apart = position - spot
    square = apart * apart
    return square[:, 0] + square[:, 1] < radius * radius


def checked_count(family: str, split: str, count: int | None, total: int) -> int:
    """How many tasks of a finite split to give.

    Raises:
        UsageError: fewer than one, or more than there are.
    """
    count = total if count is None else count
    if not 1 <= count <= total:
        raise UsageError(
            f"{count} {split} {family} tasks were asked for; the split has {total}. "
            f"Ask for 1 to {total}."
        )
    return count
