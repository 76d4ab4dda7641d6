"""Attention, the ring cache and patch embedding as the model uses them, beside torch's own.

    pytest benchmarks/bench_kernels.py

4 heads of 16, as the quick preset has them: 8,192 tokens a call on a CPU in float32, 65,536 on a
GPU in bfloat16, in rows of the context on the axis. What is timed is first held against the
definition in float64: outputs and gradients of the last tokens, which see everything before them.
The grid of head widths and masks on a GPU is `make bench-gpu`.

L tokens a row, H heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from adbench_kernels import (
    Intervals,
    RingCache,
    attention,
    patch_embed,
    ring_append,
    ring_attention,
)
from adbench_kernels.flops import visible_pairs
from benchmarks.meter import Meter, scales

HEADS, WIDTH = 4, 16
TOKENS = {"cpu": 8192, "cuda": 65_536}
"""Of a call; a longer context is one row."""
WINDOW = 200
LANES, CHECKED_LANES, FILL_AT_ONCE = 96, 4, 64
FRAMES, PATCH, EMBEDDING = 64, 8, 64
GPU_TIMES = 10
TAIL = 64
"""Last tokens of a row that are checked."""
ERROR = {"float32": 1e-4, "bfloat16": 0.05}
"""Of the norm of what is exact: sums in another order; a few roundings of 2^-8."""
FORWARD, BOTH = 4, 14
"""Operations a pair of query and key, and unit of head width: 2 and 2 + 5 matrix products."""

CONTEXTS = {"full": (16_384, 65_536), "gpu": (1024, 4096, 16_384, 65_536)}

pytestmark = pytest.mark.benchmark(group="kernels")


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def precision_of(meter: Meter) -> str:
    return "bfloat16" if meter.device == "cuda" else "float32"


def agree(found: Tensor, right: Tensor, precision: str, what: str) -> None:
    error = float((found.double() - right).norm() / right.norm())
    assert error < ERROR[precision], f"{what} is off by {error:.2g} of its norm: not timed"


class Worth(NamedTuple):
    """What a call asks for at the least."""

    flops: float
    moved_bytes: float


class Heads:
    """Queries, keys and values, and the gradient of what comes out: [rows, L, H, D]."""

    def __init__(self, meter: Meter, mask: str, length: int, *, learns: bool = True) -> None:
        tokens = 2 * length if meter.tiny else TOKENS[meter.device]
        self.rows, self.length = max(1, tokens // length), length
        self.precision = precision_of(meter)
        shape, dtype = (self.rows, length, HEADS, WIDTH), getattr(torch, self.precision)
        source = torch.Generator().manual_seed(length)
        made = [torch.randn(*shape, generator=source).to(meter.device, dtype) for _ in range(4)]
        self.q, self.k, self.v = (x.requires_grad_(learns) for x in made[:3])
        self.grad = made[3]
        self.width = min(WINDOW, length) if mask == "window" else length
        self.intervals = Intervals.window(self.width) if mask == "window" else None

    @property
    def tokens(self) -> int:
        return self.rows * self.length

    def worth(self, flops_a_pair: int) -> Worth:
        """Operations of a call, and the least bytes: forward moves 4 tensors, backward 8 more."""
        pairs = self.rows * visible_pairs(self.length, self.length, width=self.width)
        moved = {FORWARD: 4, BOTH: 12}[flops_a_pair] * self.grad.numel()
        return Worth(
            float(flops_a_pair * HEADS * WIDTH * pairs), float(moved * self.grad.element_size())
        )

    def exact(self) -> tuple[Tensor, ...]:
        """Of the last tokens of the first row in float64: out, dq, dk, dv.

        Nobody after them sees their keys, so their gradients need no other query.
        """
        tail = min(TAIL, self.length)
        q = self.q[:1, -tail:].detach().double().requires_grad_()
        k, v = (x[:1].detach().double().requires_grad_() for x in (self.k, self.v))
        out = attention(
            q, k, v, intervals=self.intervals, query_offset=self.length - tail,
            implementation="reference",
        )  # fmt: skip
        grads = torch.autograd.grad(out, (q, k, v), self.grad[:1, -tail:].double())
        return tuple(x.detach()[0, -tail:] for x in (out, *grads))

    def check(self, *found: Tensor) -> None:
        for what, x, right in zip(("out", "dq", "dk", "dv"), found, self.exact(), strict=False):
            agree(x.detach()[0, -len(right) :], right, self.precision, what)


def time_both(meter: Meter, mask: str, way: Any, length: int) -> None:
    """Forward and backward through `attention`."""
    name = "adbench" if way == "auto" else way
    meter.about(case_of("forward and backward", mask), name, ours=way == "auto",
                precision=precision_of(meter), context=length)  # fmt: skip
    heads = Heads(meter, mask, length)

    def update() -> tuple[Tensor, ...]:
        inputs = (heads.q, heads.k, heads.v)
        out = attention(*inputs, intervals=heads.intervals, implementation=way)
        return out, *torch.autograd.grad(out, inputs, heads.grad)

    worth = heads.worth(BOTH)
    meter.time(update, check=lambda: heads.check(*update()), items=heads.rows,
               tokens=heads.tokens, flops=worth.flops, moved_bytes=worth.moved_bytes)  # fmt: skip


def case_of(direction: str, mask: str) -> str:
    return f"attention, {direction}, {mask if mask == 'causal' else f'window of {WINDOW}'}"


@pytest.mark.parametrize("mask", ["causal", "window"])
@scales("length", 128, 512, 2048, 8192, **CONTEXTS)
def test_attention(meter: Meter, mask: str, length: int) -> None:
    time_both(meter, mask, "auto", length)


@pytest.mark.only("cpu")
@pytest.mark.parametrize(("mask", "way"), [("causal", "blocked"), ("causal", "sdpa-flash")])
@scales("length", 128, 512, 2048, full=(8192, 16_384, 65_536))
def test_attention_by(meter: Meter, mask: str, way: str, length: int) -> None:
    time_both(meter, mask, way, length)


@pytest.mark.only("cpu")
@pytest.mark.parametrize(
    ("mask", "way"), [("causal", "sdpa-math"), ("window", "sdpa-flash"), ("window", "sdpa-math")]
)
@scales("length", 128, 512, 2048, full=(8192, 16_384, 65_536))
def test_attention_that_writes_squares(meter: Meter, mask: str, way: str, length: int) -> None:
    """Scores or masks of L x L in memory: rows x heads of them, forward and backward."""
    rows = max(1, TOKENS["cpu"] // length)
    squares = 4 * rows * HEADS if way == "sdpa-math" else 2
    meter.about(case_of("forward and backward", mask), way, ours=False, context=length)
    meter.needs(4.0 * squares * length**2)
    time_both(meter, mask, way, length)


@pytest.mark.only("cuda")
@pytest.mark.parametrize("mask", ["causal", "window"])
@pytest.mark.parametrize("way", ["triton", "sdpa-flash", "sdpa-efficient", "sdpa-cudnn"])
@scales("length", 1024, 4096, 16_384, 65_536)
def test_attention_on_a_gpu_by(meter: Meter, mask: str, way: str, length: int) -> None:
    if mask == "window" and way == "sdpa-flash":
        pytest.skip("torch's flash attention takes no mask on a GPU")
    meter.about(case_of("forward and backward", mask), way, ours=False,
                precision="bfloat16", context=length)  # fmt: skip
    if mask == "window" and way != "triton":
        meter.needs(3.0 * length**2)
    time_both(meter, mask, way, length)


def flex(heads: Heads, device: str) -> Callable[[], Tensor]:
    """FlexAttention, compiled, with the mask in blocks."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    width = heads.width

    def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (k > q - width)

    blocks = create_block_mask(seen, None, None, heads.length, heads.length, device=device)
    run: Any = torch.compile(flex_attention, dynamic=False)
    q, k, v = (x.transpose(1, 2) for x in (heads.q, heads.k, heads.v))

    def attend() -> Tensor:
        out: Tensor = run(q, k, v, block_mask=blocks)
        return out.transpose(1, 2)

    return attend


@pytest.mark.parametrize("mask", ["causal", "window"])
@pytest.mark.parametrize("way", ["auto", "flex"])
@scales("length", 2048, full=(512, 8192), gpu=CONTEXTS["gpu"])
def test_attention_forward(meter: Meter, mask: str, way: Any, length: int) -> None:
    """Forward alone: compiled FlexAttention has no backward on a CPU."""
    name = "adbench" if way == "auto" else "FlexAttention, compiled"
    meter.about(case_of("forward", mask), name, ours=way == "auto",
                precision=precision_of(meter), context=length)  # fmt: skip
    heads = Heads(meter, mask, length, learns=False)
    if way == "flex" and meter.tiny:
        pytest.skip("compiling takes longer than a trial may")
    if way == "flex":
        torch.compiler.reset()
        forward = flex(heads, meter.device)
    else:

        def forward() -> Tensor:
            return attention(heads.q, heads.k, heads.v, intervals=heads.intervals)

    def check() -> None:
        try:
            found = forward()
        except torch._dynamo.exc.BackendCompilerFailed as error:
            pytest.skip(f"torch.compile: {str(error).partition(chr(10))[0]}")
        heads.check(found)

    worth = heads.worth(FORWARD)
    meter.time(forward, check=check, items=heads.rows, tokens=heads.tokens, flops=worth.flops,
               moved_bytes=worth.moved_bytes)  # fmt: skip


def filled(cache: RingCache, tokens: Tensor) -> RingCache:
    """Append tokens [lanes, n, H, D]; values are keys one token on."""
    for start in range(0, tokens.shape[1], FILL_AT_ONCE):
        part = tokens[:, start : start + FILL_AT_ONCE].to(cache.keys)
        ring_append(cache, part, part.roll(1, 2), implementation="reference")
    return cache


@pytest.mark.parametrize("way", ["auto", "reference"])
@scales("window", 128, 512, 2048, full=(8192, 32_768), gpu=(128, 1024, 8192, 32_768))
def test_ring_step(meter: Meter, way: Any, window: int) -> None:
    """A token of every lane into rings that have wrapped, and what it sees of them."""
    precision = precision_of(meter)
    meter.about("a step of one layer through the ring cache, 96 lanes",
                "adbench" if way == "auto" else way, ours=way == "auto", precision=precision,
                context=window)  # fmt: skip
    lanes, dtype = LANES, getattr(torch, precision)
    meter.needs(3.0 * lanes * window * HEADS * WIDTH * dtype.itemsize)
    drawn = normal(lanes, window + FILL_AT_ONCE, HEADS, WIDTH).to(meter.device, dtype)
    cache = filled(RingCache(lanes, window, HEADS, WIDTH, dtype, meter.device), drawn)
    few = drawn[:CHECKED_LANES].double()
    exact = filled(RingCache(CHECKED_LANES, window, HEADS, WIDTH, torch.float64, meter.device), few)
    new = drawn[:, :1].clone()

    def step(into: RingCache = cache, token: Tensor = new, by: Any = way) -> Tensor:
        ring_append(into, token, token.roll(1, 2), implementation="auto")
        return ring_attention(token, into, window=window, implementation=by)

    def check() -> None:
        with torch.no_grad():
            right = step(exact, new[:CHECKED_LANES].double(), "reference")
            agree(step()[:CHECKED_LANES], right, precision, "the step")

    with torch.no_grad():
        moved = 2.0 * lanes * window * HEADS * WIDTH
        meter.time(step, check=check, items=lanes, lane_steps=lanes, flops=2 * moved,
                   moved_bytes=moved * dtype.itemsize)  # fmt: skip


def patches(
    meter: Meter, way: Any, count: int, side: int, dtype: torch.dtype
) -> Callable[[], Tensor]:
    """Embed frames of side x side and give the weight's gradient."""
    source = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=source)
    weight = normal(EMBEDDING, PATCH * PATCH * 3).to(meter.device, dtype).requires_grad_()
    grad = normal(count, (side // PATCH) ** 2, EMBEDDING).to(meter.device, dtype)
    there = frames.to(meter.device)

    def update() -> Tensor:
        out = patch_embed(there, weight, patch=PATCH, implementation=way)
        return torch.autograd.grad(out, weight, grad)[0]

    return update


@pytest.mark.parametrize("way", ["auto", "reference"])
@scales("side", 32, 64, 96, full=(128,))
def test_patch_embedding(meter: Meter, way: Any, side: int) -> None:
    precision = precision_of(meter)
    meter.about("patch embedding and its weight's gradient",
                "adbench" if way == "auto" else "eager torch", ours=way == "auto",
                precision=precision, frame=side * side)  # fmt: skip
    count = 4 if meter.tiny else FRAMES * (GPU_TIMES if meter.device == "cuda" else 1)
    update = patches(meter, way, count, side, getattr(torch, precision))

    def check() -> None:
        right = patches(meter, "reference", count, side, torch.float64)()
        agree(update(), right, precision, "the gradient")

    pixels = count * side * side * 3
    out_bytes = count * (side // PATCH) ** 2 * EMBEDDING * getattr(torch, precision).itemsize
    meter.time(update, check=check, items=count, frames=count, flops=4.0 * pixels * EMBEDDING,
               moved_bytes=2.0 * (pixels + out_bytes))  # fmt: skip
