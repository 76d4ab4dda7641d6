"""A ring of keys and values per lane: one layer's memory of the last tokens.

B lanes, C slots (capacity), G key heads, D head width, n new tokens a step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from adbench_kernels.arguments import FLOATING, usable_device, whole
from adbench_kernels.ring_cache.state import RingState, RingStep
from adbench_kernels.ring_cache.storage import LAYOUTS, STORAGE, Layout


class RingCache:
    """Keys and values of one layer; a window of W tokens needs capacity >= W + n - 1.

    Args:
        lanes: B.
        capacity: C.
        key_heads: G.
        head_dim: D.
        dtype: of keys and values; float64, float32, float16 or bfloat16.
        device: where they live.
        state: bookkeeping shared with other layers; none: one of its own.
        layout: how slots lie in memory. "slots" is [B, G, C, D], what "triton" reads; "blocks" is
            [B, G, blocks, D, 16], what "numba" reads; "auto": blocks on the CPU, else slots.

    Attributes:
        keys: laid out as `layout` says.
        values: the same.
        layout: "slots" or "blocks".
        state: the bookkeeping.
        last_step: what `ring_append` last did.

    Raises:
        ValueError: names the argument.
    """

    def __init__(
        self,
        lanes: int,
        capacity: int,
        key_heads: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        *,
        state: RingState | None = None,
        layout: Literal["auto"] | Layout = "auto",
    ) -> None:
        key_heads = whole("key_heads", key_heads, least=1)
        head_dim = whole("head_dim", head_dim, least=1)
        if dtype not in FLOATING:
            known = ", ".join(str(dtype) for dtype in FLOATING)
            raise ValueError(f"dtype: must be floating ({known}); got {dtype}")
        device = usable_device(device)
        if layout == "auto":
            layout = "blocks" if device.type == "cpu" else "slots"
        if layout not in LAYOUTS:
            raise ValueError(f"layout: must be auto, {' or '.join(LAYOUTS)}; got {layout!r}")
        if state is None:
            state = RingState(lanes, capacity, device)
        elif (state.lanes, state.capacity) != (lanes, capacity):
            raise ValueError(
                f"state: made for {state.lanes} lanes of capacity {state.capacity}; "
                f"got {lanes} of {capacity}"
            )
        if state.length.device != device:
            raise ValueError(f"state: must be on {device}, as the cache; got {state.length.device}")
        self.state = state
        self.layout: Layout = layout
        self.key_heads, self.head_dim = key_heads, head_dim
        self.last_step: RingStep | None = None
        self._storage = STORAGE[layout](
            state.lanes, state.capacity, key_heads, head_dim, dtype, device
        )

    @property
    def keys(self) -> Tensor:
        """Keys, laid out as `layout` says."""
        return self._storage.keys

    @property
    def values(self) -> Tensor:
        """Values, laid out as `layout` says."""
        return self._storage.values

    @property
    def lanes(self) -> int:
        """B."""
        return self.state.lanes

    @property
    def capacity(self) -> int:
        """C."""
        return self.state.capacity

    def write(self, k: Tensor, v: Tensor, step: RingStep) -> None:
        """Put new keys and values [B, n, G, D] into their slots."""
        self._storage.write(k, v, step)
        self.last_step = step

    def by_slot(self) -> tuple[Tensor, Tensor]:
        """Keys and values in the order of slots, [B, G, C, D] each."""
        return self._storage.by_slot()
