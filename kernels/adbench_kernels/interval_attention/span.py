"""What the queries of one call of attention see.

B batch rows, Q queries, T keys, H query heads, D head width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from adbench_kernels.interval_attention.intervals import Intervals
from adbench_kernels.interval_attention.positions import LONGEST

EVERYTHING = LONGEST
"""Width of a window that shows everything: no position is further from the first key."""


class Span(NamedTuple):
    """Where the queries of a call sit and which keys they see.

    Attributes:
        intervals: which keys.
        num_queries: Q.
        num_keys: T.
        offset: position of query 0 among the keys.
        stride: positions between queries.
    """

    intervals: Intervals
    num_queries: int
    num_keys: int
    offset: int
    stride: int

    @property
    def plain(self) -> bool:
        """Query i sits at key i and sees everything up to it: SDPA needs no mask for that."""
        if self.intervals.kv_start is not None or self.offset != 0 or self.stride != 1:
            return False
        # Branches, since of traced sizes an expression would be no bool, which SDPA wants.
        if self.num_queries > self.num_keys:
            return False
        if self.intervals.width is not None and self.intervals.width < self.num_keys:
            return False
        return True

    @property
    def kind(self) -> str:
        """One of `adbench_kernels.choice.MASKS`."""
        if self.plain:
            return "causal"
        if self.stride != 1:
            return "strided"
        if self.intervals.kv_start is not None:
            return "interval"
        width = self.intervals.width
        return "strided" if width is None or width >= self.num_keys else "window"

    @property
    def may_be_blind(self) -> bool:
        """Some query may see nothing."""
        width, last = self.intervals.width, self.offset + (self.num_queries - 1) * self.stride
        past = width is not None and last - width + 1 >= self.num_keys
        return self.intervals.kv_start is not None or past

    def visible(self, q: Tensor) -> Tensor:
        """The mask written out, bool [B or 1, Q, T], for queries q [B, Q, H, D]."""
        return self.intervals.visible(
            q.shape[0],
            self.num_queries,
            self.num_keys,
            query_offset=self.offset,
            query_stride=self.stride,
            device=q.device,
        )

    def for_kernels(self, q: Tensor) -> tuple[Tensor | None, int, int, int]:
        """`kv_start` of q [B, Q, H, D] or none, the window's width, offset and stride."""
        where = (self.num_queries, self.num_keys, self.offset, self.stride)
        width = EVERYTHING
        if self.intervals.width is not None:
            width = min(self.intervals.width, EVERYTHING)
        return self.intervals.starts(q.shape[0], *where), width, self.offset, self.stride
