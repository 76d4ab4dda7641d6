"""README's speeds: drawn from results, and up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adbench.errors import PerfError
from adbench.perf.measured import Measured, read
from benchmarks import readme
from benchmarks.readme import BEGIN, DRAWN, END, FIGURES, LINES, README, RESULTS


def test_the_block_in_readme_is_that_of_the_committed_results() -> None:
    text = README.read_text(encoding="utf-8")
    if BEGIN not in text:
        pytest.skip("README has no block of speeds")
    new = readme.block([read(RESULTS)])
    assert readme.with_block(text, new) == text, "run python -m benchmarks.readme"
    assert all((FIGURES / name).exists() for name in DRAWN.values() if name in new)


def test_every_line_is_of_a_benchmark_that_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "-q", "--collect-only", "--full",
         "--device", "cpu", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=readme.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    there = {line.removeprefix("benchmarks/") for line in done.stdout.splitlines()}
    assert not {name for line in LINES for name in line.names} - there


def entry(name: str, median: float, unit: str, amount: float, size: int | None) -> dict[str, Any]:
    over = {} if size is None else {"over": "context", "size": size}
    return {
        "group": "training", "name": name, "fullname": f"benchmarks/{name}",
        "extra_info": {
            "case": "an update over context", "implementation": "adbench", "ours": True,
            "device": "cpu", "threads": 2, "precision": "float32", "unit": unit,
            "amount": amount, "items": 1, **over,
        },
        "stats": {"min": median, "q1": median, "median": median, "q3": median, "max": median,
                  "rounds": 9},
    }  # fmt: skip


def measured(folder: Path, *benchmarks: dict[str, Any]) -> Measured:
    path = folder / "cpu.json"
    machine = {"processor": "Abacus 9", "cores": 2, "torch_threads": 2, "commit": "0123456789abcd",
               "load_average_before": 0.2}  # fmt: skip
    path.write_text(
        json.dumps(
            {
                "datetime": "2026-01-02T03:04:05",
                "benchmarks": list(benchmarks),
                "adbench": {"schema": 1, "machine": machine, "untimed": []},
            }
        )
    )
    return read(path)


def lines_of(block: str) -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_lines_say_what_was_measured_missed_and_not_measured(tmp_path: Path) -> None:
    rate, step, window = LINES[0], LINES[2], LINES[6]
    found = measured(
        tmp_path,
        entry(rate.names[0], 2.0, "env_steps", 4e6, 1000),
        entry(step.names[0], 0.1, "env_steps", 96, 400),
        entry(step.names[1], 9.0, "env_steps", 96, 400),
        entry(window.names[0], 11e-6, "steps", 4096, 4096),
    )
    block = readme.block([found])
    lines = lines_of(block)
    assert lines[rate.what] == ["3.00 M env steps/s", "**2.00 M env steps/s**: *missed*"]
    assert lines[step.what] == ["80x", "90x [90x, 90x]"]
    assert lines[window.what] == ["30.0 us", "11.0 us"]
    assert lines[LINES[1].what][-1] == "not measured"
    assert "Abacus 9, 2 cores, 2 threads, commit `0123456789ab`, 2026-01-02." in block


def test_growth_and_its_figure_are_drawn_from_all_sizes(tmp_path: Path) -> None:
    grows = next(line for line in LINES if line.kind == "exponent")
    sizes = (128, 512, 2048, 8192)
    found = measured(
        tmp_path,
        *(entry(name, 1e-6 * size, "tokens", size, size)
          for name, size in zip(grows.names, sizes, strict=True)),
    )  # fmt: skip
    block = readme.block([found])
    assert lines_of(block)[grows.what][-1] == "1.00 [1.00, 1.00]"
    assert "(docs/figures/training-over-context.svg)" in block


def test_only_what_stands_between_the_comments_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert readme.with_block(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(PerfError, match="no place for the table"):
        readme.with_block("a page without comments", "new")
