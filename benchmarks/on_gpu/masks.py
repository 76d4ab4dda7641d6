"""The masks that attention is timed with: which keys a query sees, for ours and for torch's.

B rows, T keys, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adbench_kernels import Intervals
from adbench_kernels.flops import interval_pairs, visible_pairs

WINDOW, EPISODES, STRIDE = 1024, 4, 3
NAMES = ("causal", "window", "episodes", "observations")


@dataclass(frozen=True)
class Mask:
    """One of `NAMES` at a size.

    Attributes:
        length: T.
        intervals: for our kernels; none: causal.
        start: first visible key of each query, int [B, Q].
        position: of each query, [Q].
        pairs: (query, key) pairs that are seen, over all rows.
    """

    name: str
    length: int
    intervals: Intervals | None
    start: Tensor
    position: Tensor
    pairs: int

    @property
    def stride(self) -> int:
        """Positions between queries."""
        return STRIDE if self.name == "observations" else 1

    def dense(self) -> Tensor:
        """The mask written out, bool [B or 1, 1, Q, T], for implementations that need it so."""
        key = torch.arange(self.length, device=self.start.device)
        start = self.start if self.name == "episodes" else self.start[:1]
        return ((key >= start[:, :, None]) & (key <= self.position[:, None]))[:, None]


def episode_length(length: int) -> int:
    """Tokens of an average episode: a sixteenth of the row, 16 to 512."""
    return min(max(length // 16, 16), 512)


def make(name: str, batch: int, length: int, device: torch.device, window: int = WINDOW) -> Mask:
    """A mask.

    Args:
        name: one of `NAMES`. "episodes": the last 4, whose lengths vary by half either way;
            "observations": every third position asks.
        batch: B.
        length: T.
        device: of its tensors.
        window: keys in view under "window".
    """
    stride = STRIDE if name == "observations" else 1
    position = torch.arange(0, length, stride, device=device)
    start = torch.zeros(batch, len(position), dtype=torch.int32, device=device)
    intervals = None
    pairs = batch * visible_pairs(len(position), length, width=length, query_stride=stride)
    if name == "window":
        intervals = Intervals.window(window)
        start = (position - window + 1).clamp(min=0).int().expand(batch, -1)
        pairs = batch * visible_pairs(length, length, width=window)
    elif name == "episodes":
        intervals = Intervals.last_episodes(_episodes(batch, length).to(device), EPISODES)
        assert intervals.kv_start is not None
        start = intervals.kv_start
        pairs = interval_pairs(start, length, width=length)
    return Mask(name, length, intervals, start, position, pairs)


def _episodes(batch: int, length: int) -> Tensor:
    """Episode numbers of each position, [B, T]; drawn on the CPU, equal on every machine."""
    source, mean = torch.Generator().manual_seed(length), episode_length(length)
    count = 2 * length // mean + 2
    lengths = torch.randint(mean // 2, 3 * mean // 2 + 1, (batch, count), generator=source)
    ends = lengths.cumsum(1)
    return torch.searchsorted(ends, torch.arange(length).expand(batch, -1).contiguous(), right=True)
