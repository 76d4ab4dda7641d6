"""Turning and attending in Triton equal the definition in float64, forward and in every gradient.

B rows, T tokens, Q queries, H heads, D head width, W window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import rotary_attention, rotary_turns, rotate, strided_rotary_attention
from adbench_kernels.configs import Tile, override
from adbench_kernels.interval_attention import reference
from adbench_kernels.rotary_attention.fused import turn_triton
from kernel_checks.memory import guarded
from kernel_checks.pairwise import Case, label, pairwise
from kernel_checks.precision import RELATIVE_ERROR, assert_close

BATCH = 2

ERROR = {dtype: 2 * error for dtype, error in RELATIVE_ERROR.items()}
"""What is turned is rounded once more than what attention's own tests give it: once each way."""
ERROR[torch.float32] = 4e-6
"""Turns are float32: a cosine is off by 2^-25 at most, and so is a turned number's pair; scores of
16 products of turned numbers carry four such errors each into an exponential."""

CASES = pairwise(
    {
        "length": (1, 3, 16, 17, 63, 65, 129),
        "window": (None, 1, 40),
        "asking": (None, (0, 1), (2, 3), (1, 2)),  # offset, stride; none: all, packed
        "heads": (1, 3),
        "width": (16, 48, 6, 128),
        "dtype": (torch.float32, torch.float16, torch.bfloat16),
        "place": ("whole", "guarded"),
        "tile": (Tile(16, 64, 4, 1), Tile(32, 16, 4, 1)),
    },
    allowed=lambda case: case["asking"] is None or case["asking"][0] < case["length"],
)


def numbers(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def drawn(case: Case) -> tuple[list[Tensor], Tensor, dict[str, Any]]:
    """Inputs, the output's gradient, and options."""
    length, heads, width = case["length"], case["heads"], case["width"]
    if case["asking"] is None:
        parts, queries, options = [3 * heads], length, {}
    else:
        offset, stride = case["asking"]
        parts, queries = [heads, 2 * heads], (length - offset + stride - 1) // stride
        options = {"query_offset": offset, "query_stride": stride}
    lengths = [queries, length][-len(parts) :]
    inputs = [
        numbers(BATCH, n, part, width, seed=i, dtype=case["dtype"])
        for i, (n, part) in enumerate(zip(lengths, parts, strict=True))
    ]
    grad_out = numbers(BATCH, queries, heads, width, seed=7, dtype=case["dtype"])
    return inputs, grad_out, {**options, "window": case["window"]}


def run(
    inputs: list[Tensor], turns: Tensor, grad_out: Tensor, **options: Any
) -> tuple[Tensor, ...]:
    function: Callable[..., Tensor] = (
        rotary_attention if len(inputs) == 1 else strided_rotary_attention
    )
    inputs = [x.requires_grad_() for x in inputs]
    out = function(*inputs, turns, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, grad_out.to(out.dtype))


def parts(grads: tuple[Tensor, ...], heads: int) -> tuple[Tensor, ...]:
    """dq, dk, dv out of the gradients of what was packed."""
    return tuple(part for grad in grads for part in torch.split(grad, heads, 2))


def exact_gradients(
    inputs: list[Tensor], turns: Tensor, grad_out: Tensor, options: dict[str, Any]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Output, dq, dk, dv in float64, and the same gradients where delta is left out.

    A score's gradient is a difference, P (dP - delta). Where the two are close (a query that sees
    one key has a gradient of 0) each is still rounded, so an error counts relative to what they are
    apart.
    """
    heads = grad_out.shape[2]
    q, k, v = parts(tuple(x.detach().double() for x in inputs), heads)
    at = torch.arange(q.shape[1]) * options.get("query_stride", 1) + options.get("query_offset", 0)
    gap = at[:, None] - torch.arange(k.shape[1])
    visible = ((gap >= 0) & (gap < (options["window"] or k.shape[1])))[None]
    turned = (rotate(q, turns[at]), rotate(k, turns), v)
    scale, back = q.shape[3] ** -0.5, turns * torch.tensor([1.0, -1.0]).double()[:, None]
    out, lse = reference.attention(*turned, visible, scale)
    found = []
    for mean in (out, 0 * out):
        dq, dk, dv = reference.attention_backward(
            grad_out.double(), *turned, mean, lse, visible, scale
        )
        found.append([rotate(dq, back[at]), rotate(dk, back), dv])
    return out, found[0], found[1]


@pytest.mark.parametrize("case", CASES, ids=label)
def test_attention_and_gradients_are_those_of_the_definition(case: Case) -> None:
    inputs, grad_out, options = drawn(case)
    turns = rotary_turns(torch.arange(case["length"]), case["width"], torch.float64)
    right, exact, terms = exact_gradients(inputs, turns, grad_out, options)
    put: Callable[[Tensor], Tensor] = guarded if case["place"] == "guarded" else Tensor.clone
    with override("rotate", case["tile"]):
        out, *grads = run(
            [put(x) for x in inputs], guarded(turns.float()), put(grad_out), **options,
            implementation="triton",
        )  # fmt: skip
    tolerance = ERROR[case["dtype"]]
    assert_close(out, right, name="out", tolerance=tolerance)
    actual = parts(tuple(grads), case["heads"])
    for name, ours, e, t in zip(("dq", "dk", "dv"), actual, exact, terms, strict=True):
        assert ours.dtype == case["dtype"]
        sized = t if t.norm() > e.norm() else e
        assert_close(ours.double() + (sized - e), sized, name=name, tolerance=tolerance)


def test_the_definition_here_is_the_public_one() -> None:
    case = {"length": 17, "window": 5, "heads": 2, "width": 16, "dtype": torch.float64}
    turns = rotary_turns(torch.arange(17), 16, torch.float64)
    for asking in (None, (2, 3)):
        inputs, grad_out, options = drawn({**case, "asking": asking})
        right, exact, _ = exact_gradients(inputs, turns, grad_out, options)
        out, *grads = run(inputs, turns, grad_out, **options, implementation="reference")
        assert_close(out, right)
        for ours, e in zip(parts(tuple(grads), 2), exact, strict=True):
            assert_close(ours, e)


def test_a_turn_and_its_gradient_are_those_of_the_definition() -> None:
    x, grad_out = numbers(2, 19, 3, 24, seed=0), numbers(2, 19, 3, 24, seed=1)
    turns = rotary_turns(torch.arange(19) + 1000, 24, torch.float32)
    given, exact = guarded(x).requires_grad_(), x.double().requires_grad_()
    out, right = turn_triton(given, turns, False), rotate(exact, turns.double())
    assert_close(out.detach(), right.detach())
    assert_close(
        torch.autograd.grad(out, given, grad_out)[0],
        torch.autograd.grad(right, exact, grad_out.double())[0],
    )
    assert_close(turn_triton(out.detach(), turns, True), x)


def test_the_future_and_what_left_the_window_have_no_weight_at_all() -> None:
    qkv, turns = numbers(1, 60, 3, 16, seed=0), rotary_turns(torch.arange(60), 16, torch.float32)
    loud = qkv.clone()
    loud[:, 40] = 1e4
    one, other = (
        rotary_attention(x, turns, window=10, implementation="triton") for x in (qkv, loud)
    )
    assert (one != other).any(-1)[0, :, 0].nonzero()[:, 0].tolist() == list(range(40, 50))


def test_a_row_is_the_same_beside_any_others() -> None:
    qkv, turns = numbers(3, 40, 6, 16, seed=0), rotary_turns(torch.arange(40), 16, torch.float32)
    grad_out = numbers(3, 40, 2, 16, seed=1)
    both = run([qkv], turns, grad_out, window=9, implementation="triton")
    alone = run([qkv[1:2].clone()], turns, grad_out[1:2], window=9, implementation="triton")
    for many, one in zip(both, alone, strict=True):
        assert torch.equal(many[1:2], one)


def test_empty_batches_and_rows_give_empty_results() -> None:
    for batch, length in ((0, 5), (2, 0)):
        turns = rotary_turns(torch.arange(length), 16, torch.float32)
        qkv = torch.zeros(batch, length, 6, 16, requires_grad=True)
        out = rotary_attention(qkv, turns, implementation="triton")
        assert out.shape == (batch, length, 2, 16)
        out.sum().backward()  # type: ignore[no-untyped-call]
        assert qkv.grad is not None


@pytest.mark.parametrize("needs_gradients", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_the_operator_keeps_torch_s_contract(strided: bool, needs_gradients: bool) -> None:
    packed = numbers(1, 8, 2 if strided else 3, 16, seed=0).requires_grad_(needs_gradients)
    queries = numbers(1, 2, 1, 16, seed=1).requires_grad_(needs_gradients) if strided else None
    turns = rotary_turns(torch.arange(8), 16, torch.float32)
    geometry = (5, 2, 3, 0.25) if strided else (5, 0, 1, 0.25)
    torch.library.opcheck(
        torch.ops.adbench.rotary_attention_triton.default, (packed, queries, turns, *geometry)
    )


@pytest.mark.parametrize("needs_gradients", [False, True])
def test_the_turning_operator_keeps_torch_s_contract(needs_gradients: bool) -> None:
    x = numbers(1, 8, 2, 16, seed=0).requires_grad_(needs_gradients)
    turns = rotary_turns(torch.arange(8), 16, torch.float32)
    torch.library.opcheck(torch.ops.adbench.turn_triton.default, (x, turns, False))


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_is_one_graph_for_torch_compile(dynamic: bool) -> None:
    def loss(qkv: Tensor, turns: Tensor) -> Tensor:
        out = rotary_attention(qkv, turns, window=5, implementation="triton")
        q, kv = out[:, 2::3], torch.cat((out, out), 2)
        asked = strided_rotary_attention(
            q, kv, turns, query_offset=2, query_stride=3, window=4, implementation="triton"
        )
        return asked.square().sum()

    graph = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for length in (9, 12):
        qkv = numbers(1, length, 3, 16, seed=0).requires_grad_()
        turns = rotary_turns(torch.arange(length), 16, torch.float32)
        values = graph(qkv, turns), loss(qkv, turns)
        ours, eager = (torch.autograd.grad(value, qkv)[0] for value in values)
        assert torch.equal(values[0], values[1])
        assert torch.equal(ours, eager)


def test_large_scores_do_not_overflow() -> None:
    qkv, turns = numbers(1, 40, 3, 16, seed=0), rotary_turns(torch.arange(40), 16, torch.float32)
    out, grad = run([qkv * 100], turns, numbers(1, 40, 1, 16, seed=1), implementation="triton")
    assert math.isfinite(float(out.abs().sum()) + float(grad.abs().sum()))


def test_tangents_are_refused_where_they_would_be_dropped() -> None:
    qkv, turns = numbers(1, 9, 3, 16, seed=0), rotary_turns(torch.arange(9), 16, torch.float32)

    def run(x: Tensor) -> Tensor:
        return rotary_attention(x, turns, implementation="triton")

    with pytest.raises(RuntimeError, match="'triton' has no derivative in forward mode"):
        torch.func.jvp(run, (qkv,), (qkv,))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"qkv": torch.zeros(1, 4, 3, 130)}, r"implementation: 'triton' takes .* width 130"),
        ({"dropout": 0.1}, r"implementation: 'triton' takes .* dropout 0.1"),
        ({"qkv": torch.zeros(1, 4, 3, 16).double()}, r"implementation: 'triton' .*float64"),
    ],
)
def test_what_the_kernels_do_not_take_is_refused(change: dict[str, Any], says: str) -> None:
    given = {"qkv": torch.zeros(1, 4, 3, 16), "dropout": 0.0, **change}
    dtype = torch.promote_types(given["qkv"].dtype, torch.float32)
    turns = rotary_turns(torch.arange(4), given["qkv"].shape[3], dtype)
    with pytest.raises(ValueError, match=says):
        rotary_attention(given["qkv"], turns, dropout=given["dropout"], implementation="triton")
