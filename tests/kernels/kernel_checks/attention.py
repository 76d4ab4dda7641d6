"""Cases of interval-causal attention that meet every pair of circumstances, and their check.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from adbench_kernels import Intervals, attention
from adbench_kernels.configs import Tile, override
from adbench_kernels.interval_attention import reference
from kernel_checks.memory import guarded
from kernel_checks.pairwise import Case, pairwise
from kernel_checks.precision import RELATIVE_ERROR, assert_close, assert_lse_close

BATCH = 2
KERNELS = ("forward", "dq", "dkdv", "short_backward")
SHORT = 128  # keys, up to which one kernel may make all gradients


def _is_possible(case: Case) -> bool:
    if case["queries"][0] >= case["length"] or (case["short"] and case["length"] > SHORT):
        return False
    # Many narrow tiles of long rows: slow in the interpreter, and nothing new.
    return not (case["length"] > 100 and case["tile"] == (64, 16))


CASES = pairwise(
    {
        "length": (1, 3, 15, 16, 17, 63, 64, 65, 129, 200),
        "mask": ("causal", "window 1", "window 40", "episodes", "packed", "some see nothing"),
        "queries": ((0, 1), (0, 3), (1, 3), (2, 2)),  # offset, stride
        "heads": ((1, 1), (4, 2), (3, 1)),
        "width": (16, 32, 64, 128, 24),
        "dtype": (torch.float32, torch.float16, torch.bfloat16),
        "layout": ("packed", "heads first", "apart"),
        "tile": ((64, 64), (32, 64), (64, 16)),
        "short": (True, False),  # one kernel makes all gradients, or two share them
    },
    allowed=_is_possible,
)


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, the same on every machine."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)


def integers(high: int, *shape: int, seed: int) -> Tensor:
    """Integers below `high`, the same on every machine."""
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


@contextmanager
def tiles(block_m: int, block_n: int) -> Iterator[None]:
    """Inside, every kernel of attention runs with this tile."""
    with ExitStack() as stack:
        for kernel in KERNELS:
            tile = Tile(block_m, block_n, num_warps=4, num_stages=1)
            stack.enter_context(override(f"attention_{kernel}", tile))
        yield


def mask(
    kind: str, batch: int, length: int, offset: int = 0, stride: int = 1, device: str = "cpu"
) -> Intervals:
    """Intervals of some kind; those with ids differ from row to row."""
    if kind == "causal":
        return Intervals.causal()
    if kind.startswith("window"):
        return Intervals.window(int(kind.split()[1]))
    if kind == "episodes":  # of 8 tokens on average
        ids = (integers(8, batch, length, seed=3) == 0).cumsum(1)
        return Intervals.last_episodes(ids.to(device), 3)
    if kind == "packed":
        return Intervals.packed((integers(30, batch, length, seed=4) == 0).cumsum(1).to(device))
    position = torch.arange(offset, length, stride)
    start = integers(length + 1, batch, len(position), seed=5).sort(1).values
    start[0] = start[0].minimum(position // 2 * 2)  # all of row 0, few of the others see something
    return Intervals.from_kv_start(
        start.to(device), length, query_offset=offset, query_stride=stride
    )


def operands(case: Case, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and the gradient of the output, laid out in memory as the case says."""
    (offset, stride), (heads, key_heads) = case["queries"], case["heads"]
    length, width, dtype = case["length"], case["width"], case["dtype"]
    counts = (heads, key_heads, key_heads)
    if case["layout"] == "packed":  # as a projection leaves them
        packed = guarded(draw(BATCH, length, sum(counts), width, seed=1, dtype=dtype).to(device))
        q, k, v = packed.tensor_split([heads, heads + key_heads], 2)
    elif case["layout"] == "heads first":
        q, k, v = (
            guarded(draw(BATCH, n, length, width, seed=i, dtype=dtype).to(device)).transpose(1, 2)
            for i, n in enumerate(counts)
        )
    else:
        q, k, v = (
            guarded(draw(BATCH, length, n, width, seed=i, dtype=dtype).to(device))
            for i, n in enumerate(counts)
        )
    q = q[:, offset::stride]
    return q, k, v, guarded(draw(*q.shape, seed=9, dtype=dtype).to(device))


def assert_gradients_close(
    actual: tuple[Tensor, ...], exact: tuple[Tensor, ...], terms: tuple[Tensor, ...]
) -> None:
    """Compare dq, dk, dv with float64.

    A score's gradient is a difference, P (dP - delta). Where the two are close (a query that sees
    one key has a gradient of 0) each is still rounded, so an error counts relative to `terms`, the
    gradients without delta, where those are larger.
    """
    for name, a, e, t in zip(("dq", "dk", "dv"), actual, exact, terms, strict=True):
        shift = t - e if t.norm() > e.norm() else torch.zeros_like(e)
        assert_close(a.double() + shift, e + shift, name=name, tolerance=RELATIVE_ERROR[a.dtype])


def check(case: Case, device: str = "cpu") -> None:
    """Fail unless "triton" is the definition in float64: output, lse and every gradient."""
    q, k, v, grad_out = operands(case, device)
    offset, stride = case["queries"]
    intervals = mask(case["mask"], BATCH, case["length"], offset, stride, device)
    visible = intervals.visible(
        BATCH,
        q.shape[1],
        case["length"],
        query_offset=offset,
        query_stride=stride,
        device=device,
    )
    scale = 1 / math.sqrt(case["width"])
    wide = (q.double(), k.double(), v.double())
    out, lse = reference.attention(*wide, visible, scale)
    grad = grad_out.double()
    exact = reference.attention_backward(grad, *wide, out, lse, visible, scale)
    terms = reference.attention_backward(grad, *wide, 0 * out, lse, visible, scale)

    for x in (q, k, v):
        x.requires_grad_()
    actual, actual_lse = attention(
        q, k, v, intervals=intervals, query_offset=offset, query_stride=stride,
        return_lse=True, implementation="triton",
    )  # fmt: skip
    grads = torch.autograd.grad(actual, (q, k, v), grad_out)
    assert_close(actual.detach(), out, name="out")
    assert_lse_close(actual_lse, lse)
    nothing = ~visible.expand(BATCH, -1, -1).any(2)
    assert (actual[nothing] == 0).all()
    assert (grads[0][nothing] == 0).all()
    assert_gradients_close(grads, exact, terms)
