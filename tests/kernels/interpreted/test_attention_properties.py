"""What holds of the attention kernels whatever the numbers are.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Intervals, attention, attention_backward
from adbench_kernels.interval_attention.span import EVERYTHING
from adbench_kernels.interval_attention.triton import launch
from kernel_checks.attention import draw, integers, mask, tiles
from kernel_checks.memory import guarded
from kernel_checks.precision import assert_close, assert_lse_close

FLOAT32 = torch.float32
CAUSAL = (None, EVERYTHING, 0, 1, 0.25)
"""What the launchers take after q, k, v: starts, width, offset, stride, scale."""


def operands(batch: int, length: int, heads: int = 2, key_heads: int = 1) -> list[Tensor]:
    counts = (heads, key_heads, key_heads, heads)
    return [draw(batch, length, n, 16, seed=i, dtype=FLOAT32) for i, n in enumerate(counts)]


def both_ways(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, **how: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """out, lse, dq, dk, dv."""
    how["implementation"] = "triton"
    out, lse = attention(q, k, v, return_lse=True, **how)
    return out, lse, *attention_backward(grad_out, q, k, v, out, lse, **how)


@pytest.mark.parametrize("length", [65, 140])  # one kernel makes all gradients, or two
@pytest.mark.parametrize("kind", ["causal", "episodes"])
def test_the_future_changes_nothing(kind: str, length: int) -> None:
    given = operands(2, length)
    intervals = mask(kind, 2, length)
    with tiles(32, 32):
        before = both_ways(*given, intervals=intervals)
        for x in given:
            x[:, 40:] = 3 * x[:, 40:] + 1
        after = both_ways(*given, intervals=intervals)
    for name, a, b, time in zip(("out", "lse", "dq"), before, after, (1, 2, 1), strict=False):
        assert torch.equal(a.narrow(time, 0, 40), b.narrow(time, 0, 40)), name
    assert not torch.equal(before[0][:, 40:], after[0][:, 40:])


@pytest.mark.parametrize("length", [65, 140])
def test_a_row_does_not_depend_on_its_neighbours_bit_for_bit(length: int) -> None:
    given = operands(3, length)
    intervals = mask("episodes", 3, length)
    assert intervals.kv_start is not None
    with tiles(64, 64):
        batch = both_ways(*given, intervals=intervals)
        alone = both_ways(
            *(x[1:2] for x in given),
            intervals=Intervals.from_kv_start(intervals.kv_start[1:2], length),
        )
    for name, a, b in zip(("out", "lse", "dq", "dk", "dv"), batch, alone, strict=True):
        assert torch.equal(a[1:2], b), name


@pytest.mark.parametrize("split", [1, 40, 64, 100])
def test_two_parts_of_the_keys_make_the_whole(split: int) -> None:
    """Context parallelism: each part knows the whole's output and lse, and its own keys alone."""
    q, k, v, grad_out = operands(1, 140)
    whole = both_ways(q, k, v, grad_out, scale=0.25)
    out, lse = whole[:2]
    parts = []
    with tiles(32, 32):
        for first, stop in ((0, split), (split, 140)):
            keys = guarded(k[:, first:stop]), guarded(v[:, first:stop])
            # Positions count from the part's first key.
            at: tuple[Any, ...] = (None, EVERYTHING, -first, 1, 0.25)
            parts.append(
                (
                    *launch.forward(q, *keys, *at),
                    *launch.backward(grad_out, q, *keys, out, lse, *at),
                )
            )
    (out_a, lse_a, dq_a, dk_a, dv_a), (out_b, lse_b, dq_b, dk_b, dv_b) = parts
    assert (lse_b[:, :, :split] == -torch.inf).all()  # those queries sit before its keys
    merged = torch.logaddexp(lse_a, lse_b)
    assert_lse_close(merged, lse.double())
    share_a, share_b = ((x - merged).exp().transpose(1, 2)[..., None] for x in (lse_a, lse_b))
    for name, actual, right in (
        ("out", out_a * share_a + out_b * share_b, out),
        ("dq", dq_a + dq_b, whole[2]),
        ("dk", torch.cat([dk_a, dk_b], 1), whole[3]),
        ("dv", torch.cat([dv_a, dv_b], 1), whole[4]),
    ):
        assert_close(actual, right.double(), name=name)


@pytest.mark.parametrize("keys", [50, 140])  # one kernel makes all gradients, or two
@pytest.mark.parametrize("kind", ["causal", "window 40", "strided window 40", "starts"])
def test_queries_after_the_last_key_see_what_is_left_to_them(kind: str, keys: int) -> None:
    """Context parallelism: a rank's queries are later than the keys of the ranks before it."""
    q, _, _, grad_out = operands(2, 70, heads=4, key_heads=2)
    _, k, v, _ = operands(2, keys, heads=4, key_heads=2)
    k, v = guarded(k), guarded(v)
    offset, stride = keys - 20, 3 if kind.startswith("strided") else 1
    intervals = None if kind == "causal" else Intervals.window(40)
    if kind == "starts":
        start = integers(keys + 1, 2, 70, seed=0).sort(1).values
        intervals = Intervals.from_kv_start(start, keys, query_offset=offset)
    how: dict[str, Any] = {
        "intervals": intervals, "query_offset": offset, "query_stride": stride,
    }  # fmt: skip
    with tiles(32, 32):
        actual = both_ways(q, k, v, grad_out, **how)
    how["implementation"] = "reference"
    q, k, v, grad_out = (x.double() for x in (q, k, v, grad_out))
    out, lse = attention(q, k, v, return_lse=True, **how)
    grads = attention_backward(grad_out, q, k, v, out, lse, **how)
    assert_lse_close(actual[1], lse)
    assert bool((lse == -torch.inf).any()) == (kind != "causal")
    for name, a, e in zip(("out", "dq", "dk", "dv"), (actual[0], *actual[2:]), (out, *grads),
                          strict=True):  # fmt: skip
        assert_close(a, e, name=name)


def test_without_any_keys_queries_get_zero() -> None:
    q, k, v, grad_out = operands(2, 33)
    out, lse, *grads = both_ways(q, k[:, :0], v[:, :0], grad_out)
    assert (lse == -torch.inf).all()
    assert not any(x.any() for x in (out, *grads))


@pytest.mark.parametrize("length", [33, 140])
def test_gradients_can_be_written_into_a_packed_one(length: int) -> None:
    q, k, v, grad_out = operands(2, length, heads=4, key_heads=2)
    with tiles(64, 64):
        out, lse = launch.forward(q, k, v, *CAUSAL)
        right = launch.backward(grad_out, q, k, v, out, lse, *CAUSAL)
        packed = torch.empty(2, length, 8, 16)
        dq, dk, dv = packed.tensor_split([4, 6], 2)
        launch.backward(grad_out, q, k, v, out, lse, *CAUSAL, dq=dq, dk=dk, dv=dv)
    assert torch.equal(packed, torch.cat(right, 2))
    with pytest.raises(ValueError, match=r"^dk: must be "):
        launch.backward(grad_out, q, k, v, out, lse, *CAUSAL, dk=dq)


def test_inputs_are_not_written() -> None:
    given = operands(1, 140)
    copies = [x.clone() for x in given]
    with tiles(64, 64):
        both_ways(*given, scale=-0.3)
    for x, copy in zip(given, copies, strict=True):
        assert torch.equal(x, copy)


@pytest.mark.parametrize("scale", [-0.7, 0.0, 30.0])
@pytest.mark.parametrize("length", [33, 140])
def test_any_scale_is_served(scale: float, length: int) -> None:
    """Below zero the largest product is the smallest score; at 30 most weights underflow."""
    given = operands(1, length)
    with tiles(64, 64):
        actual = both_ways(*given, scale=scale)
    q, k, v, grad_out = (x.double() for x in given)
    how: dict[str, Any] = {"scale": scale, "implementation": "reference"}
    out, lse = attention(q, k, v, return_lse=True, **how)
    exact = attention_backward(grad_out, q, k, v, out, lse, **how)
    # A score's rounding grows with it, and an exponential turns it into a relative error.
    tolerance = 1e-6 * max(1.0, abs(scale) * float(q.norm(dim=-1).max()) ** 2)
    assert_lse_close(actual[1], lse, tolerance=tolerance)
    for name, a, e in zip(("out", "dq", "dk", "dv"), (actual[0], *actual[2:]), (out, *exact),
                          strict=True):  # fmt: skip
        assert_close(a, e, name=name, tolerance=tolerance)


@pytest.mark.parametrize("together", [1, 2, 3, 100])
def test_the_order_of_programs_changes_nothing(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = operands(2, 140, heads=4, key_heads=2)
    with tiles(64, 64):
        right = both_ways(*given)
        monkeypatch.setattr(launch, "_together", lambda shared: together)
        for a, b in zip(both_ways(*given), right, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("blocks", [16, 128])  # several programs search a row, or one
def test_spans_of_queries_are_what_searching_finds(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_SPAN_BLOCKS", blocks)
    start = torch.randint(0, 301, (3, 77), generator=torch.Generator().manual_seed(0))
    start = start.sort(1).values.int()
    first = torch.arange(0, 300, 8)
    ends = torch.stack([first, (first + 7).clamp(max=299)], 1).int()
    right = torch.searchsorted(start, ends.view(1, -1).expand(3, -1).contiguous(), right=True)
    assert torch.equal(launch._spans(start, 300, 38, 8), right.view(3, 38, 2).int())


def test_an_expanded_gradient_is_served() -> None:
    q, k, v, _ = operands(1, 33)
    q.requires_grad_()
    out = attention(q, k, v, implementation="triton")
    (dq,) = torch.autograd.grad(out.sum(), q)
    exact = q.detach().double().requires_grad_()
    wide = attention(exact, k.double(), v.double(), implementation="reference")
    (right,) = torch.autograd.grad(wide.sum(), exact)
    assert_close(dq, right)


def test_rows_too_far_apart_for_offsets_of_32_bits_are_copied() -> None:
    near = torch.empty_strided((1, 2, 1, 16), (1 << 40, 1 << 22, 16, 1), device="meta")
    far = torch.empty_strided((1, 2, 1, 16), (1 << 40, 1 << 23, 16, 1), device="meta")
    apart = torch.empty_strided((1, 2, 1, 16), (64, 32, 32, 2), device="meta")
    assert launch._rows(near) is near
    assert launch._rows(far).is_contiguous()
    assert launch._rows(apart).is_contiguous()


@pytest.mark.parametrize("shape", [(0, 5, 5), (2, 0, 5), (2, 0, 0)])
def test_nothing_to_do_gives_empty_results_and_zero_gradients(shape: tuple[int, ...]) -> None:
    batch, queries, keys = shape
    q = torch.ones(batch, queries, 2, 16, requires_grad=True)
    k, v = (torch.ones(batch, keys, 2, 16, requires_grad=True) for _ in range(2))
    out, lse = attention(q, k, v, return_lse=True, implementation="triton")
    assert (out.shape, lse.shape) == (q.shape, (batch, 2, queries))
    for x, grad in zip((q, k, v), torch.autograd.grad(out.sum(), (q, k, v)), strict=True):
        assert torch.equal(grad, torch.zeros_like(x))
    for grad in torch.ops.adbench.attention_triton_backward(q, q, k, v, q, lse, *CAUSAL):
        assert (grad == 0).all()


def test_autocast_runs_in_its_precision_and_returns_gradients_in_that_of_the_inputs() -> None:
    q, k, v, _ = (x.requires_grad_() for x in operands(1, 33))
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(q, k.bfloat16(), v, implementation="triton")
    lower = attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), implementation="triton")
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, lower)
    assert torch.autograd.grad(out.sum(), q)[0].dtype == FLOAT32


def numbers(*shape: int, dtype: torch.dtype = FLOAT32) -> Tensor:
    return torch.zeros(*shape, dtype=dtype)


@pytest.mark.parametrize(
    ("said", "q", "k", "more"),
    [
        (r"q: 'triton' takes float32, float16, bfloat16; got torch.float64",
         numbers(1, 5, 2, 16, dtype=torch.float64), numbers(1, 5, 2, 16, dtype=torch.float64), {}),
        (r"q: 'triton' takes head widths D up to 128; got 136",
         numbers(1, 5, 2, 136), numbers(1, 5, 2, 136), {}),
        (r"q: 'triton' reads rows in place, which takes a last stride of 1; got strides \(",
         numbers(1, 5, 16, 2).mT, numbers(1, 5, 2, 16), {}),
        (r"k: 'triton' reads rows in place",
         numbers(1, 5, 2, 16), numbers(1, 5, 16, 2).mT, {}),
        (r"dropout: 'triton' has none",
         numbers(1, 5, 2, 16), numbers(1, 5, 2, 16), {"dropout": 0.1}),
    ],
)  # fmt: skip
def test_what_the_kernels_lack_is_refused_before_any_launch(
    said: str, q: Tensor, k: Tensor, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "forward", lambda *_, **__: pytest.fail("it was launched"))
    with pytest.raises(ValueError, match=f"^{said}"):
        attention(q, k, torch.zeros_like(k), implementation="triton", **more)


def test_large_scores_do_not_overflow() -> None:
    q, k, v, grad_out = operands(1, 140)
    out, lse, *grads = both_ways(q * 1e4, k * 1e4, v, grad_out)
    assert all(x.isfinite().all() for x in (out, lse, *grads))
    right = attention(q.double() * 1e4, k.double() * 1e4, v.double(), implementation="reference")
    # A score of 1e9 is rounded to 64: nearly every query has one key, a few ties fall otherwise.
    assert float((out - right).abs().gt(1e-3).any(-1).double().mean()) < 0.02


def test_the_default_scale_is_that_of_the_width() -> None:
    given = operands(1, 33)
    for a, b in zip(both_ways(*given), both_ways(*given, scale=1 / math.sqrt(16)), strict=True):
        assert torch.equal(a, b)
