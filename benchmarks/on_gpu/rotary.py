"""Part of the attention section: positions turned inside the kernel, or before SDPA.

Causal, forward and backward, from one packed projection [B, T, 3 H, D] to its gradient; sizes as in
`attention.py`. "sdpa-..." turns queries and keys in a pass of its own. What is fastest here at a
width and a bucket of lengths is what "auto" takes, once `python -m benchmarks.tune --choices` has
written it into the table.

B rows, T tokens, H heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from adbench_kernels import rotary_attention, rotary_turns
from adbench_kernels.flops import visible_pairs
from benchmarks.on_gpu import attention
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work
from benchmarks.on_gpu.exact import errors, exact_dtype

LENGTHS, HEAD_DIMS = (1024, 4096, 256, 16_384, 64), (32, 16, 64, 128)


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """A case for each length, width and way.

    Args:
        smoke: a few tiny ones.
        on_gpu: ours is "triton" there, and "auto" on a CPU.
    """
    torchs = ("sdpa-math",) if smoke else ("sdpa-cudnn", "sdpa-flash")
    ways = ("triton", *torchs, "auto") if on_gpu else ("auto", *torchs)
    found = []
    for length in (48,) if smoke else LENGTHS:
        for head_dim in (16,) if smoke else HEAD_DIMS:
            for name in ways:
                key: dict[str, str | int] = {
                    "op": "rotary_attention", "mode": "both", "mask": "causal", "T": length,
                    "D": head_dim, "implementation": name,
                }  # fmt: skip
                ready = partial(prepare, length=length, head_dim=head_dim, name=name)
                found.append(Case(key, ready, "choice" if name == "auto" else "kernels"))
    return found


@lru_cache(maxsize=1)
def _inputs(card: Card, length: int, head_dim: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Packed projections and gradients."""
    tokens, width = (96, 32) if card.smoke else (attention.TOKENS, attention.WIDTH)
    dtype = torch.bfloat16 if card.on_gpu else torch.float32
    batch, heads = max(1, tokens // length), width // head_dim
    return tuple(
        (
            card.normal(batch, length, 3 * heads, head_dim, seed=seed, dtype=dtype),
            card.normal(batch, length, heads, head_dim, seed=1000 + seed, dtype=dtype),
        )
        for seed in range(card.sets(8.0 * batch * length * width))
    )


def _both(packed: Tensor, turns: Tensor, grad: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Output, and the gradient of the projection."""
    ways: Any = {"implementation": name}
    with attention.refused_by_torch():
        out = rotary_attention(packed, turns, **ways)
    return out, torch.autograd.grad(out, packed, grad)[0]


def prepare(card: Card, length: int, head_dim: int, name: str) -> Work:
    """Rotary attention, forward and backward, made ready.

    Args:
        card: on which.
        length: T.
        head_dim: D.
        name: of the implementation.
    """
    sets = _inputs(card, length, head_dim)
    positions = torch.arange(length, device=card.device)
    turns = rotary_turns(positions, head_dim, torch.float32)

    def check() -> Mapping[str, float]:
        packed, grad = sets[0]
        heads = grad.shape[2]
        mine = [heads - 1, 2 * heads - 1, 3 * heads - 1]  # of the last head
        out, slope = _both(packed.detach().requires_grad_(), turns, grad, name)
        found = [out[-1, :, -1], slope[-1, :, mine]]

        def define(dtype: torch.dtype) -> list[Tensor]:
            one = packed[-1:, :, mine].to(dtype).requires_grad_()
            wide = torch.promote_types(dtype, torch.float32)
            turned = rotary_turns(positions, head_dim, wide)
            out, slope = _both(one, turned, grad[-1:, :, -1:].to(dtype), "reference")
            return [out[0, :, 0], slope[0]]

        exact = define(exact_dtype(packed.dtype))
        return errors(found, exact, define(packed.dtype), ("out", "dqkv"))

    def call(packed: Tensor, grad: Tensor) -> Callable[[], object]:
        leaf = packed.detach().requires_grad_()
        return lambda: _both(leaf, turns, grad, name)

    packed, grad = sets[0]
    elements = float(visible_pairs(length, length, width=length) * len(packed) * grad.shape[2])
    moved = float((2 * packed.numel() + 2 * grad.numel()) * packed.element_size())
    flops = (attention.FORWARD_FLOPS + attention.BACKWARD_FLOPS) * head_dim * elements
    return Work([call(*pair) for pair in sets], check, flops, moved, elements)
