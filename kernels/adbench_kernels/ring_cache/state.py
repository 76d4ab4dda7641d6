"""Where each lane is: how many tokens it has seen, and what the newest of them see.

B lanes, C slots (capacity), n new tokens a step, W tokens in a window. Token p of a lane (counted
from its last reset) lives in slot p mod C until token p + C takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from adbench_kernels.arguments import check_tensor, usable_device, whole

MOST_SLOTS = 1 << 30
"""Kernels count slots in 32 bits."""

SLOT_BLOCK = 16
"""Slots that a CPU kernel reads at once: a cache line of float32."""


def spill_slot(capacity: int) -> int:
    """Where blocks of slots keep what is not real: the first slot of a block that is never read."""
    return -(-capacity // SLOT_BLOCK) * SLOT_BLOCK


@dataclass(frozen=True, eq=False)
class RingStep:
    """Where the new tokens of one step go and what they see; shared by all layers of a model.

    Attributes:
        length: tokens of each lane since its reset, the new ones included, int64 [B].
        count: how many of the n tokens are real, int64 [B]; the first `count` are.
        num_new: n.
        capacity: C.
    """

    length: Tensor
    count: Tensor
    num_new: int
    capacity: int
    _bias: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def token(self) -> Tensor:
        """The new tokens' numbers since the reset, int64 [B, n], also of those not real."""
        new_n = torch.arange(self.num_new, device=self.length.device)
        return (self.length - self.count)[:, None] + new_n

    @cached_property
    def slot(self) -> Tensor:
        """`token` mod C, int64 [B, n]: no two of a lane are equal."""
        return self.token.remainder(self.capacity)

    @cached_property
    def real(self) -> Tensor:
        """Which of the new tokens are real, bool [B, n]."""
        new_n = torch.arange(self.num_new, device=self.count.device)
        return new_n < self.count[:, None]

    @cached_property
    def place(self) -> tuple[Tensor, Tensor]:
        """The block of slots and the place in it where blocks keep each token, int64 [B, n] each.

        That of tokens not real is `spill_slot(C)`.
        """
        slot = self.slot.masked_fill(~self.real, spill_slot(self.capacity))
        return slot // SLOT_BLOCK, slot % SLOT_BLOCK

    def visible(self, window: int) -> Tensor:
        """Which slots each new token sees, bool [B, n, C]: the last `window` tokens up to itself.

        Tokens that are not real see nothing.
        """
        slot_C = torch.arange(self.capacity, device=self.length.device)
        newest_B1 = self.length[:, None] - 1
        # The newest token that lives in the slot; negative where there is none yet.
        token_BC = newest_B1 - (newest_B1 - slot_C).remainder(self.capacity)
        age_BnC = self.token[:, :, None] - token_BC[:, None]
        inside = (age_BnC >= 0) & (age_BnC < window) & (token_BC >= 0)[:, None]
        return inside & self.real[:, :, None]

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

    Args:
        lanes: B.
        capacity: C.
        device: where the numbers live.

    Attributes:
        length: int64 [B]; always the same memory, so that a CUDA graph may be replayed over it.
        capacity: C.

    Raises:
        ValueError: names the argument.
    """

    def __init__(self, lanes: int, capacity: int, device: torch.device | str = "cpu") -> None:
        lanes = whole("lanes", lanes, least=1)
        self.capacity = whole("capacity", capacity, least=1)
        if self.capacity > MOST_SLOTS:
            raise ValueError(f"capacity: must be at most {MOST_SLOTS} slots; got {capacity}")
        where = usable_device(device)
        self.length = torch.zeros(lanes, dtype=torch.int64, device=where)

    @property
    def lanes(self) -> int:
        """B."""
        return len(self.length)

    def advance(
        self, num_new: int, *, count: Tensor | None = None, reset: Tensor | None = None
    ) -> RingStep:
        """Make room for n tokens a lane. Reads no value of a GPU.

        Args:
            num_new: n, at most C.
            count: how many of them are real, integers [B], each 0 to n (on a GPU, where nobody may
                look, what is outside is taken as 0 or n); none: all n.
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
        else:
            count = self.checked_count(count, num_new)
        if reset is not None:
            self._check_lanes("reset", reset)
            if reset.dtype != torch.bool:
                raise ValueError(f"reset: must be bool; got {reset.dtype}")
        before = self.length if reset is None else self.length.masked_fill(reset, 0)
        # The step keeps a length of its own: it is read after the state has moved on.
        length = before + count
        self.length.copy_(length)
        return RingStep(length, count, num_new, self.capacity)

    def checked_count(self, count: Tensor, num_new: int) -> Tensor:
        """Of n tokens a lane, how many are real, int64 [B], each 0 to n.

        Args:
            count: integers [B].
            num_new: n.

        Raises:
            ValueError: names the argument.
        """
        self._check_lanes("count", count)
        if count.is_floating_point() or count.is_complex() or count.dtype == torch.bool:
            raise ValueError(f"count: must be integers; got {count.dtype}")
        count = count.to(torch.int64)
        if count.device.type != "cpu" or torch.compiler.is_compiling():
            return count.clamp(0, num_new)
        low, high = (int(x) for x in count.aminmax())
        if low < 0 or high > num_new:
            raise ValueError(f"count: must be 0 to {num_new}, the new tokens; got {low} to {high}")
        return count

    def _check_lanes(self, name: str, value: Tensor) -> None:
        check_tensor(name, value)
        if value.shape != self.length.shape:
            raise ValueError(f"{name}: must be [{self.lanes}]; got {list(value.shape)}")
        if value.device != self.length.device:
            raise ValueError(f"{name}: must be on {self.length.device}; got {value.device}")

    def clear(self) -> None:
        """Let every lane forget everything, in place."""
        self.length.zero_()
