"""How cost grows: the exponent of a power law fitted to medians over sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from adbench.perf.measured import Row

FEWEST_SIZES = 3
"""Two points make a line with nothing left over to judge it by."""

_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
"""97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; beyond, that of the normal."""
_NORMAL = 1.960


class Growth(NamedTuple):
    """Seconds for one thing of a size, as size ** exponent.

    Attributes:
        exponent: slope of log seconds against log size, by least squares.
        low: lower end of its 95 % interval.
        high: upper end.
        misfit: root mean square of what the line leaves over, as a share: 0.1 is 10 %.
        last: the slope between the two largest sizes alone; small sizes pay overheads that flatten
            the whole.
        sizes: how many there were.
    """

    exponent: float
    low: float
    high: float
    misfit: float
    last: float
    sizes: int


def growth(rows: Sequence[Row]) -> Growth | None:
    """Fit the cost of one item, median seconds of a call over its items, against its size.

    Args:
        rows: of one implementation, from the smallest size up; none is fitted with fewer than
            three sizes.
    """
    points = [
        (math.log(row.subject.size), math.log(row.median / row.items))
        for row in rows
        if row.subject.size is not None
    ]
    return fit(points)


def fit(points: Sequence[tuple[float, float]]) -> Growth | None:
    """The line through points (log size, log seconds), by least squares.

    Args:
        points: from the smallest size up.
    """
    count = len({x for x, _ in points})
    if count < FEWEST_SIZES or count < len(points):
        return None
    mean_x, mean_y = (math.fsum(part) / count for part in zip(*points, strict=True))
    square = math.fsum((x - mean_x) ** 2 for x, _ in points)
    slope = math.fsum((x - mean_x) * (y - mean_y) for x, y in points) / square
    left = math.fsum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    freedom = count - 2
    quantile = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL
    half = quantile * math.sqrt(left / freedom / square)
    (x0, y0), (x1, y1) = points[-2:]
    return Growth(
        exponent=slope,
        low=slope - half,
        high=slope + half,
        misfit=math.expm1(math.sqrt(left / count)),
        last=(y1 - y0) / (x1 - x0),
        sizes=count,
    )
