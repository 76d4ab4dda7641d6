"""What lanes remember of their past when acting: ring caches, one a layer.

N lanes, n new tokens a lane, H heads, d head width, W window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adbench_kernels import (
    BlockWeights,
    RingCache,
    RingState,
    RingStep,
    TransformerStep,
    ring_append,
    ring_attention,
    rotate,
)

Attend = Callable[[Tensor], Tensor]
"""Queries, keys and values of H heads each, [B, T, 3 H, d], to [B, T, H, d]."""

# Rings are made a little larger than they must be, in whole cache lines of float32.
_SLOT_MULTIPLE = 16


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

    Attributes:
        stack: all blocks in one operation, where `fuse` found one for them.
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
        self.stack: TransformerStep | None = None
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

    def fuse(
        self, blocks: Sequence[BlockWeights[Tensor]], *, norm_first: bool, epsilon: float
    ) -> None:
        """Let steps take all blocks at once, if there is a kernel that can.

        Args:
            blocks: of the model, in order.
            norm_first: norms stand before the branches.
            epsilon: of the norms.
        """
        stack = TransformerStep(
            blocks, self.rings, window=self.window, norm_first=norm_first, epsilon=epsilon
        )
        # The definition would only do what the model does block by block.
        self.stack = stack if stack.implementation != "reference" else None

    def through_stack(self, x: Tensor, turns: Tensor) -> Tensor:
        """The stream after all blocks, [N, n, D].

        Args:
            x: before the first, [N, n, D].
            turns: rotary turns at the tokens' positions, [N, n, 2, d].
        """
        assert self.stack is not None and self._step is not None
        return self.stack(x, turns=turns, step=self._step)

    def attend(self, layer: int, turns: Tensor, qkv: Tensor) -> Tensor:
        """Put the new keys and values into a layer's ring and attend, [N, n, H, d].

        Args:
            layer: whose ring.
            turns: rotary turns at the tokens' positions, [N, n, 2, d].
            qkv: [N, n, 3 H, d].
        """
        ring, heads = self.rings[layer], qkv.shape[2] // 3
        if qkv.device.type == "cuda":  # there the kernels of the ring turn what they read
            q, k, v = qkv.chunk(3, 2)
            ring_append(ring, k, v, step=self._step, turns=turns)
            return ring_attention(q, ring, window=self.window, step=self._step, turns=turns)
        q, k = rotate(qkv[:, :, : 2 * heads], turns).chunk(2, 2)
        ring_append(ring, k, qkv[:, :, 2 * heads :], step=self._step)
        return ring_attention(q, ring, window=self.window, step=self._step)
