"""What tokens see of each other: whole rows when training, ring caches when acting.

B rows or N lanes, T tokens, n new tokens a lane, H heads, d head width, W window. The kernels are
those of `adbench_kernels`; this file says with which intervals the model calls them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels import (
    Intervals,
    RingCache,
    RingState,
    RingStep,
    attention,
    ring_append,
    ring_attention,
)

# Rings are made a little larger than they must be, in whole cache lines of float32.
_SLOT_MULTIPLE = 16


def attend_rows(
    q: Tensor, k: Tensor, v: Tensor, *, window: int | None, dropout: float = 0.0
) -> Tensor:
    """Causal attention of rows onto themselves, [B, T, H, d].

    Args:
        q: [B, T, H, d].
        k: [B, T, H, d].
        v: [B, T, H, d].
        window: W: a query sees itself and the W - 1 tokens before it; none: all before it.
        dropout: on attention weights.
    """
    intervals = None if window is None else Intervals.window(window)
    return attention(q, k, v, intervals=intervals, dropout=dropout)


class ModelCache:
    """What N lanes remember between steps: each layer's keys and values, and where each lane is.

    The rings share one `RingState`, so what depends on positions alone is worked out once a step.

    Args:
        lanes: N.
        layers: how many rings.
        window: W.
        most_tokens: how many tokens one step may bring.
        heads: H.
        head_dim: d.
        dtype: of keys and values.
        device: where they live.
    """

    def __init__(
        self,
        lanes: int,
        *,
        layers: int,
        window: int,
        most_tokens: int,
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.window = window
        # The first of n new tokens sees W - 1 older ones when the last has been written already.
        capacity = -(-(window + most_tokens - 1) // _SLOT_MULTIPLE) * _SLOT_MULTIPLE
        self.state = RingState(lanes, capacity, device)
        self.rings = [
            RingCache(lanes, capacity, heads, head_dim, dtype, device, state=self.state)
            for _ in range(layers)
        ]
        self._step: RingStep | None = None

    @property
    def lanes(self) -> int:
        """N."""
        return self.state.lanes

    @property
    def num_bytes(self) -> int:
        """Memory that the rings take."""
        return sum(ring.keys.nbytes + ring.values.nbytes for ring in self.rings)

    def begin(self, num_tokens: int, count: Tensor, reset: Tensor | None) -> Tensor:
        """Forget the lanes in `reset`, make room; the new tokens' positions, int64 [N, n].

        Args:
            num_tokens: n.
            count: how many of them are real, integers [N].
            reset: lanes that forget everything first, bool [N].
        """
        self._step = self.state.advance(num_tokens, count=count, reset=reset)
        before = self._step.length - self._step.count
        return before[:, None] + torch.arange(num_tokens, device=before.device)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Put the new keys and values into a layer's ring and attend, [N, n, H, d].

        Args:
            layer: whose ring.
            q: [N, n, H, d].
            k: [N, n, H, d].
            v: [N, n, H, d].
        """
        ring = self.rings[layer]
        ring_append(ring, k, v, step=self._step)
        return ring_attention(q, ring, window=self.window, step=self._step)
