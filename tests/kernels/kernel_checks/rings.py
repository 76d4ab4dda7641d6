"""What the tests of the ring's kernels share: a lane's past kept in plain lists, in float64.

B lanes, n new tokens a step, H query heads, G key heads, D head width, W window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adbench_kernels import Intervals, attention, rotary_turns, rotate


@dataclass(frozen=True)
class NewTokens:
    """What one step brings.

    Attributes:
        q: [B, n, H, D].
        k: [B, n, G, D].
        v: [B, n, G, D].
        count: how many of the n are real, int32 [B].
        reset: lanes that forget everything first, bool [B].
    """

    q: Tensor
    k: Tensor
    v: Tensor
    count: Tensor
    reset: Tensor


def steps(
    number: int,
    *,
    lanes: int,
    new: int,
    heads: int,
    key_heads: int,
    width: int,
    dtype: torch.dtype,
    resets: float,
    seed: int = 0,
) -> Iterator[NewTokens]:
    """Random steps in which lanes wait, bring fewer tokens than others, and reset at any time.

    Lane 0 never resets and always brings all n, so that a ring surely wraps.
    """
    draw = torch.Generator().manual_seed(seed)
    for _ in range(number):
        q = torch.randn(lanes, new, heads, width, generator=draw).to(dtype)
        # Cut out of one projection, as a model's are: with its strides.
        kv = torch.randn(lanes, new, 2 * key_heads, width, generator=draw).to(dtype)
        count = torch.randint(0, new + 1, (lanes,), generator=draw, dtype=torch.int32)
        reset = torch.rand(lanes, generator=draw) < resets
        count[0], reset[0] = new, False
        k, v = kv.chunk(2, 2)
        yield NewTokens(q, k, v, count, reset)


class Past:
    """All that each lane has seen since its reset, attended to in one banded pass in float64.

    Args:
        window: W.
        lanes: B.
        turned: whether queries and keys are turned by their positions.
    """

    def __init__(self, window: int, lanes: int, *, turned: bool = False) -> None:
        self.window, self.turned = window, turned
        self.tokens: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(lanes)]

    @property
    def longest(self) -> int:
        """Tokens that the longest lane has seen."""
        return max(len(seen) for seen in self.tokens)

    def take(self, new: NewTokens) -> None:
        """Remember a step."""
        for lane, seen in enumerate(self.tokens):
            if new.reset[lane]:
                seen.clear()
            real = int(new.count[lane])
            parts = (x[lane, :real].double() for x in (new.q, new.k, new.v))
            seen.extend(zip(*parts, strict=True))

    def attend(self, new: NewTokens) -> Tensor:
        """What the tokens of the last step see; float64 [B, n, H, D], 0 where they are not real."""
        out = torch.zeros(new.q.shape, dtype=torch.float64)
        for lane, seen in enumerate(self.tokens):
            if real := int(new.count[lane]):
                out[lane, :real] = self._banded(seen)[-real:]
        return out

    def _banded(self, seen: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        q, k, v = (torch.stack(part)[None] for part in zip(*seen, strict=True))
        if self.turned:
            turns = rotary_turns(torch.arange(len(seen)), q.shape[-1], torch.float64)[None]
            q, k = rotate(q, turns), rotate(k, turns)
        band = Intervals.window(self.window)
        return attention(q, k, v, intervals=band, implementation="reference")[0]
