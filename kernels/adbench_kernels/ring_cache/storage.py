"""How keys or values of one layer lie in memory: as who reads them likes it.

B lanes, C slots, G key heads, D head width, n new tokens.

    slots   [B, G, C, D]: a slot's numbers side by side, as a GPU reads them
    blocks  [B, G, blocks, D, 16]: sixteen slots' first numbers side by side, then their second, as
            the vector units of a CPU read them. There is one block more than C slots fill: what is
            not to be kept goes there, so that a lane may wait without a look at which ones do
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor

from adbench_kernels.ring_cache.state import SLOT_BLOCK, RingStep, spill_slot

Layout = Literal["slots", "blocks"]
LAYOUTS: tuple[str, ...] = get_args(Layout)


class Storage(ABC):
    """Keys and values of one layer.

    Attributes:
        keys: laid out as the module says.
        values: the same.
    """

    keys: Tensor
    values: Tensor

    def write(self, k: Tensor, v: Tensor, step: RingStep) -> None:
        """Put the real ones of new keys and values, [B, n, G, D] each, into their slots."""
        for kept, new in ((self.keys, k), (self.values, v)):
            self._write(kept, new.to(kept.dtype), step)

    @abstractmethod
    def _write(self, kept: Tensor, new: Tensor, step: RingStep) -> None: ...

    @abstractmethod
    def by_slot(self) -> tuple[Tensor, Tensor]:
        """Keys and values in the order of slots, [B, G, C, D] each."""


class Slots(Storage):
    """Slot after slot.

    Args:
        lanes: B.
        capacity: C.
        key_heads: G.
        head_dim: D.
        dtype: of keys and values.
        device: where they live.
    """

    def __init__(
        self,
        lanes: int,
        capacity: int,
        key_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        shape = (lanes, key_heads, capacity, head_dim)
        # Zeros, not empty: in the definition an unwritten slot has weight 0, and 0 * NaN is NaN.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    def _write(self, kept: Tensor, new: Tensor, step: RingStep) -> None:
        new_BGnD = new.transpose(1, 2)
        slot_BGnD = step.slot[:, None, :, None].expand_as(new_BGnD)
        # What is not real writes back what it finds: no two tokens of a lane have the same slot.
        old_BGnD = kept.gather(2, slot_BGnD)
        real_B1n1 = step.real[:, None, :, None]
        kept.scatter_(2, slot_BGnD, torch.where(real_B1n1, new_BGnD, old_BGnD))

    def by_slot(self) -> tuple[Tensor, Tensor]:
        """Keys and values in the order of slots, [B, G, C, D] each (not copied)."""
        return self.keys, self.values


class SlotBlocks(Storage):
    """Blocks of sixteen slots; arguments as of `Slots`."""

    def __init__(
        self,
        lanes: int,
        capacity: int,
        key_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.capacity = capacity
        blocks = spill_slot(capacity) // SLOT_BLOCK + 1
        shape = (lanes, key_heads, blocks, head_dim, SLOT_BLOCK)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self._lane = torch.arange(lanes, device=device)[:, None]

    def _write(self, kept: Tensor, new: Tensor, step: RingStep) -> None:
        block, within = step.place
        kept[self._lane, :, block, :, within] = new

    def by_slot(self) -> tuple[Tensor, Tensor]:
        """Keys and values in the order of slots, [B, G, C, D] each (copies)."""
        kept = slice(0, self.capacity)
        k, v = (x.transpose(-1, -2).flatten(2, 3)[:, :, kept] for x in (self.keys, self.values))
        return k, v


STORAGE: dict[str, type[Slots] | type[SlotBlocks]] = {"slots": Slots, "blocks": SlotBlocks}
