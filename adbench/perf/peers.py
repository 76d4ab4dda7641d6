"""Ratios of rates: ours over each peer's in the same file."""

from __future__ import annotations

from typing import NamedTuple

from adbench.perf.measured import Row
from adbench.perf.panels import Panel


class Ratio(NamedTuple):
    """How many times a peer's rate ours is.

    Attributes:
        ours: our row.
        peer: its row; of the same size, or, where it was measured at one size alone, of that one.
        times: rate of ours over its; above 1 ours is faster.
        low: the least that the quartiles of both allow.
        high: the most.
    """

    ours: Row
    peer: Row
    times: float
    low: float
    high: float

    @property
    def other_size(self) -> bool:
        """Whether the peer's row is of another size than ours."""
        return self.ours.subject.size != self.peer.subject.size


def ratio(ours: Row, peer: Row) -> Ratio:
    """Ours against a peer's, by units a second."""
    amounts = ours.amount / peer.amount
    return Ratio(
        ours,
        peer,
        times=amounts * peer.median / ours.median,
        low=amounts * peer.q1 / ours.q3,
        high=amounts * peer.q3 / (ours.q1 or ours.median),
    )


def ratios(panel: Panel) -> list[Ratio]:
    """Every row of ours against every peer, by our size and then by peer."""
    found = []
    for name in panel.ours:
        for row in panel.lines[name]:
            for peer, line in panel.lines.items():
                if peer in panel.ours:
                    continue
                other = panel.at(peer, row.subject.size)
                if other is None and len(line) == 1 and _tried_once(panel, peer):
                    other = line[0]
                if other is not None:
                    found.append(ratio(row, other))
    return found


def _tried_once(panel: Panel, peer: str) -> bool:
    """Whether it was asked for one size alone: what ran out of memory was asked for more."""
    return not any(
        each.subject is not None and each.subject.implementation == peer for each in panel.untimed
    )
