"""Attention as training and acting use it, beside torch's own.

    pytest benchmarks/bench_kernels.py

Sizes are those of the quick preset: 32 rows of 840 tokens, 4 heads of 16, a window of 420; acting
with 96 lanes and a ring that has wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from adbench_kernels import Intervals, RingCache, attention, ring_append, ring_attention

ROWS, TOKENS, HEADS, WIDTH = 32, 840, 4, 16
LANES, WINDOW = 96, 420
FLOAT32_ERROR = 1e-4

Tell = Callable[..., None]


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("window", [200, 420, 840])
@pytest.mark.parametrize("way", ["auto", "blocked", "sdpa-flash", "sdpa-math"])
def test_forward_and_backward(
    benchmark: BenchmarkFixture, tell: Tell, way: Any, window: int
) -> None:
    q, k, v = (_normal(ROWS, TOKENS, HEADS, WIDTH).requires_grad_() for _ in range(3))
    intervals = Intervals.window(window)
    grad = _normal(ROWS, TOKENS, HEADS, WIDTH)

    def update() -> tuple[Tensor, ...]:
        out = attention(q, k, v, intervals=intervals, implementation=way)
        return out, *torch.autograd.grad(out, (q, k, v), grad)

    row = slice(0, 1)
    exact = attention(q[row].double(), k[row].double(), v[row].double(), intervals=intervals)
    assert (update()[0][row] - exact).abs().max() < FLOAT32_ERROR, "wrong: not timed"
    benchmark.pedantic(update, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    tell(ROWS * TOKENS, "tokens", rows=ROWS, tokens=TOKENS, heads=HEADS, width=WIDTH, window=window)


@pytest.mark.parametrize("way", ["numba", "reference"])
def test_ring_step(benchmark: BenchmarkFixture, tell: Tell, way: Any) -> None:
    cache = RingCache(LANES, WINDOW, HEADS, WIDTH)
    exact = RingCache(LANES, WINDOW, HEADS, WIDTH, torch.float64)
    new = _normal(LANES, 1, HEADS, WIDTH)
    for token in range(WINDOW + 50):
        k, v = new.roll(token, 3), new.roll(token + 1, 0)
        ring_append(cache, k, v)
        ring_append(exact, k, v)

    def step() -> Tensor:
        ring_append(cache, k, v)
        return ring_attention(new, cache, window=WINDOW, implementation=way)

    ring_append(exact, k, v)
    right = ring_attention(new.double(), exact, window=WINDOW, implementation="reference")
    assert (step() - right).abs().max() < FLOAT32_ERROR, "wrong: not timed"
    benchmark.pedantic(step, rounds=200, warmup_rounds=20)  # type: ignore[no-untyped-call]
    tell(LANES, "lane_steps", lanes=LANES, window=WINDOW, heads=HEADS, width=WIDTH)
