"""The definition: the blocks one after the other, each with its ring. Any dtype, any device.

B lanes, n new tokens, D width, H query heads, G key heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from adbench_kernels.ring_cache import reference as ring_reference
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingStep
from adbench_kernels.rotary_attention.turns import rotate
from adbench_kernels.transformer_step.weights import BlockWeights


def transformer_step(
    x: Tensor,
    blocks: Sequence[BlockWeights[Tensor]],
    caches: Sequence[RingCache],
    step: RingStep,
    turns: Tensor,
    window: int,
    scale: float,
    norm_first: bool,
    epsilon: float,
) -> Tensor:
    """As the public function, [B, n, D]."""

    def normal(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weight, bias, epsilon)

    for block, cache in zip(blocks, caches, strict=True):
        attention_norm = (block.attention_norm, block.attention_norm_bias)
        hidden_norm = (block.hidden_norm, block.hidden_norm_bias)

        def network(x: Tensor, block: BlockWeights[Tensor] = block) -> Tensor:
            hidden = F.gelu(F.linear(x, block.hidden_in, block.hidden_in_bias))
            return F.linear(hidden, block.hidden_out, block.hidden_out_bias)

        if norm_first:
            x = x + _attention(normal(x, *attention_norm), block, cache, step, turns, window, scale)
            x = x + network(normal(x, *hidden_norm))
        else:
            seen = _attention(x, block, cache, step, turns, window, scale)
            x = normal(x + seen, *attention_norm)
            x = normal(x + network(x), *hidden_norm)
    return x


def _attention(
    x: Tensor,
    block: BlockWeights[Tensor],
    cache: RingCache,
    step: RingStep,
    turns: Tensor,
    window: int,
    scale: float,
) -> Tensor:
    qkv = F.linear(x, block.qkv)
    qkv = qkv.view(*x.shape[:2], -1, cache.head_dim)
    num_turned = qkv.shape[2] - cache.key_heads
    turned = rotate(qkv[:, :, :num_turned], turns)
    q, k = turned[:, :, : -cache.key_heads], turned[:, :, -cache.key_heads :]
    cache.write(k, qkv[:, :, num_turned:], step)
    seen = ring_reference.ring_attention(q, cache, step, window, scale)
    return F.linear(seen.flatten(2), block.attention_out)
