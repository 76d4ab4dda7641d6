"""Exponents, ratios and shares: against answers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from adbench.perf.ceilings import ceilings
from adbench.perf.growth import fit, growth
from adbench.perf.measured import Measured, read
from adbench.perf.numbers import count, duration, memory, rate, times
from adbench.perf.panels import panels
from adbench.perf.peers import ratios

Make = Callable[..., Any]


@pytest.fixture
def measured(put: Make, contest: tuple[Any, ...]) -> Measured:
    return read(put(*contest))


def test_a_power_law_gives_its_exponent_and_no_doubt(measured: Measured) -> None:
    (panel,) = panels(measured)
    ours, theirs = growth(panel.lines["adbench"]), growth(panel.lines["theirs"])
    assert ours is not None and theirs is not None
    assert ours.exponent == pytest.approx(1.0) and theirs.exponent == pytest.approx(2.0)
    assert ours.high - ours.low < 1e-6 and ours.misfit < 1e-6
    assert (ours.sizes, theirs.sizes) == (4, 3)


def test_the_interval_is_that_of_the_text_books() -> None:
    # x = -1, 0, 1; y = 0, 0.3, 0: slope 0, residuals -0.1, 0.2, -0.1, one degree of freedom, so the
    # slope's standard error is sqrt(0.06 / 1 / 2), and Student's quantile 12.706.
    found = fit([(-1.0, 0.0), (0.0, 0.3), (1.0, 0.0)])
    assert found is not None
    half = 12.706 * math.sqrt(0.06 / 2)
    assert found.exponent == pytest.approx(0.0)
    assert found.low == pytest.approx(-half) and found.high == pytest.approx(half)
    assert found.misfit == pytest.approx(math.expm1(math.sqrt(0.02)))
    assert found.last == pytest.approx(-0.3)


def test_two_sizes_or_one_twice_are_no_line() -> None:
    assert fit([(0.0, 0.0), (1.0, 1.0)]) is None
    assert fit([(0.0, 0.0), (1.0, 1.0), (1.0, 1.1)]) is None


def test_cost_is_of_one_item(put: Make, bench: Make) -> None:
    # Equal tokens a call: as many fewer rows as they are longer, so equal times are linear rows.
    rows = [bench(f"t[{n}]", 1.0, size=n, items=4096 // n) for n in (128, 512, 2048)]
    (panel,) = panels(read(put(*rows)))
    found = growth(panel.lines["adbench"])
    assert found is not None and found.exponent == pytest.approx(1.0)


def test_ratios_are_of_rates_at_equal_sizes_with_the_quartiles_bounds(measured: Measured) -> None:
    (panel,) = panels(measured)
    found = {each.ours.subject.size: each for each in ratios(panel)}
    assert list(found) == [128, 256, 512]  # theirs has no 1024, and more than one size
    assert [round(each.times, 6) for each in found.values()] == [1.0, 2.0, 4.0]
    assert found[128].low == pytest.approx((1e-3 - 5e-6) / (1e-3 + 5e-6))
    assert found[128].high == pytest.approx((1e-3 + 5e-6) / (1e-3 - 5e-6))


def test_a_peer_of_one_size_stands_beside_all_of_ours_by_its_rate(put: Make, bench: Make) -> None:
    rows = [bench(f"t[{n}]", 1.0, over="learners", size=n, amount=100 * n) for n in (1, 10, 100)]
    peer = bench("loop", 2.0, over="learners", size=1, by="a loop", amount=100)
    (panel,) = panels(read(put(*rows, peer)))
    found = ratios(panel)
    assert [each.times for each in found] == [2.0, 20.0, 200.0]
    assert [each.other_size for each in found] == [False, True, True]


def test_a_peer_that_ran_out_of_memory_is_not_stood_in_for(
    put: Make, bench: Make, lost: Make
) -> None:
    ours = [bench(f"t[{n}]", 1.0, size=n) for n in (128, 256)]
    peer = bench("p[128]", 1.0, by="theirs", size=128)
    gone = lost("p[256]", "out of memory", "64 GB", by="theirs", size=256)
    (panel,) = panels(read(put(*ours, peer, untimed=(gone,))))
    assert [each.ours.subject.size for each in ratios(panel)] == [128]
    assert panel.sizes == [128, 256] and len(panel.untimed) == 1


def test_shares_are_of_the_nearer_of_the_best_ceilings(measured: Measured) -> None:
    machine = ceilings(measured)
    assert machine.flops == {("cpu", 2, "float32"): 1e10} and machine.bytes == {("cpu", 2): 1e9}
    (panel,) = panels(measured)
    share = machine.share(panel.lines["adbench"][0])
    # 128,000 operations take 12.8 us at the ceiling, 12,800 bytes as long: 1 ms was spent.
    assert share is not None and share.share == pytest.approx(0.0128)
    assert machine.share(panel.lines["theirs"][0]) is None


def test_another_number_of_threads_has_another_ceiling(
    put: Make, contest: tuple[Any, ...], bench: Make
) -> None:
    alone = bench("alone", 1.0, case="other", threads=1, flops=1e9)
    found = read(put(*contest, alone))
    (row,) = (row for row in found.rows if row.subject.threads == 1)
    assert ceilings(found).share(row) is None


def test_cases_that_scale_with_context_come_first(put: Make, bench: Make) -> None:
    found = read(
        put(
            bench("a", 1.0, case="none", over=None),
            bench("b", 1.0, case="lanes", over="lanes"),
            bench("c", 1.0, case="context"),
            bench("d", 1.0, case="context", by="theirs"),
            bench("e", 1.0, case="context", threads=1),
        )
    )
    cases = [(panel.case, panel.setting) for panel in panels(found)]
    assert cases[:2] == [("context", "2 threads, float32"), ("context", "1 thread, float32")]
    assert [case for case, _ in cases[2:]] == ["lanes", "none"]
    assert list(panels(found)[0].lines) == ["adbench", "theirs"]


def test_numbers_read_as_people_write_them() -> None:
    assert [duration(x) for x in (2.5, 4.81e-3, 11e-6, 3e-9)] == [
        "2.50 s", "4.81 ms", "11.0 us", "3.00 ns",
    ]  # fmt: skip
    assert [count(x) for x in (3.43e6, 28_100, 12.0, None)] == ["3.43 M", "28.1 k", "12.0", "–"]
    assert rate(250e3, "env_steps") == "250 k env steps/s"
    assert [memory(x) for x in (512, 3 * 2**20)] == ["512 B", "3.00 MiB"]
    assert [times(x) for x in (0.5, 2.14, 105.4)] == ["0.50x", "2.1x", "105x"]
