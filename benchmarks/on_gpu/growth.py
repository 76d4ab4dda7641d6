"""How cost grows: exponents fitted to medians over row lengths and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from adbench.perf.growth import Growth, fit

Row = Mapping[str, Any]
OVER = {"train": "T", "evaluate": "window"}
"""What the cost is held against, by section."""


class Line(NamedTuple):
    """Cases that differ in size alone.

    Attributes:
        what: the case without its size, on one line.
        case: the same, as a key.
        over: "T" or "window".
        growth: seconds for one thing of a size, as size ** exponent.
        sizes: that were measured, in order.
    """

    what: str
    case: dict[str, str | int]
    over: str
    growth: Growth
    sizes: tuple[int, ...]


def exponents(section: str, rows: Sequence[Row]) -> list[Line]:
    """Of a section's cases that differ in size alone, where three sizes or more were measured.

    Training has equally many tokens in every update, so what one *row* of T tokens costs is the
    median times T. A window is a step's, and the median is its cost.

    Args:
        section: one of `OVER`.
        rows: of it; what was not measured is left out.
    """
    over = OVER[section]
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row["status"] == "ok":
            rest = {name: value for name, value in row["case"].items() if name != over}
            name = " ".join(str(value) if name == "op" else f"{name}={value}"
                            for name, value in rest.items())  # fmt: skip
            lines.setdefault(name, []).append(row)
    found = []
    for name, of_line in lines.items():
        points = sorted((row["case"][over], _cost(section, row)) for row in of_line)
        fitted = fit([(math.log(size), math.log(cost)) for size, cost in points])
        if fitted:
            rest = {key: value for key, value in of_line[0]["case"].items() if key != over}
            found.append(Line(name, rest, over, fitted, tuple(size for size, _ in points)))
    return found


def _cost(section: str, row: Row) -> float:
    return float(row["median_ms"]) * (row["case"]["T"] if section == "train" else 1)
