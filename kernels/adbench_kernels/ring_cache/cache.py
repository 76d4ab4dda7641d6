"""A ring of keys and values per lane, and the bookkeeping of what is where in it.

B lanes, C slots (capacity), G key heads, D head width, n new tokens a step. Token p of a lane
(counted from its last reset) lives in slot p mod C until token p + C takes its place. Slots are
laid out in whole blocks of sixteen, and one block more: what is not to be kept goes there, so that
a lane may wait without anybody having to look which ones do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

SLOT_BLOCK = 16
"""Slots that a CPU kernel reads at once: a cache line of float32."""


def spill_slot(capacity: int) -> int:
    """Where tokens go that are not real: the first slot of a block that is never read."""
    return -(-capacity // SLOT_BLOCK) * SLOT_BLOCK


@dataclass(frozen=True, eq=False)
class RingStep:
    """Where the new tokens of one step go and what they see; shared by all layers of a model.

    Attributes:
        length: tokens of each lane since its reset, the new ones included, int64 [B].
        count: how many of the n tokens are real, int64 [B]; the first `count` are.
        slot: where each goes, int64 [B, n]; `spill_slot(C)` for those that are not real.
        capacity: C.
    """

    length: Tensor
    count: Tensor
    slot: Tensor
    capacity: int
    _bias: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    @property
    def num_new(self) -> int:
        """n."""
        return self.slot.shape[1]

    @cached_property
    def place(self) -> tuple[Tensor, Tensor]:
        """`slot` as a block of slots and a place within it, int64 [B, n] each."""
        return self.slot // SLOT_BLOCK, self.slot % SLOT_BLOCK

    def visible(self, window: int) -> Tensor:
        """Which slots each new token sees, bool [B, n, C]: the last `window` tokens up to itself.

        Tokens that are not real see nothing.
        """
        device = self.slot.device
        slot_C = torch.arange(self.capacity, device=device)
        newest_B1 = self.length[:, None] - 1
        # The newest token that lives in the slot; negative where there is none yet.
        token_BC = newest_B1 - (newest_B1 - slot_C).remainder(self.capacity)
        new_n = torch.arange(self.num_new, device=device)
        token_Bn = (self.length - self.count)[:, None] + new_n
        real_Bn = new_n < self.count[:, None]
        age_BnC = token_Bn[:, :, None] - token_BC[:, None]
        inside = (age_BnC >= 0) & (age_BnC < window) & (token_BC >= 0)[:, None]
        return inside & real_Bn[:, :, None]

    def bias(self, window: int, dtype: torch.dtype) -> Tensor:
        """`visible` as 0 and -inf, [B, n, C]; made once a step for all layers."""
        key = (window, dtype)
        if key not in self._bias:
            seen = self.visible(window)
            zeros = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            self._bias[key] = zeros.masked_fill_(~seen, -torch.inf)
        return self._bias[key]


class RingState:
    """How many tokens each lane has seen since its reset; one for all layers of a model.

    Attributes:
        length: int64 [B].
        capacity: C.
    """

    def __init__(self, lanes: int, capacity: int, device: torch.device | str = "cpu") -> None:
        for name, value in (("lanes", lanes), ("capacity", capacity)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1; got {value}")
        self.length = torch.zeros(lanes, dtype=torch.int64, device=device)
        self.capacity = capacity

    @property
    def lanes(self) -> int:
        """B."""
        return len(self.length)

    def advance(
        self, num_new: int, *, count: Tensor | None = None, reset: Tensor | None = None
    ) -> RingStep:
        """Make room for n tokens a lane. Reads no device value.

        Args:
            num_new: n, at most C.
            count: how many of them are real, integers [B], each 0 to n; none: all n.
            reset: lanes that forget everything before them, bool [B]; none: no lane.

        Raises:
            ValueError: names the argument.
        """
        if not 1 <= num_new <= self.capacity:
            raise ValueError(
                f"k: {num_new} new tokens; the ring takes 1 to {self.capacity} (its capacity)"
            )
        if count is None:
            count = torch.full_like(self.length, num_new)
        for name, value in (("count", count), ("reset", reset)):
            if value is not None and value.shape != self.length.shape:
                raise ValueError(f"{name}: must be [{self.lanes}]; got {list(value.shape)}")
        count = count.to(torch.int64)
        before = self.length if reset is None else self.length.masked_fill(reset, 0)
        new_n = torch.arange(num_new, device=self.length.device)
        slot_Bn = (before[:, None] + new_n).remainder(self.capacity)
        slot_Bn = slot_Bn.masked_fill(new_n >= count[:, None], spill_slot(self.capacity))
        self.length = before + count
        return RingStep(self.length, count, slot_Bn, self.capacity)


class RingCache:
    """Keys and values of one layer; a window of W tokens needs capacity >= W + n - 1.

    Attributes:
        keys: [B, G, blocks, D, 16]: slot s is the s % 16-th of block s // 16.
        values: the same.
        state: bookkeeping, its own or shared with other layers.
        last_step: what `ring_append` last did.
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
    ) -> None:
        for name, value in (("key_heads", key_heads), ("head_dim", head_dim)):
            if value < 1:
                raise ValueError(f"{name}: must be at least 1; got {value}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype: must be floating; got {dtype}")
        if state is None:
            state = RingState(lanes, capacity, device)
        elif (state.lanes, state.capacity) != (lanes, capacity):
            raise ValueError(
                f"state: made for {state.lanes} lanes of capacity {state.capacity}; "
                f"got {lanes} of {capacity}"
            )
        self.state = state
        self.last_step: RingStep | None = None
        # Zeros, not empty: an unwritten slot has weight 0, and 0 * NaN would be NaN.
        blocks = spill_slot(capacity) // SLOT_BLOCK + 1
        shape = (lanes, key_heads, blocks, head_dim, SLOT_BLOCK)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self._lane = torch.arange(lanes, device=device)[:, None]

    @property
    def capacity(self) -> int:
        """C."""
        return self.state.capacity

    def write(self, k: Tensor, v: Tensor, step: RingStep) -> None:
        """Put new keys and values [B, n, G, D] into their slots."""
        block, within = step.place
        self.keys[self._lane, :, block, :, within] = k.to(self.keys.dtype)
        self.values[self._lane, :, block, :, within] = v.to(self.values.dtype)
        self.last_step = step

    def by_slot(self) -> tuple[Tensor, Tensor]:
        """Keys and values in the order of slots, [B, G, C, D] each (copies)."""
        kept = slice(0, self.capacity)
        k, v = (x.transpose(-1, -2).flatten(2, 3)[:, :, kept] for x in (self.keys, self.values))
        return k, v
