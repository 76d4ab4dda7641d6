"""The interpreter as the other tests use it: bfloat16 computes, and fresh memory is NaN."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from kernel_checks.interpreter_bfloat16 import narrow, widen


@triton.jit
def _arithmetic(p_x, p_y, p_out, LENGTH: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.arange(0, LENGTH)
    x, y = tl.load(p_x + place), tl.load(p_y + place)
    tl.store(p_out + place, x + y)
    tl.store(p_out + LENGTH + place, x * y)
    tl.store(p_out + 2 * LENGTH + place, tl.where(x < y, -x, y))
    tl.store(p_out + 3 * LENGTH + place, tl.maximum(x, y))
    tl.store(p_out + 4 * LENGTH + place, x.to(tl.float32) * 1.7)
    tl.store(p_out + 5 * LENGTH + place, (place * 257).to(tl.bfloat16))


@triton.jit
def _sum_and_dot(p_x, p_y, p_sum, p_dot, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]
    row, column = tl.arange(0, SIDE)[:, None], tl.arange(0, SIDE)[None, :]
    x, y = tl.load(p_x + row * SIDE + column), tl.load(p_y + row * SIDE + column)
    tl.store(p_sum + tl.arange(0, SIDE), tl.sum(x, 1))
    tl.store(p_dot + row * SIDE + column, tl.dot(x, y))


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).bfloat16()


def test_bfloat16_arithmetic_equals_torch_bit_for_bit() -> None:
    x, y = _draw(2, 64).unbind(0)
    out = torch.empty(6, 64, dtype=torch.bfloat16)
    _arithmetic[(1,)](x, y, out, LENGTH=64)
    expected = [
        x + y,
        x * y,
        torch.where(x < y, -x, y),
        torch.maximum(x, y),
        (x.float() * 1.7).bfloat16(),
        (torch.arange(64) * 257).bfloat16(),
    ]
    assert torch.equal(out, torch.stack(expected))


def test_bfloat16_sums_and_matrix_products_are_right() -> None:
    x, y = _draw(2, 16, 16).unbind(0)
    sums, product = torch.empty(16, dtype=torch.bfloat16), torch.empty(16, 16)
    _sum_and_dot[(1,)](x, y, sums, product, SIDE=16)
    assert torch.allclose(sums.double(), x.double().sum(1), rtol=2**-8)
    assert torch.allclose(product.double(), x.double() @ y.double(), atol=1e-5)


@pytest.mark.parametrize(
    "number",
    [
        0.0,
        -0.0,
        1.0,
        1 + 2**-8,
        1 + 3 * 2**-8,
        1 + 2**-8 + 2**-20,
        3.4e38,
        -2.5e-40,
        1e-45,
        torch.inf,
    ],
)
def test_rounding_to_bfloat16_is_to_nearest_even(number: float) -> None:
    exact = torch.tensor([number, -number])
    assert torch.equal(torch.from_numpy(widen(narrow(exact.numpy()))), exact.bfloat16().float())


def test_nan_stays_nan() -> None:
    assert torch.from_numpy(widen(narrow(torch.tensor([torch.nan]).numpy()))).isnan().all()


MATRICES = (
    "test_the_kernels_are_the_definition[",
    "test_attention_and_gradients_are_those_of_the_definition[",
    "test_stepping_equals_banded_attention_past_the_wrap_and_across_resets[",
    "test_embeddings_and_gradients_are_those_of_the_definition[",
)
MOST_CASES = 150
"""At a second each, in two processes: what is left of eight minutes beside everything else."""


def test_the_matrices_of_all_kernels_together_stay_few(request: pytest.FixtureRequest) -> None:
    cases = [item for item in request.session.items if item.name.startswith(MATRICES)]
    assert len(cases) <= MOST_CASES


def test_fresh_memory_is_nan() -> None:
    assert torch.empty(3).isnan().all()
