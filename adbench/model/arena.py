"""Tensors cut out of one stretch of memory, so that all of them reach the device in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

_ALIGNMENT = 256  # bytes: what a fresh CUDA tensor has


class Arena:
    """Named tensors that never move, and where they are on a GPU, their pinned twins on the CPU.

    Args:
        shapes: of each tensor, with its dtype.
        device: where they live.

    Attributes:
        here: the tensors, zero at first.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]], device: torch.device
    ) -> None:
        places, size = {}, 0
        for name, (shape, dtype) in shapes.items():
            end = size + math.prod(shape) * dtype.itemsize
            places[name] = (size, end, shape, dtype)
            size = -(-end // _ALIGNMENT) * _ALIGNMENT

        def cut(memory: Tensor) -> dict[str, Tensor]:
            return {
                name: memory[start:end].view(dtype).view(shape)
                for name, (start, end, shape, dtype) in places.items()
            }

        self.device = device
        self._memory = torch.zeros(size, dtype=torch.uint8, device=device)
        self.here = cut(self._memory)
        self._cut = cut
        self._host: Tensor | None = None
        self._on_host: dict[str, Tensor] = {}
        self._given_back: Tensor | None = None

    def fill(self, values: Mapping[str, Tensor | None], source: torch.device) -> None:
        """Copy values in, broadcasting; none is zero. Waits for nothing.

        Args:
            values: one for each tensor.
            source: where the values are: `device`, or the CPU.
        """
        into = self.here if source.type == self.device.type else self._pinned()
        for name, tensor in into.items():
            value = values[name]
            if value is None:
                tensor.zero_()
            else:
                tensor.copy_(value)
        if self._host is not None and into is self._on_host:
            self._memory.copy_(self._host, non_blocking=True)

    def give_back(self, x: Tensor, target: torch.device) -> Tensor:
        """A copy of a tensor on `device`, for who lives on `target`.

        To the CPU it goes through pinned memory, and the copy is waited for: all that was filled in
        has arrived then, so the pinned twins may be written again.
        """
        if target.type == x.device.type:
            return x.clone()
        if self._given_back is None:
            self._given_back = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        self._given_back.copy_(x, non_blocking=True)
        torch.cuda.current_stream(x.device).synchronize()
        return self._given_back.clone()

    def _pinned(self) -> dict[str, Tensor]:
        if self._host is None:
            self._host = torch.zeros(self._memory.shape, dtype=torch.uint8, pin_memory=True)
            self._on_host = self._cut(self._host)
        return self._on_host
