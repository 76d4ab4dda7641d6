"""The attention kernels equal the definition in float64, forward and in every gradient."""

from __future__ import annotations

import pytest

from adbench_kernels.interval_attention.triton import launch
from kernel_checks.attention import CASES, SHORT, check, tiles
from kernel_checks.pairwise import Case, label


@pytest.mark.parametrize("case", CASES, ids=label)
def test_the_kernels_are_the_definition(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case["short"]:
        monkeypatch.setattr(launch, "SHORT", 0)
    with tiles(*case["tile"]):
        check(case)


def test_the_cases_are_few_and_hold_every_length_with_every_mask() -> None:
    assert launch.SHORT == SHORT
    assert len(CASES) <= 70
    assert len({(case["length"], case["mask"]) for case in CASES}) == 60
