"""The tables: what a roof is, when a target is reached, what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.on_gpu import columns, report, roofs, sources, targets
from benchmarks.on_gpu.roofs import Ceilings

ROOFS = Ceilings(bytes=4e12, flops=8e14, exponentials=4e12)


def row(ms: float = 1.0, *, flops: float = 0, bytes: float = 0, elements: float = 0,
        status: str = "ok", source: str = "", **case: Any) -> dict[str, Any]:  # fmt: skip
    return {"case": case, "median_ms": ms, "flops": flops, "bytes": bytes, "elements": elements,
            "status": status, "source": source, "gb_per_s": bytes / ms / 1e6}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (row(2.0, bytes=4e9), (0.5, "memory")),
        (row(2.0, bytes=4e9, flops=1.2e12), (0.75, "tensor")),
        (row(2.0, elements=2e9), (0.25, "exp")),
        (row(2.0, elements=2e9, mode="both"), (0.5, "exp")),
    ],
)
def test_the_roof_is_the_nearest_of_three_ceilings(
    found: dict[str, Any], share: tuple[float, str]
) -> None:
    ratio, which = ROOFS.share(found) or (0.0, "")
    assert which == share[1] and ratio == pytest.approx(share[0])


def test_without_ceilings_there_is_no_roof() -> None:
    assert Ceilings(None, None, None).share(row(bytes=1.0, flops=1.0, elements=1.0)) is None


def test_ceilings_are_the_best_that_was_measured() -> None:
    rows = [
        {"case": {"op": "copy"}, "status": "ok", "gb_per_s": gb, "tflop_per_s": 0.0}
        for gb in (4000.0, 4300.0)
    ] + [{"case": {"op": "matmul"}, "status": "out of memory"}]
    session = {"arch": "sm_90", "multiprocessors": 132, "max_sm_clock_mhz": 1980.0}
    found = roofs.measured({"ceilings": {"rows": rows, "sessions": [session]}})
    assert found.bytes == pytest.approx(4.3e12) and found.flops is None
    assert found.exponentials == pytest.approx(132 * 16 * 1.98e9)


def judged(rows: list[dict[str, Any]], section: str = "attention") -> dict[str, tuple[str, str]]:
    lines = targets.judge({section: rows}, 4e12)
    return {what: (measured, reached) for what, _, measured, reached in lines}


def attended(name: str, ms: float, **case: Any) -> dict[str, Any]:
    return row(
        ms, **{"op": "attention", "mode": "both", "mask": "causal", "implementation": name, **case}
    )


def test_a_target_is_judged_by_its_worst_case_against_the_best_of_torch() -> None:
    what = "D 16 and 32, causal, T 1k to 16k, forward and backward: best of torch / ours"
    rows = [
        attended("triton", 1.0, T=1024, D=16), attended("sdpa-flash", 1.6, T=1024, D=16),
        attended("sdpa-cudnn", 1.5, T=1024, D=16), attended("triton", 1.0, T=4096, D=32),
        attended("flex", 1.4, T=4096, D=32),
    ]  # fmt: skip
    assert judged(rows)[what] == ("1.40x to 1.50x (2 cases)", "yes")
    rows.append(attended("sdpa-efficient", 1.2, T=4096, D=32))
    assert judged(rows)[what] == ("1.20x to 1.50x (2 cases)", "no")
    assert judged([])[what] == ("not measured", "")
    # What failed was not measured.
    assert judged([{**r, "status": "wrong"} for r in rows])[what] == ("not measured", "")


def test_the_ring_is_judged_by_the_copy_bandwidth() -> None:
    ring = row(1.0, bytes=3e9, mode="attend", lanes=1024, window=1024, new=1, D=32,
               implementation="triton")  # fmt: skip
    what = "ring decode, 1,024 lanes, window 1,024: of copy bandwidth"
    assert judged([ring], "ring")[what] == ("75%", "yes")


def trained(ms: float, length: int, **case: Any) -> dict[str, Any]:
    key = {"op": "train", "model": "quick", "how": "eager", "implementation": "adbench"}
    return row(ms, **{**key, "window": 512, "T": length, **case})


def test_the_cost_of_a_row_is_judged_by_its_growth_with_a_fixed_window() -> None:
    # Equally many tokens an update: equal times are a cost that grows as the length.
    rows = [trained(3.0, length) for length in (1024, 4096, 16_384)]
    what = "training, window fixed: exponent of a row's cost over its length"
    assert judged(rows, "train")[what] == ("1.000 at worst (1 lines)", "yes")
    square = [trained(3.0 * length, length, how="compiled") for length in (1024, 4096, 16_384)]
    assert judged([*rows, *square], "train")[what] == ("2.000 at worst (2 lines)", "no")
    others = [{**r, "case": {**r["case"], **change}} for r in square
              for change in ({"window": "context"}, {"implementation": "encoder"})]  # fmt: skip
    assert judged([*rows, *others], "train")[what] == ("1.000 at worst (1 lines)", "yes")
    assert judged(rows[:2], "train")[what] == ("not measured", "")


def test_the_page_says_how_cost_grows_over_length_and_window() -> None:
    steps = [row(0.001 * window, op="evaluate", implementation="graph", window=window)
             for window in (256, 1024, 4096)]  # fmt: skip
    told = report._growth({"train": [trained(3.0, 2**n) for n in (10, 12, 14)], "evaluate": steps})
    one, other = told[-2:]
    assert "| train model=quick how=eager implementation=adbench window=512 | T | 1.00 |" in one
    assert "| evaluate implementation=graph | window | 1.00 | 1.00 to 1.00 | 1.00 | 256," in other
    assert report._growth({"train": [trained(3.0, 64)]}) == []


def test_training_shows_its_share_of_the_measured_product_and_its_memory() -> None:
    one = {**trained(2.0, 1024, implementation="encoder"), "flops": 4e11, "tokens_per_s": 5e6,
           "peak_bytes": 3e9, "tflop_per_s": 200.0}  # fmt: skip
    lost = {**trained(1.0, 4096), "status": "out of memory"}
    head, _, line, other = columns.table("train", [one, lost], ROOFS)
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    found = (cells["tokens/s"], cells["model FLOP utilisation"], cells["peak GB"])
    assert found == ("5e+06", "25.0 %", "3")
    assert "out of memory" in other and line.count("|") == other.count("|")
    unknown = columns.table("train", [one], Ceilings(None, None, None))[2]
    assert "%" not in unknown


def test_frames_are_judged_by_their_best_batch_and_by_samples() -> None:
    drawn: dict[str, Any] = {"op": "raycast", "frame": "64x64", "implementation": "triton"}
    rows = [
        {**row(**drawn, samples=1, batch=batch), "frames_per_s": rate}
        for batch, rate in ((256, 1e6), (8192, 3.5e6))
    ]
    slow = {**row(**drawn, samples=4, batch=8192), "frames_per_s": 0.5e6}
    larger = {**row(**{**drawn, "frame": "72x96"}, samples=4, batch=8192), "frames_per_s": 9e6}
    found = judged([*rows, slow, larger], "render")
    what = "frames of 64 x 64, {} a pixel, best batch"
    assert found[what.format("1 sample")] == ("3.50 million/s", "yes")
    assert found[what.format("4 samples")] == ("0.50 million/s", "no")
    assert judged([])[what.format("1 sample")] == ("not measured", "")
    (line,) = (cells for cells in columns.table("render", [slow], ROOFS) if "triton" in cells)
    assert "| 64x64 | 4 | 8192 | triton |" in line and "| 0.5 |" in line


def test_measurements_of_older_sources_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "of_case", lambda depends: f"{depends} now")
    rows = [row(source=""), row(source="kernels now"), row(source="kernels then")]
    fresh, stale = report.current({"ring": {"rows": rows}, "tests": {"rows": rows}})
    assert (len(fresh["ring"]), stale, "tests" in fresh) == (2, 1, False)


def test_a_case_that_was_not_timed_shows_why_and_no_number() -> None:
    found = {**row(status="out of memory", mode="both", T=64, implementation="x")}
    del found["median_ms"]
    (line,) = [cells for cells in columns.table("ring", [found], ROOFS) if "memory" in cells]
    assert line == "| both | 64 | x | out of memory |  |  |  |  |  |  |  |"
