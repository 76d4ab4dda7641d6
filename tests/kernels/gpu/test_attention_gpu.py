"""The compiled attention kernels: the interpreter's cases again, and what only a GPU can show.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Intervals, attention, attention_backward
from adbench_kernels.interval_attention.triton import launch
from kernel_checks.attention import CASES, assert_gradients_close, check, draw, mask
from kernel_checks.pairwise import Case, label
from kernel_checks.precision import (
    RELATIVE_ERROR,
    assert_close,
    assert_lse_close,
    relative_error,
)

DEVICE = "cuda"

PLAIN_FACTOR = 2.0
"""A kernel may be this many times as far from float64 as plain bfloat16 torch is: both round each
output once, and plain torch rounds scores and weights besides."""

RUNS = 100
BFLOAT16_ERROR = RELATIVE_ERROR[torch.bfloat16]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_compiled_kernels_are_the_definition(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not case["short"]:
        monkeypatch.setattr(launch, "SHORT", 0)
    check(case, DEVICE)  # with the tiles of this GPU


def operands(
    batch: int, length: int, heads: int, key_heads: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v of a packed projection, and the gradient of the output; bfloat16."""
    source = torch.Generator(DEVICE).manual_seed(length)

    def numbers(count: int) -> Tensor:
        shape = (batch, length, count, width)
        return torch.randn(*shape, generator=source, device=DEVICE, dtype=torch.bfloat16)

    q, k, v = numbers(heads + 2 * key_heads).tensor_split([heads, heads + key_heads], 2)
    return q, k, v, numbers(heads)


def both_ways(given: Sequence[Tensor], intervals: Intervals) -> tuple[Tensor, ...]:
    """out, lse, dq, dk, dv of q, k, v and the gradient of the output."""
    q, k, v, grad_out = given
    out, lse = attention(q, k, v, intervals=intervals, return_lse=True, implementation="triton")
    grads = attention_backward(
        grad_out, q, k, v, out, lse, intervals=intervals, implementation="triton"
    )
    return out, lse, *grads


def in_runs(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, width: int, run: int = 1024
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The definition in float64, a run of queries at a time: long rows do not fit at once.

    One head of one row; the last `width` keys. Returns out, lse, dq, dk, dv, and the gradients
    without delta.
    """
    q, k, v, grad_out = (x[0, :, 0].double() for x in (q, k, v, grad_out))
    length, scale = len(q), 1 / math.sqrt(q.shape[1])
    out, dq, lse = torch.empty_like(q), torch.empty_like(q), q.new_empty(length)
    terms_q, dk, dv, terms_k = (torch.zeros_like(q) for _ in range(4))
    for first in range(0, length, run):
        stop = min(length, first + run)
        begin = max(0, first - width + 1)
        here, keys = slice(first, stop), slice(begin, stop)
        position = torch.arange(first, stop, device=q.device)[:, None]
        key = torch.arange(begin, stop, device=q.device)
        hidden = (key > position) | (key <= position - width)
        scores = (q[here] @ k[keys].T * scale).masked_fill(hidden, -torch.inf)
        lse[here] = scores.logsumexp(1)
        weights = (scores - lse[here, None]).exp()
        out[here] = weights @ v[keys]
        upper = weights * (grad_out[here] @ v[keys].T) * scale
        delta = (grad_out[here] * out[here]).sum(1, keepdim=True)
        slopes = upper - weights * delta * scale
        dq[here], terms_q[here] = slopes @ k[keys], upper @ k[keys]
        dk[keys] += slopes.T @ q[here]
        terms_k[keys] += upper.T @ q[here]
        dv[keys] += weights.T @ grad_out[here]
    whole = [x[None, :, None] for x in (out, dq, dk, dv, terms_q, terms_k)]
    out, dq, dk, dv, terms_q, terms_k = whole
    return (out, lse[None, None], dq, dk, dv), (terms_q, terms_k, dv)


@pytest.mark.parametrize("width", [16, 32, 64, 128])
@pytest.mark.parametrize("window", [None, 1024])
@pytest.mark.parametrize("length", [1000, 4097, 16384, 65536])
def test_long_rows_are_exact_to_rounding(length: int, window: int | None, width: int) -> None:
    given = operands(1, length, 1, 1, width)
    intervals = Intervals.causal() if window is None else Intervals.window(window)
    out, lse, *grads = both_ways(given, intervals)
    exact, terms = in_runs(*given, width=window or length)
    assert_close(out, exact[0], name="out")
    # Sums of 65,536 terms: 256 times as many as the tolerance is derived for, 16 times the error.
    assert_lse_close(lse, exact[1], tolerance=3.2e-5)
    assert_gradients_close(tuple(grads), exact[2:], terms)


@pytest.mark.parametrize("window", [None, 1024])
@pytest.mark.parametrize(("length", "split"), [(120, 50), (4097, 2000)])
def test_two_parts_of_a_row_make_the_whole(length: int, split: int, window: int | None) -> None:
    """Context parallelism: queries of the second part sit after the last key of the first."""
    given = operands(2, length, 4, 2, 32)
    intervals = Intervals.causal() if window is None else Intervals.window(window)
    out, lse, *whole = both_ways(given, intervals)
    how: dict[str, Any] = {"intervals": intervals, "implementation": "triton"}
    early, late = slice(split), slice(split, length)
    total = [torch.zeros_like(x, dtype=torch.float32) for x in whole]
    seen = []
    for asks, holds in ((early, early), (late, early), (late, late)):
        how["query_offset"] = split if asks != holds else 0
        (q, grad_out), (k, v) = (
            [given[i][:, part] for i in those] for those, part in (((0, 3), asks), ((1, 2), holds))
        )
        seen.append(attention(q, k, v, return_lse=True, **how))
        grads = attention_backward(grad_out, q, k, v, out[:, asks], lse[:, :, asks], **how)
        for sum_of_parts, part, grad in zip(total, (asks, holds, holds), grads, strict=True):
            sum_of_parts[:, part] += grad
    (out_a, lse_a), (out_b, lse_b) = seen[1:]
    merged = torch.logaddexp(lse_a, lse_b)
    shares = ((x - merged).exp().transpose(1, 2)[..., None] for x in (lse_a, lse_b))
    pieces = (x.float() * share for x, share in zip((out_a, out_b), shares, strict=True))
    assert_lse_close(merged, lse[:, :, late].double())
    for name, actual, right in (
        ("out", torch.cat([seen[0][0].float(), sum(pieces, out.new_zeros(()))], 1), out),
        *zip(("dq", "dk", "dv"), total, whole, strict=True),
    ):
        # Parts are rounded to bfloat16, and so is the whole.
        assert_close(actual, right.double(), name=name, tolerance=2 * BFLOAT16_ERROR)


@pytest.mark.parametrize("width", [16, 32, 64, 128])
@pytest.mark.parametrize("kind", ["causal", "window 40", "episodes"])
@pytest.mark.parametrize("length", [64, 128, 1000, 4096])
def test_the_error_is_at_most_twice_that_of_plain_torch(length: int, kind: str, width: int) -> None:
    q, k, v, grad_out = operands(2, length, 4, 2, width)
    intervals = mask(kind, 2, length, device=DEVICE)
    out, _, *grads = both_ways((q, k, v, grad_out), intervals)

    def plain(dtype: torch.dtype) -> tuple[Tensor, ...]:
        inputs = [x.detach().to(dtype).requires_grad_() for x in (q, k, v)]
        result = attention(*inputs, intervals=intervals, implementation="reference")
        return result, *torch.autograd.grad(result, inputs, grad_out.to(dtype))

    names = ("out", "dq", "dk", "dv")
    exact, bfloat16 = plain(torch.float64), plain(torch.bfloat16)
    for name, ours, theirs, right in zip(names, (out, *grads), bfloat16, exact, strict=True):
        error, allowed = relative_error(ours, right), relative_error(theirs, right)
        assert error <= PLAIN_FACTOR * allowed, f"{name}: {error:.3g}; plain torch {allowed:.3g}"


@pytest.mark.parametrize("length", [100, 1000])  # one kernel makes all gradients, or two
@pytest.mark.parametrize("kind", ["causal", "episodes"])
def test_a_hundred_runs_give_the_same_bits(kind: str, length: int) -> None:
    given = operands(64, length, 4, 2, 32)
    intervals = mask(kind, 64, length, device=DEVICE)
    first = both_ways(given, intervals)
    for _ in range(RUNS):
        for name, a, b in zip(
            ("out", "lse", "dq", "dk", "dv"), both_ways(given, intervals), first, strict=True
        ):
            assert torch.equal(a, b), name


def test_a_row_does_not_depend_on_its_neighbours_bit_for_bit() -> None:
    given = operands(33, 300, 4, 2, 64)
    batch = both_ways(given, Intervals.window(100))
    alone = both_ways([x[17:18] for x in given], Intervals.window(100))
    for a, b in zip(batch, alone, strict=True):
        assert torch.equal(a[17:18], b)


def test_tensors_of_more_than_2_to_the_31_elements_are_addressed_rightly() -> None:
    """The last row and the last head lie past the 2^31st element of one packed projection."""
    length, window = 65536, 64
    q, k, v, grad_out = operands(2, length, 64, 64, 128)
    assert q.untyped_storage().nbytes() // 2 > 2**31
    out, lse, *grads = both_ways((q, k, v, grad_out), Intervals.window(window))
    # The last tokens see none but the last few: a short row of their own gives the same.
    tail = slice(length - 2 * window, length)
    last = [x[1:, tail, -1:] for x in (q, k, v, grad_out)]
    right = both_ways(last, Intervals.window(window))
    whole = slice(window, None)  # those whose window lies in the tail
    assert_lse_close(lse[1:, -1:, tail][..., whole], right[1][..., whole].double())
    names = ("out", "dq", "dk", "dv")
    for name, a, b in zip(names, (out, *grads), (right[0], *right[2:]), strict=True):
        # Both are rounded to bfloat16: twice the error of one.
        here = a[1:, tail, -1:][:, whole]
        assert_close(here, b.double()[:, whole], name=name, tolerance=2 * BFLOAT16_ERROR)


def test_a_step_is_captured_and_replayed_as_a_cuda_graph() -> None:
    given = operands(4, 300, 4, 2, 32)
    intervals = mask("episodes", 4, 300, device=DEVICE)
    eager = both_ways(given, intervals)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both_ways(given, intervals)
    for x in given:
        x.neg_()
    graph.replay()
    expected = both_ways(given, intervals)
    for a, b, before in zip(captured, expected, eager, strict=True):
        assert torch.equal(a, b)
        assert a.shape == before.shape


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_code_runs_the_same_kernels(dynamic: bool) -> None:
    def step(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, intervals=Intervals.window(40), implementation="triton") * 2

    compiled: Callable[..., Tensor] = torch.compile(step, fullgraph=True, dynamic=dynamic)
    for length in (65, 129):
        q, k, v, _ = operands(2, length, 4, 2, 32)
        assert torch.equal(compiled(q, k, v), step(q, k, v))


def test_inputs_on_the_second_device_are_served_there() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device")
    given = [draw(1, 65, 2, 16, seed=i, dtype=torch.float32) for i in range(3)]
    there = [x.to("cuda:1") for x in given]
    out = attention(*there, implementation="triton")
    right = attention(*(x.double() for x in given), implementation="reference")
    assert_close(out.cpu(), right)
