"""The tools of the kernel tests do what the tests lean on."""

from __future__ import annotations

from itertools import combinations, product

import pytest
import torch

from kernel_checks.memory import guarded, poisoned
from kernel_checks.pairwise import pairwise
from kernel_checks.precision import RELATIVE_ERROR, assert_close, assert_lse_close

FACTORS = {"length": (1, 3, 15, 16, 17), "mask": ("causal", "window"), "heads": (1, 2, 4)}


def test_a_pairwise_cover_holds_every_pair_and_few_cases() -> None:
    cases = pairwise(FACTORS)
    assert len(cases) <= 18  # 15 at least: 5 lengths with 3 counts of heads; of 30 in all
    for a, b in combinations(FACTORS, 2):
        held = {(case[a], case[b]) for case in cases}
        assert held == set(product(FACTORS[a], FACTORS[b]))


def test_a_pairwise_cover_leaves_out_what_is_not_allowed() -> None:
    cases = pairwise(FACTORS, allowed=lambda case: case["mask"] == "causal" or case["heads"] < 4)
    assert all(case["mask"] == "causal" or case["heads"] < 4 for case in cases)
    assert {(case["mask"], case["heads"]) for case in cases} == {
        *product(("causal",), (1, 2, 4)),
        *product(("window",), (1, 2)),
    }


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.int32, torch.bool]
)
def test_a_guarded_tensor_has_its_values_between_poison(dtype: torch.dtype) -> None:
    x = torch.arange(2 * 3 * 5).view(2, 3, 5).to(dtype)
    inside = guarded(x)
    assert torch.equal(inside, x)
    assert inside.stride(-1) == 1
    beside = inside.as_strided((1,), (1,), inside.storage_offset() - 1)
    after = inside[0, 2].as_strided((1,), (1,), inside[0, 2].storage_offset() + 5)
    for one in (beside, after):
        assert bool(one.isnan()) if dtype.is_floating_point else bool(one == guarded(one)[0])
        if not dtype.is_floating_point and dtype != torch.bool:
            assert int(one) == torch.iinfo(dtype).max


def test_a_guarded_tensor_keeps_its_gradient() -> None:
    assert guarded(torch.ones(3).requires_grad_()).requires_grad
    assert not guarded(torch.ones(3)).requires_grad


def test_fresh_memory_is_poisoned_inside_and_settings_come_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    x = torch.ones(4)
    with poisoned():
        for fresh in (
            torch.empty(4),
            x.new_empty(4),
            torch.empty_like(x),
            torch.empty_strided((4,), (1,)),
            torch.empty(4, dtype=torch.bfloat16),
        ):
            assert fresh.isnan().all()
        assert (torch.empty(4, dtype=torch.int32) == torch.iinfo(torch.int32).max).all()
    assert torch.are_deterministic_algorithms_enabled() == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rounding_once_is_close_and_twice_the_tolerance_is_not(dtype: torch.dtype) -> None:
    exact = torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close(exact.to(dtype), exact)
    with pytest.raises(AssertionError, match="off by"):
        assert_close((exact * (1 + 2 * RELATIVE_ERROR[dtype])).to(dtype), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_row_off_among_many_is_caught(dtype: torch.dtype) -> None:
    exact = torch.randn(5000, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    actual = exact.to(dtype)
    actual[77] *= 1 + 32 * RELATIVE_ERROR[dtype]
    with pytest.raises(AssertionError, match="row 77 of 5000"):
        assert_close(actual, exact)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_a_number_that_is_not_finite_is_caught(wrong: float) -> None:
    exact = torch.ones(4, 4, dtype=torch.float64)
    actual = exact.float()
    actual[2, 2] = wrong
    with pytest.raises(AssertionError):
        assert_close(actual, exact)


def test_log_sum_exps_compare_with_minus_infinity_where_nothing_is_seen() -> None:
    exact = torch.tensor([[-torch.inf, 0.5, 9.0]], dtype=torch.float64)
    assert_lse_close(exact.float(), exact)
    for wrong in ([[-1e30, 0.5, 9.0]], [[-torch.inf, 0.5001, 9.0]], [[-torch.inf, torch.nan, 9.0]]):
        with pytest.raises(AssertionError, match="lse"):
            assert_lse_close(torch.tensor(wrong), exact)
