"""What the kernel tests share: the definition spelt out query by query, and how to compare.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Definition = Callable[..., tuple[Tensor, Tensor]]
Agree = Callable[..., None]

FLOAT64_ERROR = 1e-9
"""Of values of order 1: two hundred sums of rounding errors of 1e-16 stay far below it."""


def _definition(
    q: Tensor, k: Tensor, v: Tensor, sees: Callable[[int, int, int], bool], scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax over exactly the keys that a query sees, one query at a time."""
    batch, queries, heads, _ = q.shape
    groups = heads // k.shape[2]
    out, lse = [], []
    for b in range(batch):
        for i in range(queries):
            seen = [j for j in range(k.shape[1]) if sees(b, i, j)]
            for h in range(heads):
                scores = (k[b, seen, h // groups] @ q[b, i, h]) * scale
                out.append(torch.softmax(scores, 0) @ v[b, seen, h // groups])
                lse.append(torch.logsumexp(scores, 0))
    return (
        torch.stack(out).view(q.shape),
        torch.stack(lse).view(batch, queries, heads).transpose(1, 2),
    )


def _agree(actual: Tensor, expected: Tensor, *, error: float = FLOAT64_ERROR) -> None:
    """Fail unless shapes are equal and no number is off by more than `error`; NaN is off."""
    assert actual.shape == expected.shape
    worst = (actual.double() - expected.double()).abs().nan_to_num(torch.inf, torch.inf)
    # Two equal infinities are no difference (their difference is NaN).
    worst = worst.masked_fill(actual.double() == expected.double(), 0.0)
    assert worst.max() <= error, f"off by {worst.max():.3g}, at most {error:.3g} is allowed"


@pytest.fixture(scope="session")
def definition() -> Definition:
    return _definition


@pytest.fixture(scope="session")
def agree() -> Agree:
    return _agree


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    """Standard normal tensors from a generator of this test's own."""
    source = torch.Generator().manual_seed(0)

    def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)

    return numbers
