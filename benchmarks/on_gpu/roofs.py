"""What a time is held against: the card's measured ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
EXPONENTIALS_A_CLOCK = 16
"""Of one multiprocessor, compute capability 8.0 to 10.0."""
EXPONENTIALS = {"forward": 1, "backward": 1, "both": 2}
"""A score: the backward pass makes the weights again."""


class Ceilings(NamedTuple):
    """What a call is held against, a second; none where it was not measured or is not known.

    Attributes:
        bytes: of a copy, read and written.
        flops: of a bfloat16 matrix product.
        exponentials: multiprocessors x 16 x highest clock; arithmetic, not measured.
    """

    bytes: float | None
    flops: float | None
    exponentials: float | None

    def share(self, row: Row) -> tuple[float, str] | None:
        """Time at the nearest ceiling over the time measured, and which ceiling that is."""
        floors = {}
        if self.bytes and row["bytes"]:
            floors["memory"] = row["bytes"] / self.bytes
        if self.flops and row["flops"]:
            floors["tensor"] = row["flops"] / self.flops
        if self.exponentials and row["elements"]:
            count = row["elements"] * EXPONENTIALS.get(row["case"].get("mode", ""), 1)
            floors["exp"] = count / self.exponentials
        if not floors:
            return None
        which = max(floors, key=floors.__getitem__)
        return floors[which] / (row["median_ms"] / 1000), which


def measured(documents: Mapping[str, Any]) -> Ceilings:
    """The best copy and the best product that were measured, and what the clock allows."""
    rows = [r for r in documents.get("ceilings", {"rows": []})["rows"] if r["status"] == "ok"]
    copies = [1e9 * r["gb_per_s"] for r in rows if r["case"]["op"] == "copy"]
    products = [1e12 * r["tflop_per_s"] for r in rows if r["case"]["op"] == "matmul"]
    exponentials = None
    for document in documents.values():
        for session in document["sessions"]:
            clock = session.get("max_sm_clock_mhz")
            if isinstance(clock, float) and str(session.get("arch")).startswith("sm_"):
                exponentials = EXPONENTIALS_A_CLOCK * session["multiprocessors"] * clock * 1e6
    return Ceilings(max(copies, default=None), max(products, default=None), exponentials)
