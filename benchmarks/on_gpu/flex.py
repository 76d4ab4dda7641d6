"""torch's FlexAttention, compiled on a GPU, with the masks that it is timed with."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from benchmarks.on_gpu import masks
from benchmarks.on_gpu.card import Card


def attend(
    mask: str, length: int, scale: float, card: Card
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Attention of [B, T, H, D] under a mask of a length, "causal" or "window"."""
    window = 20 if card.smoke else masks.WINDOW

    def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return k <= q

    def windowed(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (k > q - window)

    which = causal if mask == "causal" else windowed
    # Causal queries and keys are as many: [T, T] in blocks.
    blocks = create_block_mask(which, None, None, length, length, device=str(card.device))
    run = _compiled(mask, length) if card.on_gpu else flex_attention

    def attend_there(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        out: Tensor = run(q, k, v, block_mask=blocks, scale=scale)
        return out.transpose(1, 2)

    return attend_there


@lru_cache(maxsize=1)
def _compiled(mask: str, length: int) -> Any:
    """Compiled for one mask and length; forgotten at the next, as dynamo's limits would refuse."""
    torch._dynamo.reset()
    return torch.compile(flex_attention, dynamic=False)
