"""A context-length study shares its histories, goes on where it was, and ends with its page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench import pipeline
from adbench.cli import main
from adbench.errors import RunFolderError, Stopped
from adbench.folder import RunFolder
from adbench.progress import Reporter
from adbench.results_file import read_results, write_results
from adbench.suite import context_session
from adbench.suite.cells import Cell
from adbench.suite.context_plan import Planned, plan
from adbench.suite.context_run import collect_histories, histories_folder, share_histories

Told = pytest.CaptureFixture[str]

STUDY = """
preset = "smoke"
seeds = [0, 1]
exact = [4, 8]
banded = [4]
tokens_per_update = 16
updates = 2
[settings.model]
width = 16
[settings.evaluate]
episodes = 6
lanes_per_task = 1
source_episodes = 6
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def planned(study: Path) -> Planned:
    return plan("bandit", file=study, device="cpu")


class Copies:
    """Starts a process that copies made-up results into its folder, or does as told."""

    def __init__(self, store: Path, fake_results: Callable[..., dict[str, Any]]) -> None:
        self.store, self.fake_results = store, fake_results
        self.started: list[str] = []
        self.fails = ""
        self.found: dict[str, list[str]] = {}

    def __call__(self, cell: Cell, folder: Path) -> list[str]:
        self.started.append(cell.name)
        self.found[cell.name] = sorted(
            path.name for path in folder.glob(f"histories/seed-{cell.seed}/*")
        )
        if cell.name == self.fails:
            return ["sh", "-c", "echo adbench: out of luck; exit 1"]
        file = self.store / f"{len(self.started)}.json"
        self.store.mkdir(exist_ok=True)
        write_results(file, self.fake_results(cell.config))
        return ["cp", str(file), str(folder / "results.json")]


@pytest.fixture
def copies(tmp_path: Path, fake_results: Callable[..., dict[str, Any]]) -> Copies:
    return Copies(tmp_path / "store", fake_results)


def carry_out(planned: Planned, out: Path, command: Copies, **how: Any) -> int:
    return context_session.run(planned, out, jobs=1, command=command, typed=("suite",), **how)


def test_every_run_of_a_seed_is_given_the_same_files(
    planned: Planned, copies: Copies, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "out"
    assert carry_out(planned, out, copies) == 0
    assert copies.started == [cell.name for cell in planned.cells]
    for cell in planned.cells:
        theirs = cell.folder(out) / "histories" / f"seed-{cell.seed}"
        ours = histories_folder(out, cell.seed) / "histories" / f"seed-{cell.seed}"
        names = sorted(path.name for path in ours.iterdir())
        # They were there before its process began.
        assert copies.found[cell.name] == names and "manifest.jsonl" in names
        for name in names:
            assert (theirs / name).read_bytes() == (ours / name).read_bytes()
            shared = os.path.samefile(theirs / name, ours / name)
            assert shared == name.endswith(".h5")


def test_a_run_takes_shared_histories_for_its_own(planned: Planned, tmp_path: Path) -> None:
    out, cell = tmp_path / "out", planned.cells[-1]
    collect_histories([cell], out, reporter=Reporter())
    folder = RunFolder.open(cell.folder(out), cell.config)
    share_histories(histories_folder(out, cell.seed), folder.path, cell.seed)
    before = sorted(folder.histories(cell.seed).iterdir())
    times = [path.stat().st_mtime_ns for path in before]
    with folder.locked():
        folder.settle()
        pipeline.carry_out(folder, ("collect", "train"), reporter=Reporter())
    assert [path.stat().st_mtime_ns for path in before] == times
    assert sorted(folder.histories(cell.seed).iterdir()) == before


def test_where_there_are_no_hard_links_histories_are_copied(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    collect_histories(planned.cells[:1], tmp_path, reporter=Reporter())
    monkeypatch.setattr(os, "link", no_links)
    source = histories_folder(tmp_path, 0)
    share_histories(source, tmp_path / "run", 0)
    shards = list((source / "histories" / "seed-0").glob("*.h5"))
    assert shards
    for shard in shards:
        copy = tmp_path / "run" / "histories" / "seed-0" / shard.name
        assert copy.read_bytes() == shard.read_bytes() and not copy.samefile(shard)


def test_a_place_that_cannot_be_written_is_named(planned: Planned, tmp_path: Path) -> None:
    collect_histories(planned.cells[:1], tmp_path, reporter=Reporter())
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunFolderError, match="cannot be put there"):
        share_histories(histories_folder(tmp_path, 0), tmp_path / "run", 0)


def test_a_run_that_fails_is_said_and_alone_tried_again(
    planned: Planned, copies: Copies, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "out"
    copies.fails = planned.cells[2].name
    assert carry_out(planned, out, copies) == 1
    told = capsys.readouterr()
    assert f"failed: {copies.fails}: adbench: out of luck" in told.out
    record = json.loads((out / "context.json").read_text())
    assert record["missing"] == [copies.fails] and "out of luck" in record["failed"][0]["why"]
    copies.started.clear()
    again, copies.fails = copies.fails, ""
    assert carry_out(planned, out, copies) == 0
    assert copies.started == [again]
    copies.started.clear()
    assert carry_out(planned, out, copies, as_json=True) == 0
    assert copies.started == []
    told = capsys.readouterr()
    assert "all 6 runs are finished" in told.err
    outcome = json.loads(told.out.splitlines()[-1])
    assert outcome["finished"] and outcome["page"] == str(out / "context.html")


def test_time_that_is_up_stops_it_and_the_page_shows_what_there_is(
    planned: Planned, copies: Copies, tmp_path: Path, capsys: Told
) -> None:
    out = tmp_path / "out"
    times = iter([0.0, 0.0])
    with pytest.raises(Stopped, match="Go on with"):
        carry_out(planned, out, copies, stop_after_minutes=1.0, clock=lambda: next(times, 61.0))
    assert copies.started == []
    assert "No run is finished yet" in (out / "context.html").read_text()
    assert carry_out(planned, out, copies) == 0


def test_another_study_in_the_same_folder_is_refused(
    planned: Planned, copies: Copies, study: Path, tmp_path: Path, capsys: Told
) -> None:
    assert carry_out(planned, tmp_path / "out", copies) == 0
    study.write_text(STUDY.replace("updates = 2", "updates = 3"))
    other = plan("bandit", file=study, device="cpu")
    with pytest.raises(RunFolderError, match=r"train\.updates: it has 2, you asked for 3"):
        carry_out(other, tmp_path / "out", copies)


def test_end_to_end_at_the_size_of_a_test(study: Path, tmp_path: Path, capsys: Told) -> None:
    out = tmp_path / "out"
    study.write_text(STUDY.replace("exact = [4, 8]", "exact = [4]"))  # a process less
    words = ["suite", "run", "context", "--env", "bandit", "--config", str(study)]
    words += ["--seeds", "3", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "exact: " in told.out and f"page     {out / 'context.html'}" in told.out
    assert "Done in" in told.err
    record = json.loads((out / "context.json").read_text())
    assert [(p["series"], p["context_steps"]) for p in record["points"]] == [
        ("exact", 4),
        ("banded", 4),
    ]
    for point in record["points"]:
        assert point["trained_tokens"] == 32 and point["seeds"] == [3]
        assert point["train_tokens_per_s"]["mean"] > 0
        assert point["evaluate_env_steps_per_s"]["mean"] > 0
    runs = [out / "bandit" / series / "context-4" / "seed-3" for series in ("exact", "banded")]
    histories = {
        tuple(
            (path.name, path.read_bytes())
            for path in sorted((run / "histories" / "seed-3").glob("*.h5"))
        )
        for run in runs
    }
    assert len(histories) == 1
    assert {read_results(run)["tokens"]["ad"] for run in runs} == {32}
