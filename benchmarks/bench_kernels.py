"""Attention as training and acting use it, beside torch's own, on the CPU and on a GPU.

    pytest benchmarks/bench_kernels.py

On the CPU sizes are those of the quick preset: 32 rows of 840 tokens, 4 heads of 16, a window of
420; acting with 96 lanes and a ring that has wrapped. On a GPU, in bfloat16, ten times as many. The
full grid of lengths, widths and masks on a GPU is `make bench-gpu`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from adbench_kernels import (
    Intervals,
    RingCache,
    attention,
    patch_embed,
    ring_append,
    ring_attention,
)

ROWS, TOKENS, HEADS, WIDTH = 32, 840, 4, 16
LANES, WINDOW = 96, 420
FRAMES, PATCH, EMBEDDING = 64, 8, 64
GPU_TIMES = 10
FLOAT32_ERROR = 1e-4
BFLOAT16_ERROR = 0.05
"""Of values of order 1: a few roundings of 2^-8."""

Tell = Callable[..., None]
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


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


def _patches(way: Any, count: int, device: str, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Embed frames of 64 x 64 and give the weight's gradient."""
    source = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (count, 64, 64, 3), dtype=torch.uint8, generator=source)
    weight = _normal(EMBEDDING, PATCH * PATCH * 3).to(device, dtype).requires_grad_()
    grad = _normal(count, (64 // PATCH) ** 2, EMBEDDING).to(device, dtype)
    there = frames.to(device)

    def update() -> Tensor:
        out = patch_embed(there, weight, patch=PATCH, implementation=way)
        return torch.autograd.grad(out, weight, grad)[0]

    return update


@pytest.mark.parametrize("way", ["auto", "reference"])
def test_patch_embedding(benchmark: BenchmarkFixture, tell: Tell, way: Any) -> None:
    update = _patches(way, FRAMES, "cpu", torch.float32)
    right = _patches("reference", FRAMES, "cpu", torch.float64)()
    assert (update() - right).norm() < FLOAT32_ERROR * right.norm(), "wrong: not timed"
    benchmark.pedantic(update, rounds=20, warmup_rounds=2)  # type: ignore[no-untyped-call]
    tell(FRAMES, "frames", frames=FRAMES, patch=PATCH, embedding=EMBEDDING)


@on_a_gpu
@pytest.mark.parametrize("window", [200, 840])
@pytest.mark.parametrize("way", ["auto", "triton", "sdpa-efficient"])
def test_forward_and_backward_on_a_gpu(
    synchronised: BenchmarkFixture, tell: Tell, way: Any, window: int
) -> None:
    shape = (GPU_TIMES * ROWS, TOKENS, HEADS, WIDTH)
    q, k, v = (_normal(*shape).to("cuda", torch.bfloat16).requires_grad_() for _ in range(3))
    intervals = Intervals.window(window)
    grad = _normal(*shape).to("cuda", torch.bfloat16)

    def update() -> tuple[Tensor, ...]:
        out = attention(q, k, v, intervals=intervals, implementation=way)
        return out, *torch.autograd.grad(out, (q, k, v), grad)

    one = [x[:1].double() for x in (q, k, v)]
    exact = attention(*one, intervals=intervals, implementation="reference")
    assert (update()[0][:1] - exact).abs().max() < BFLOAT16_ERROR, "wrong: not timed"
    synchronised.pedantic(update, rounds=20, warmup_rounds=3)  # type: ignore[no-untyped-call]
    tell(shape[0] * TOKENS, "tokens", rows=shape[0], tokens=TOKENS, heads=HEADS, width=WIDTH,
         window=window)  # fmt: skip


@on_a_gpu
@pytest.mark.parametrize("way", ["triton", "reference"])
def test_ring_step_on_a_gpu(synchronised: BenchmarkFixture, tell: Tell, way: Any) -> None:
    lanes = GPU_TIMES * LANES
    caches = {
        dtype: RingCache(lanes, WINDOW, HEADS, WIDTH, dtype, "cuda")
        for dtype in (torch.bfloat16, torch.float64)
    }
    new = _normal(lanes, 1, HEADS, WIDTH).to("cuda", torch.bfloat16)
    for token in range(WINDOW + 50):
        for dtype, cache in caches.items():
            k, v = new.roll(token, 3).to(dtype), new.roll(token + 1, 0).to(dtype)
            ring_append(cache, k, v, implementation="reference")
    k, v = new, new.roll(1, 0)

    def step(of: Any = way, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        cache = caches[dtype]
        ring_append(cache, k.to(dtype), v.to(dtype), implementation=of)
        return ring_attention(new.to(dtype), cache, window=WINDOW, implementation=of)

    right = step("reference", torch.float64)
    assert (step() - right).abs().max() < BFLOAT16_ERROR, "wrong: not timed"
    synchronised.pedantic(step, rounds=200, warmup_rounds=20)  # type: ignore[no-untyped-call]
    tell(lanes, "lane_steps", lanes=lanes, window=WINDOW, heads=HEADS, width=WIDTH)


@on_a_gpu
@pytest.mark.parametrize("way", ["triton", "reference"])
def test_patch_embedding_on_a_gpu(synchronised: BenchmarkFixture, tell: Tell, way: Any) -> None:
    count = GPU_TIMES * FRAMES
    update = _patches(way, count, "cuda", torch.bfloat16)
    right = _patches("reference", count, "cuda", torch.float64)()
    assert (update() - right).norm() < BFLOAT16_ERROR * right.norm(), "wrong: not timed"
    synchronised.pedantic(update, rounds=50, warmup_rounds=5)  # type: ignore[no-untyped-call]
    tell(count, "frames", frames=count, patch=PATCH, embedding=EMBEDDING)
