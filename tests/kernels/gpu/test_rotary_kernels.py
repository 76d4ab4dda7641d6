"""Turning and attending as compiled for the GPU: exact enough, the same every time.

B rows, T tokens, H heads, D head width, W window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import choice, rotary_attention, rotary_turns, strided_rotary_attention
from kernel_checks.precision import RELATIVE_ERROR, assert_close, relative_error

TWICE = 2.0
"""An error may be that of the same mathematics in plain 16-bit torch, twice."""
FLOAT32_ERROR = 4e-6
"""Turns are float32, and scores carry four of their errors into an exponential."""


def numbers(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    source = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=source, device="cuda").to(dtype)


def run(
    inputs: list[Tensor], grad_out: Tensor, *, dtype: torch.dtype, **options: Any
) -> tuple[Tensor, ...]:
    inputs = [x.detach().to(dtype).requires_grad_() for x in inputs]
    exact = torch.promote_types(dtype, torch.float32)
    length, width = inputs[-1].shape[1], inputs[-1].shape[3]
    turns = rotary_turns(torch.arange(length, device="cuda"), width, exact)
    function: Callable[..., Tensor] = (
        rotary_attention if len(inputs) == 1 else strided_rotary_attention
    )
    out = function(*inputs, turns, **options)
    return out.detach(), *torch.autograd.grad(out, inputs, grad_out.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize(
    ("length", "heads", "width", "window"),
    [(63, 4, 16, None), (129, 3, 32, 40), (1030, 4, 64, 256), (300, 2, 128, None), (90, 2, 48, 7)],
)
def test_attention_and_gradients_are_those_of_the_definition(
    length: int, heads: int, width: int, window: int | None, strided: bool, dtype: torch.dtype
) -> None:
    options: dict[str, Any] = {"window": window}
    if strided:
        options |= {"query_offset": 2, "query_stride": 3}
        queries = length // 3
        inputs = [
            numbers(2, queries, heads, width, seed=0, dtype=dtype),
            numbers(2, length, 2 * heads, width, seed=1, dtype=dtype),
        ]
    else:
        queries, inputs = length, [numbers(2, length, 3 * heads, width, seed=0, dtype=dtype)]
    grad_out = numbers(2, queries, heads, width, seed=2, dtype=dtype)
    ours = run(inputs, grad_out, dtype=dtype, **options, implementation="triton")
    exact = run(inputs, grad_out, dtype=torch.float64, **options, implementation="reference")
    plain = run(inputs, grad_out, dtype=dtype, **options, implementation="reference")
    tolerance = FLOAT32_ERROR if dtype is torch.float32 else 2 * RELATIVE_ERROR[dtype]
    for name, actual, right, other in zip(
        ("out", "first", "second"), ours, exact, plain, strict=False
    ):
        assert_close(actual, right, name=name, tolerance=tolerance)
        if dtype is not torch.float32:
            assert relative_error(actual, right) <= TWICE * relative_error(other, right), name


def test_a_hundred_runs_give_the_same_bits() -> None:
    qkv = numbers(8, 500, 12, 32, seed=0, dtype=torch.bfloat16)
    grad_out = numbers(8, 500, 4, 32, seed=1, dtype=torch.bfloat16)

    def once() -> tuple[Tensor, ...]:
        return run([qkv], grad_out, dtype=torch.bfloat16, window=100, implementation="triton")

    first = once()
    for _ in range(99):
        assert all(torch.equal(a, b) for a, b in zip(first, once(), strict=True))


def test_auto_serves_a_gpu_with_dropout_too() -> None:
    qkv = numbers(2, 60, 12, 32, seed=0, dtype=torch.bfloat16)
    turns = rotary_turns(torch.arange(60, device="cuda"), 32, torch.float32)
    for dropout in (0.0, 0.5):
        given = qkv.clone().requires_grad_()
        out = rotary_attention(given, turns, window=20, dropout=dropout)
        out.float().sum().backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
        assert given.grad.isfinite().all()


@pytest.mark.parametrize(
    ("batch", "length", "dropout"), [(2, 60, 0.0), (2, 1, 0.0), (70_000, 3, 0.0), (2, 60, 0.1)]
)
@pytest.mark.parametrize("name", ["sdpa-cudnn", "sdpa-flash", "sdpa-efficient"])
def test_what_was_measured_to_be_fastest_may_be_refused_by_torch_without_harm(
    name: str, batch: int, length: int, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN takes neither 2^16 rows nor a single key, and dropout in sixteenths alone."""
    row = {
        "op": "rotary_attention", "arch": choice.arch(torch.device("cuda")), "head_dim": 32,
        "length": "<=128", "mask": "causal", "median_ms": {name: 1.0, "triton": 2.0},
    }  # fmt: skip
    monkeypatch.setattr(choice, "_MEASURED", choice.parse({"schema": 1, "rows": [row]}))
    qkv = numbers(batch, length, 6, 32, seed=0, dtype=torch.bfloat16)
    grad_out = numbers(batch, length, 2, 32, seed=1, dtype=torch.bfloat16)
    ours = run([qkv], grad_out, dtype=torch.bfloat16, dropout=dropout)
    assert all(x.isfinite().all() for x in ours)
    if not dropout:
        exact = run([qkv], grad_out, dtype=torch.float64, implementation="reference")
        assert_close(ours[0], exact[0], name="out", tolerance=2 * RELATIVE_ERROR[torch.bfloat16])
