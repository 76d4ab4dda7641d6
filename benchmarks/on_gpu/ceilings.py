"""The ceilings section: what the memory and the matrix units give, through torch, on this card."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work, WrongResultError
from benchmarks.on_gpu.exact import relative

ABOUT = "copy bandwidth and bfloat16 matrix product: what the others are held against"

COPY_MIB = (256, 1024, 4096)
MATMUL = (4096, 8192, 16_384)
BFLOAT16_ERROR = 2.0**-8
"""Of a product whose sums are float32 and whose outcome is rounded to 8 bits; inputs are exact."""


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Copies of some sizes, square products of some sizes.

    Args:
        smoke: tiny ones.
        on_gpu: unused; both run anywhere.
    """
    copies, products = ((1,), (64,)) if smoke else (COPY_MIB, MATMUL)
    return [
        *(Case({"op": "copy", "MiB": mib}, partial(_copy, mib=mib), "") for mib in copies),
        *(Case({"op": "matmul", "size": n}, partial(_matmul, size=n), "") for n in products),
    ]


def _copy(card: Card, mib: int) -> Work:
    count = mib * 2**20
    pairs = []
    for seed in range(2):
        source = torch.randint(
            256, (count,), dtype=torch.uint8, device=card.device, generator=card.generator(seed)
        )
        pairs.append((torch.empty_like(source), source))

    def check() -> Mapping[str, float]:
        target, source = pairs[0]
        target.copy_(source)
        if not torch.equal(target, source):
            raise WrongResultError("a copy differs from its source")
        return {}

    return Work(
        [partial(target.copy_, source) for target, source in pairs], check, bytes=2.0 * count
    )


def _matmul(card: Card, size: int) -> Work:
    a, b = (card.normal(size, size, seed=seed, dtype=torch.bfloat16) for seed in (0, 1))
    # Left operands take turns: 8192 x 8192 alone is more than the cache holds.
    left = [a, a.roll(1, 0)]

    def check() -> Mapping[str, float]:
        error = relative((a @ b)[:16], a[:16].float() @ b.float())
        if not error <= BFLOAT16_ERROR:
            raise WrongResultError(f"off by {error:.3g}; {BFLOAT16_ERROR:.3g} is allowed")
        return {"error": error}

    moved = 3.0 * 2 * size * size
    return Work(
        [partial(torch.matmul, x, b) for x in left], check, flops=2.0 * size**3, bytes=moved
    )
