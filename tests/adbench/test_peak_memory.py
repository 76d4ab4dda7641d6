"""Peak memory is noted stage by stage, and no outcome depends on it."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import pytest

from adbench import pipeline, plugins
from adbench.flags import filled
from adbench.folder import RunFolder
from adbench.progress import Reporter
from adbench.results_file import read_results
from adbench.stages import memory
from adbench.stages.memory import PeakMemory

MEGABYTES_64 = 2**26


def hold(size: int) -> None:
    """Hold so much memory, every page of it, for a moment."""
    with mmap.mmap(-1, size) as held:
        for page in range(0, size, mmap.PAGESIZE):
            held[page] = 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets peaks")
def test_a_stages_peak_is_its_own_and_not_that_of_an_earlier_one(tmp_path: Path) -> None:
    peaks = PeakMemory(tmp_path / "memory.json")
    with peaks.watch("train"):
        hold(2 * MEGABYTES_64)
    with peaks.watch("evaluate"):
        hold(mmap.PAGESIZE)
    found = peaks.of()["process"]
    assert found["train"] is not None and found["evaluate"] is not None
    assert found["train"] - found["evaluate"] > MEGABYTES_64
    assert found["collect"] is None


def test_the_highest_peak_of_all_processes_counts(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(json.dumps({"process/train": 10**15, "gpu/train": 7}))
    peaks = PeakMemory(path)
    with peaks.watch("train"):
        pass
    assert PeakMemory(path).of()["process"]["train"] == 10**15
    assert PeakMemory(path).of()["gpu"]["train"] == 7


def test_where_no_peak_can_be_forgotten_only_a_risen_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ever = iter([100, 100, 100, 300])
    monkeypatch.setattr(memory, "_forget_peak", lambda: False)
    monkeypatch.setattr(memory, "_peak_ever", lambda: next(ever))
    peaks = PeakMemory(tmp_path / "memory.json")
    with peaks.watch("train"):
        pass
    assert peaks.of()["process"]["train"] is None
    with peaks.watch("evaluate"):
        pass
    assert peaks.of()["process"]["evaluate"] == 300


@pytest.mark.parametrize("damage", ["", "[1]", '{"process/train": "much"}'])
def test_a_damaged_account_starts_anew(tmp_path: Path, damage: str) -> None:
    (tmp_path / "memory.json").write_text(damage)
    assert PeakMemory(tmp_path / "memory.json").of()["process"]["train"] is None


def test_a_runs_results_have_the_peak_of_each_stage(tmp_path: Path) -> None:
    config = filled(plugins.preset("bandit", "smoke")).with_(methods=("ad", "random", "optimal"))
    folder = RunFolder.open(tmp_path / "run", config)
    with folder.locked():
        folder.settle()
        pipeline.carry_out(folder, ("collect", "train", "evaluate", "report"), reporter=Reporter())
    found = read_results(tmp_path / "run")["peak_memory_bytes"]
    assert set(found) == {"process", "gpu"}
    for stage in memory.STAGES:
        assert found["process"][stage] is None or found["process"][stage] > 10**6
    assert (tmp_path / "run" / "memory.json").is_file()
