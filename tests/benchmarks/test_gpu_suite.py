"""The slice of a suite: what is run, what becomes of it, and a tree that nobody installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from benchmarks.on_gpu import models, report, source_tree, sources, suite
from benchmarks.on_gpu.card import Card, cpu, machine
from benchmarks.on_gpu.runner import Ending
from benchmarks.on_gpu.store import Store


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that stay the same while a test runs, whoever edits files meanwhile."""
    monkeypatch.setattr(sources, "of_kernels", lambda: "kernels")
    monkeypatch.setattr(sources, "of_packages", lambda places: "packages")


class Shell:
    """Runs nothing: leaves the files that a suite would leave, and ends as told."""

    def __init__(self, code: int, *, finished: bool = False, begun: bool = True) -> None:
        self.code, self.finished, self.begun = code, finished, begun
        self.words: list[str] = []
        self.seconds = 0.0

    def __call__(self, words: Sequence[str], seconds: float) -> tuple[int, str]:
        self.words, self.seconds = list(words), seconds
        out = Path(words[words.index("--out") + 1])
        if self.begun:
            first, second = out / "bandit" / "seed-0", out / "dark-room" / "seed-0"
            for run in (first, second):
                run.mkdir(parents=True)
                (run / "config.toml").write_text("")
            (second / "seconds.json").write_text('{"collect": 2.5}')
            (second / "metrics.jsonl").write_text('{"tokens_per_second": 5e6}\n')
            if self.finished:
                found = {"stage_seconds": {"train": 9.0}, "throughput": {"train_tokens_per_s": 7e6}}
                (first / "results.json").write_text(json.dumps(found))
        return self.code, "adbench: it broke"


def taken(folder: Path, shell: Shell, *, smoke: bool = False, until: float = 1e9) -> Ending:
    with cpu() as there:
        card = Card(there.device, there.timer, smoke=smoke)
        store = Store(folder / "suite.json", "suite", machine(card))
        return suite.measure(card, store, until=until, clock=lambda: 0.0, say=lambda line: None,
                             run=shell)  # fmt: skip


def row(folder: Path) -> dict[str, Any]:
    (found,) = json.loads((folder / "suite.json").read_text())["rows"]
    assert isinstance(found, dict)
    return found


def test_a_slice_that_stops_at_its_time_is_well_and_tells_what_its_runs_did(tmp_path: Path) -> None:
    shell = Shell(3, finished=True)
    assert taken(tmp_path, shell) == Ending(1, 0, 0, ())
    assert shell.words[1:6] == ["-m", "adbench", "suite", "run", "quick"]
    assert shell.words[shell.words.index("--device") + 1] == "cuda"
    assert shell.words[shell.words.index("--stop-after") + 1] == "3"
    found = row(tmp_path)
    assert (found["status"], found["exit_code"]) == ("ok", 3)
    assert found["command"].endswith("--out DIR")
    assert found["runs"] == [
        {"run": "bandit/seed-0", "finished": True, "stage_seconds": {"train": 9.0},
         "throughput": {"train_tokens_per_s": 7e6}},
        {"run": "dark-room/seed-0", "finished": False, "stage_seconds": {"collect": 2.5},
         "throughput": {"train_tokens_per_s": 5e6}},
    ]  # fmt: skip
    page = "\n".join(report._suite([found]))
    assert "| bandit/seed-0 | yes | train 9 | train_tokens_per_s 7e+06 |" in page
    assert taken(tmp_path, Shell(1)) == Ending(0, 1, 0, ())  # it stands until the sources change


def test_a_slice_that_fails_says_what_the_suite_said_last(tmp_path: Path) -> None:
    assert taken(tmp_path, Shell(1)) == Ending(1, 0, 0, ("suite",))
    assert row(tmp_path)["reason"] == "adbench: it broke"


def test_a_slice_in_which_nothing_was_begun_is_not_well(tmp_path: Path) -> None:
    assert taken(tmp_path, Shell(3, begun=False)) == Ending(1, 0, 0, ("suite",))
    assert "no stage of any run was begun" in row(tmp_path)["reason"]


def test_a_slice_is_not_begun_without_the_time_to_end(tmp_path: Path) -> None:
    shell = Shell(0)
    assert taken(tmp_path, shell, until=180.0) == Ending(0, 0, 1, ())
    assert not shell.words and not (tmp_path / "suite.json").exists()


def test_without_gymnasium_the_slice_is_passed_over_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "NEEDED", ("gymnasium_that_nobody_has",))
    assert taken(tmp_path, Shell(0)) == Ending(1, 0, 0, ())
    assert row(tmp_path)["status"] == "unsupported"
    assert "benchmarks.wheels" in "\n".join(report._suite([row(tmp_path)]))


def test_the_command_is_one_that_adbench_knows(tmp_path: Path) -> None:
    from adbench.commands.suite import main
    from adbench.errors import UsageError

    words = suite.command(tmp_path, smoke=False)[4:]
    with pytest.raises(UsageError, match="no-such-suite"):  # all else in it is understood
        main(["no-such-suite" if word == "quick" else word for word in words])


def test_a_tree_that_nobody_installed_is_found_by_its_metadata(tmp_path: Path) -> None:
    written = source_tree.write(tmp_path)
    found = metadata.Distribution.at(written)
    assert found.name == source_tree.project()["name"]
    entries = {(point.group, point.name): point.value for point in found.entry_points}
    assert entries["adbench.envs", "watermaze"] == "adbench_envs.watermaze:Watermaze"
    assert entries["console_scripts", "adbench"] == "adbench.cli:main"
    assert "adbench.presets" in {group for group, _ in entries}
    installed = metadata.distribution(source_tree.project()["name"])
    assert {(p.group, p.name) for p in installed.entry_points} <= set(entries)


def test_another_process_finds_the_packages() -> None:
    environment = source_tree.environment()
    code = "import adbench, adbench_kernels, benchmarks.on_gpu.source_tree as tree; "
    code += "assert tree.is_installed()"
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=os.sep, check=True)
