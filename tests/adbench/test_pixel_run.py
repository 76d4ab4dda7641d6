"""A run on pixels, from start to figure: its rows, its pictures, and that interruptions change
nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest
import torch

from adbench import pipeline, sweep
from adbench.config import RunConfig
from adbench.flags import resolve
from adbench.folder import RunFolder
from adbench.outcome import Rollout
from adbench.progress import Reporter
from adbench.results_file import read_results
from adbench.stages.work import STAGES
from adbench.trace import Trace

CONFIG = {
    "env_settings": {"height": 8, "width": 8},
    "methods": ("ad", "ad-blind", "sweep", "source", "random", "optimal"),
    "tasks": {"train": 8, "validation": 2, "test": 3},
    "collect": {"learners_per_task": 1, "episodes": 4, "expert_episodes": 1, "max_episodes": 6},
    "train": {"updates": 2, "checkpoint_updates": 1, "batch_sequences": 2},
    "evaluate": {"episodes": 4, "lanes_per_task": 2, "source_episodes": 5},
}


def config(**changes: object) -> RunConfig:
    return resolve("watermaze-small", "smoke", None, CONFIG | changes)


def carry_out(path: Path, *stages: str) -> str:
    said = io.StringIO()
    folder = RunFolder.open(path, config())
    with folder.locked():
        folder.settle()
        pipeline.carry_out(folder, stages or STAGES, reporter=Reporter(said))
    return said.getvalue()


@pytest.fixture(scope="module", autouse=True)
def quick_choice() -> Iterator[None]:
    """The choice of a sweep, with fewer episodes than it deserves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_ROUNDS", ((2000, 1), (10, 8)))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "maze"
    carry_out(path)
    return path


def evaluations(path: Path) -> dict[str, str]:
    """Digests of all that the evaluation left behind."""
    return {
        str(file.relative_to(path)): blake2b(file.read_bytes()).hexdigest()
        for file in (path / "evaluations").rglob("*")
        if file.is_file()
    }


def test_both_test_sets_have_every_row_and_steps_to_the_goal(finished: Path) -> None:
    results = read_results(finished)
    assert list(results["test_sets"]) == ["test", "region"]
    for record in results["test_sets"].values():
        assert set(record["scores"]) == set(CONFIG["methods"])
        played = {"ad", "ad-blind", "sweep", "source"}
        assert set(record["steps_to_goal"]) == played
        for name in played:
            assert 1 <= record["scores"][name]["final_steps_to_goal"] <= 25
    assert results["updates"] == {"ad": 2}  # the blind have no training of their own


def test_the_report_has_ways_a_gif_and_what_the_null_rows_say(finished: Path) -> None:
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert {"goal.svg", "paths-test.svg", "paths-region.svg", "seen.gif"} <= figures
    html = (finished / "report.html").read_text()
    assert "data:image/gif;base64," in html and len(html) < 2_000_000
    assert "constant frame" in html and "fixed strings of actions" in html


def test_the_trace_is_of_what_was_scored(finished: Path) -> None:
    folder = finished / "evaluations/seed-0/region"
    trace = Trace.load(folder / "ad.trace.safetensors")
    played = Rollout.load(folder / "ad.safetensors")
    lanes = [0, 2, 4]  # the first one of each task
    assert trace.episode.tolist() == [1, 2, 3, 4]
    assert torch.equal(trace.length, played.lengths[lanes])
    assert torch.equal(trace.reward.sum(dim=2), played.returns[lanes])
    assert torch.equal(trace.task, played.tasks)
    assert trace.about == played.about


def test_the_sweep_plays_what_was_chosen(finished: Path) -> None:
    told = json.loads((finished / "evaluations/seed-0/sweep.json").read_text())
    assert len(told["actions"]) == 25 and set(told["actions"]) <= set(range(8))
    played = Rollout.load(finished / "evaluations/seed-0/test/sweep.safetensors")
    assert played.returns.shape == (6, 4)


def test_whatever_is_damaged_is_made_again_as_it_was(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    shutil.copytree(finished, path)
    before = evaluations(path)
    for name in ("test/ad.trace.safetensors", "region/sweep.safetensors"):
        file = path / "evaluations/seed-0" / name
        raw = file.read_bytes()
        file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    (path / "evaluations/seed-0/sweep.json").write_text('{"actions": [0, 1, 99]}')
    (path / "evaluations/seed-0/region/ad.trace.safetensors").unlink()
    with pytest.warns(RuntimeWarning, match="is refused.*It is played again"):
        said = carry_out(path, "evaluate")
    assert "evaluate source on test, seed 0: there already" in said
    assert evaluations(path) == before


@pytest.mark.parametrize("every", [1, 2, 3])
def test_interruptions_in_the_middle_of_any_write_change_nothing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    """Each attempt dies at its third, fourth or fifth write to the disk, just before it counts."""
    path = tmp_path / "interrupted"
    shutil.copytree(finished, path)
    shutil.rmtree(path / "evaluations")
    plain, writes = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == 2 + every:
            raise KeyboardInterrupt
        plain(descriptor)

    attempts = 0
    while True:
        writes, attempts = 0, attempts + 1
        assert attempts < 60
        monkeypatch.setattr(os, "fsync", fsync)
        try:
            carry_out(path, "evaluate")
            break
        except KeyboardInterrupt:
            continue
        finally:
            monkeypatch.setattr(os, "fsync", plain)
    assert attempts > 3
    assert evaluations(path) == evaluations(finished)


def test_finished_means_that_the_traces_are_there_too(finished: Path, tmp_path: Path) -> None:
    assert pipeline.is_finished(RunFolder.read(finished))
    path = tmp_path / "maze"
    shutil.copytree(finished, path)
    (path / "evaluations/seed-0/test/ad.trace.safetensors").unlink()
    assert not pipeline.is_finished(RunFolder.read(path))


def test_a_smaller_test_set_gives_all_it_has() -> None:
    """four-boxes has 12 tasks to test on and 4 that are of the region."""
    told = {"tasks": {"train": 8, "validation": 2, "test": 12}}
    pipeline.check(resolve("four-boxes", "smoke", None, told))


def test_rows_on_pixels_need_ads_weights(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="ad-blind uses AD's weights; add 'ad' to methods"):
        config(methods=("ad-blind", "random"))
