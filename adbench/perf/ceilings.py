"""What the machine gives: the best matrix product and the best copy measured in the same file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from adbench.perf.measured import Measured, Row
from adbench.perf.panels import CEILINGS

MATMUL, COPY = "matmul", "copy"
"""Cases of the stage `ceilings`: floating-point operations a second, bytes a second."""


class Share(NamedTuple):
    """How near a row comes to the machine's ceilings.

    Attributes:
        share: least time that the nearer ceiling allows over the time it took; 1 is all there is.
        ceiling: which one it is, `MATMUL` or `COPY`.
    """

    share: float
    ceiling: str


@dataclass(frozen=True)
class Ceilings:
    """The best rates of a file.

    Attributes:
        flops: operations a second by (device, threads, precision).
        bytes: bytes a second, read and written, by (device, threads).
    """

    flops: Mapping[tuple[str, int, str], float]
    bytes: Mapping[tuple[str, int], float]

    def share(self, row: Row) -> Share | None:
        """The share of the nearer ceiling; none where neither was counted or measured."""
        subject = row.subject
        flops = self.flops.get((subject.device, subject.threads, subject.precision))
        moved = self.bytes.get((subject.device, subject.threads))
        found = []
        if flops and row.flops:
            found.append(Share(row.flops / flops / row.median, MATMUL))
        if moved and row.bytes:
            found.append(Share(row.bytes / moved / row.median, COPY))
        return max(found, default=None)


def ceilings(measured: Measured) -> Ceilings:
    """The ceilings of a file; empty where it holds none."""
    flops: dict[tuple[str, int, str], float] = {}
    moved: dict[tuple[str, int], float] = {}
    for row in measured.rows:
        subject = row.subject
        if subject.stage != CEILINGS:
            continue
        if subject.case == MATMUL and row.flops:
            where = (subject.device, subject.threads, subject.precision)
            flops[where] = max(flops.get(where, 0.0), row.flops / row.median)
        if subject.case == COPY and row.bytes:
            at = (subject.device, subject.threads)
            moved[at] = max(moved.get(at, 0.0), row.bytes / row.median)
    return Ceilings(flops, moved)
