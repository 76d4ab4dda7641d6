"""What learners lived through, kept in rings and drawn again as stretches of time.

M learners with A actors each, N = M * A lanes, T steps a stretch, R stretches a learner, C capacity
in steps of a lane.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Replay:
    """The last steps of N lanes, by field.

    Args:
        capacity: C.
        lanes: N.
        device: where they are kept.
    """

    def __init__(self, capacity: int, lanes: int, device: torch.device) -> None:
        self.capacity = capacity
        self.steps = 0
        self._lanes = lanes
        self._device = device
        self._fields: dict[str, Tensor] = {}

    def append(self, fields: dict[str, Tensor]) -> None:
        """Keep one step of every lane; each field is [N, ...], and the same ones every time."""
        at = self.steps % self.capacity
        for name, value in fields.items():
            if name not in self._fields:
                shape = (self.capacity, self._lanes, *value.shape[1:])
                self._fields[name] = torch.zeros(shape, dtype=value.dtype, device=self._device)
            self._fields[name][at] = value
        self.steps += 1

    def stretches(self, length: int, stride: int) -> int:
        """How many stretches of `length` steps can be drawn, each `stride` after the one before;
        the newest ends now."""
        kept = min(self.steps, self.capacity)
        return 0 if kept < length else (kept - length) // stride + 1

    def draw(self, back: Tensor, lane: Tensor, length: int, stride: int) -> dict[str, Tensor]:
        """Stretches by field, [T, *back.shape, ...].

        Args:
            back: how many strides before the newest each stretch is, int64.
            lane: whose it is, int64, as many.
            length: T.
            stride: steps from one stretch to the next.
        """
        first = self.steps - length - back * stride
        at = first + torch.arange(length, device=back.device).view(-1, *[1] * back.ndim)
        at = at % self.capacity
        return {name: kept[at, lane.expand_as(at)] for name, kept in self._fields.items()}
