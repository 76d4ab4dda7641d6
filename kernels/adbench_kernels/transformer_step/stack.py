"""A stack of blocks as the CPU kernel reads it.

B lanes, n new tokens, D width, H query heads, G key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adbench_kernels.cpu.threads import share
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingStep
from adbench_kernels.transformer_step import cpu
from adbench_kernels.transformer_step.weights import BlockWeights


class Stack:
    """Views of weights and rings, and what is equal in all blocks; arguments as checked before."""

    def __init__(
        self,
        blocks: Sequence[BlockWeights[Tensor]],
        caches: Sequence[RingCache],
        window: int,
        scale: float,
        norm_first: bool,
        epsilon: float,
    ) -> None:
        first, (hidden, width) = caches[0], blocks[0].hidden_in.shape
        self._sizes = {
            "width": width,
            "heads": len(blocks[0].qkv) // first.head_dim - 2 * first.key_heads,
            "key_heads": first.key_heads,
            "head_dim": first.head_dim,
            "hidden": hidden,
            "num_blocks": first.keys.shape[2],
            "capacity": first.capacity,
            "window": window,
        }
        self._scale, self._norm_first, self._epsilon = scale, norm_first, epsilon
        self._weights = [weight for block in blocks for weight in block]
        self._blocks, self._caches = blocks, caches
        self._seen_at: list[int] = []
        self._views: list[tuple[np.ndarray, ...]] = []

    def run(self, x: Tensor, turns: Tensor, step: RingStep) -> Tensor:
        """As `TransformerStep.__call__`."""
        lanes, num_new, _ = x.shape
        size = cpu.Sizes(num_new=num_new, **self._sizes)
        out = x.detach().clone(memory_format=torch.contiguous_format)
        stream, turned = _flat(out), _flat(turns.to(torch.float32))
        length, count = _flat(step.length), _flat(step.count)
        layers = [
            (weights, (_flat(cache.keys), _flat(cache.values), length, count))
            for weights, cache in zip(self._current(), self._caches, strict=True)
        ]

        def work(first: int, end: int) -> None:
            scratch, for_query = (np.empty(n, np.float32) for n in (size.scratch, size.work))
            for weights, rings in layers:
                cpu.block(
                    stream, weights, turned, rings, tuple(size), self._scale, self._epsilon,
                    self._norm_first, first, end, scratch, for_query,
                )  # fmt: skip

        share(work, lanes)
        for cache in self._caches:
            cache.last_step = step
        return out

    def _current(self) -> list[tuple[np.ndarray, ...]]:
        """The weights' memory; a parameter may have been given another since."""
        now = [weight.data_ptr() for weight in self._weights]
        contiguous = all(weight.is_contiguous() for weight in self._weights)
        if now != self._seen_at or not contiguous:  # copies would not see what is written later
            self._views = [tuple(map(_flat, block)) for block in self._blocks]
            self._seen_at = now
        return self._views


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().view(-1).numpy()
