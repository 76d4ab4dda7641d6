"""The benchmark suites at their smallest: they collect, and what they would time is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adbench.perf.measured import read

ROOT = Path(__file__).parents[2]
SUITES = sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))


def benchmarks(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """pytest over benchmarks, in a process of its own: this one has it switched off."""
    env = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(
        [*command, *map(str, words)], cwd=ROOT, env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize("suite", SUITES)
def test_every_check_of_a_suite_passes_at_its_smallest(suite: str) -> None:
    done = benchmarks(f"benchmarks/{suite}", "--tiny", "--benchmark-disable", "--device", "cpu")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


SUITE = """
import pytest
from benchmarks.meter import scales

pytestmark = pytest.mark.benchmark(group="trial")

@scales("size", 1, 2, full=(3,))
def test_right(meter, size):
    meter.about("adding up", "sum", ours=True, context=size)
    meter.time(lambda: sum(range(1000 * size)), check=lambda: None, items=2, numbers=1000 * size,
               flops=1e3)
    meter.tell(colour="blue")

def test_wrong(meter):
    meter.about("adding up", "badly", ours=False, context=1)
    def check():
        assert 1 == 2, "one is not two"
    meter.time(lambda: 1, check=check, numbers=1)

def test_large(meter):
    meter.about("adding up", "hugely", ours=False, context=64)
    meter.needs(1e18)

def test_larger(meter):
    meter.about("adding up", "vastly", ours=False, context=65)
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")

def test_absent(meter):
    pytest.importorskip("there_is_no_such_package", reason="pip install such")
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of one benchmark that is right and four that are not, measured."""
    folder = tmp_path_factory.mktemp("trial")
    (folder / "bench_trial.py").write_text(SUITE)
    out = folder / "trial.json"
    done = benchmarks(
        folder / "bench_trial.py", "-p", "benchmarks.conftest", f"--benchmark-json={out}",
        "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 1 and "2 passed" in done.stdout, done.stdout + done.stderr
    return out


def test_what_is_right_is_timed_and_says_what_it_did(trial: Path) -> None:
    rows = {row.subject.size: row for row in read(trial).rows}
    assert list(rows) == [1, 2]
    row = rows[2]
    assert (row.unit, row.amount, row.items, row.flops) == ("numbers", 2000, 2, 1e3)
    assert (row.subject.stage, row.subject.case, row.subject.over) == (
        "trial",
        "adding up",
        "context",
    )
    assert row.facts["colour"] == "blue" and row.facts["numbers_per_s"] > 0
    assert row.rounds >= 3 and row.low > 0


def test_more_sizes_run_under_full(trial: Path) -> None:
    done = benchmarks(
        trial.with_name("bench_trial.py"), "-p", "benchmarks.conftest", "--collect-only", "--full",
        "--device", "cpu",
    )  # fmt: skip
    for size in (1, 2, 3):
        assert f"test_right[{size}]" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_runs(trial: Path) -> None:
    suite = trial.with_name("bench_trial.py")
    done = benchmarks(suite, "-p", "benchmarks.conftest", "--device", "cuda")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "torch sees no GPU here; use --device cpu" in done.stderr


def test_what_is_wrong_too_large_or_absent_has_no_time_but_a_reason(trial: Path) -> None:
    untimed = {each.fullname.rpartition("::")[2]: each for each in read(trial).untimed}
    assert untimed["test_wrong"].status == "wrong"
    assert "one is not two" in untimed["test_wrong"].reason
    for name, size in (("test_large", 64), ("test_larger", 65)):
        found = untimed[name]
        assert found.status == "out of memory"
        assert found.subject is not None and found.subject.size == size
    assert "GB are free" in untimed["test_large"].reason
    assert untimed["test_absent"].status == "skipped"
    assert "pip install such" in untimed["test_absent"].reason


def test_the_file_names_the_kind_of_machine_and_not_the_machine(trial: Path) -> None:
    content = json.loads(trial.read_text())
    machine = content["adbench"]["machine"]
    for name in ("processor", "cores", "torch_threads", "versions", "gpus", "load_average_before",
                 "load_average_after", "commit", "cuda", "omp_wait_policy"):  # fmt: skip
        assert name in machine
    assert {"torch", "triton", "numpy"} <= set(machine["versions"])
    assert "node" not in content["machine_info"] and "flags" not in content["machine_info"]["cpu"]
    assert all("data" not in each["stats"] for each in content["benchmarks"])
