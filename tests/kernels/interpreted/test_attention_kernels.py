"""The attention kernels equal the definition in float64, forward and in every gradient.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Intervals, attention
from adbench_kernels.configs import Tile, override
from adbench_kernels.interval_attention import reference
from adbench_kernels.interval_attention.triton import launch
from kernel_checks.memory import guarded
from kernel_checks.pairwise import Case, label, pairwise
from kernel_checks.precision import RELATIVE_ERROR, assert_close, assert_lse_close

BATCH = 2
KERNELS = ("forward", "dq", "dkdv", "short_backward")

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
    allowed=lambda case: (
        case["queries"][0] < case["length"]
        and not (case["short"] and case["length"] > launch.SHORT)
        # One large case in float64 and many small ones, not many large ones.
        and not (case["length"] > 100 and case["tile"] == (64, 16))
    ),
)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def integers(low: int, high: int, *shape: int, seed: int) -> Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


@contextmanager
def tiles(block_m: int, block_n: int, **others: Tile) -> Iterator[None]:
    """Inside, every kernel of attention runs with this tile."""
    tile = Tile(block_m, block_n, num_warps=4, num_stages=1)
    with ExitStack() as stack:
        for kernel in KERNELS:
            stack.enter_context(override(f"attention_{kernel}", others.get(kernel, tile)))
        yield


def mask(kind: str, batch: int, length: int, offset: int, stride: int) -> Intervals:
    if kind == "causal":
        return Intervals.causal()
    if kind.startswith("window"):
        return Intervals.window(int(kind.split()[1]))
    if kind == "episodes":  # of 1 to about 20 tokens, other ones in every row
        return Intervals.last_episodes((integers(0, 8, batch, length, seed=3) == 0).cumsum(1), 3)
    if kind == "packed":
        return Intervals.packed((integers(0, 30, batch, length, seed=4) == 0).cumsum(1))
    position = torch.arange(offset, length, stride)
    start = integers(0, length + 1, batch, len(position), seed=5).sort(1).values
    start[0] = start[0].minimum(position // 2 * 2)  # few of row 0, many of the others see nothing
    return Intervals.from_kv_start(start, length, query_offset=offset, query_stride=stride)


def operands(case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and the gradient of the output, between NaN, laid out in memory as the case says."""
    (offset, stride), (heads, key_heads) = case["queries"], case["heads"]
    rows, width = (BATCH, case["length"]), case["width"]
    counts = (heads, key_heads, key_heads)
    if case["layout"] == "packed":
        qkv = guarded(draw(*rows, sum(counts), width, seed=1).to(case["dtype"]))
        q, k, v = qkv.split(counts, dim=2)
    elif case["layout"] == "heads first":
        q, k, v = (
            guarded(draw(BATCH, n, case["length"], width, seed=i).to(case["dtype"]))
            .transpose(1, 2)
            for i, n in enumerate(counts)
        )  # fmt: skip
    else:
        q, k, v = (draw(*rows, n, width, seed=i).to(case["dtype"]) for i, n in enumerate(counts))
    q = q[:, offset::stride]
    return q, k, v, guarded(draw(*q.shape, seed=9).to(case["dtype"]))


def assert_gradients_close(
    actual: tuple[Tensor, ...], exact: tuple[Tensor, ...], terms: tuple[Tensor, ...]
) -> None:
    """Compare gradients with float64.

    A score's gradient is a difference, P (dP - delta): where the two are close (a query that sees
    one key has a gradient of 0), each is still rounded. `terms` are the gradients without delta;
    an error counts relative to the larger of the two.
    """
    for name, a, e, t in zip(("dq", "dk", "dv"), actual, exact, terms, strict=True):
        shift = t - e if t.norm() > e.norm() else torch.zeros_like(e)
        assert_close(a.double() + shift, e + shift, name=name, tolerance=RELATIVE_ERROR[a.dtype])


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_kernels_are_the_definition(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case["short"]:
        monkeypatch.setattr(launch, "SHORT", 0)
    q, k, v, grad_out = operands(case)
    offset, stride = case["queries"]
    at: dict[str, Any] = {"query_offset": offset, "query_stride": stride}
    intervals = mask(case["mask"], BATCH, case["length"], offset, stride)
    visible = intervals.visible(BATCH, q.shape[1], case["length"], **at)
    scale = 1 / math.sqrt(case["width"])
    exact = [x.double() for x in (q, k, v)]
    out, lse = reference.attention(*exact, visible, scale)
    wide = grad_out.double()
    gradients = reference.attention_backward(wide, *exact, out, lse, visible, scale)
    terms = reference.attention_backward(wide, *exact, 0 * out, lse, visible, scale)

    for x in (q, k, v):
        x.requires_grad_()
    with tiles(*case["tile"]):
        actual, actual_lse = attention(
            q, k, v, intervals=intervals, **at, return_lse=True, implementation="triton"
        )
        grads = torch.autograd.grad(actual, (q, k, v), grad_out)
    assert_close(actual.detach(), out, name="out")
    assert_lse_close(actual_lse, lse)
    nothing = ~visible.expand(BATCH, -1, -1).any(2)
    assert (actual[nothing] == 0).all()
    assert (grads[0][nothing] == 0).all()
    assert_gradients_close(grads, gradients, terms)


def test_the_cases_are_few_and_hold_every_length_with_every_mask() -> None:
    assert len(CASES) <= 70
    assert len({(case["length"], case["mask"]) for case in CASES}) == 60
