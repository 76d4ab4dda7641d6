"""Running a suite's cells: side by side, through failures, kills and interruptions."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adbench import flags
from adbench.errors import FolderInUseError, RunFolderError, Stopped
from adbench.folder import CONFIG, held
from adbench.results_file import read_results, write_results
from adbench.suite import session, state
from adbench.suite.cells import Cell
from adbench.suite.runner import Progress, run_cells, run_command

Fake = Callable[..., Any]
POLL_SECONDS = 0.01


def phases(table: Sequence[Progress]) -> list[str]:
    return [each.phase for each in table]


def run(cells: Sequence[Cell], out: Path, command: Any, **how: Any) -> list[Progress]:
    return run_cells(cells, out, command=command, poll_seconds=POLL_SECONDS, **how)


def test_every_cell_is_run_in_its_folder(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    command = fake_command()
    assert phases(run(four, tmp_path / "out", command)) == ["finished"] * 4
    assert command.started == [cell.name for cell in four]
    for cell in four:
        found = state.inspect(cell, tmp_path / "out")
        assert found.kind == "finished" and found.adopted_from is None and found.seconds == 10.0


def test_so_many_run_at_once_and_no_more(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    out, at_once = tmp_path / "out", []
    command = fake_command(**{cell.name: "gate" for cell in four})

    def watch(table: Sequence[Progress]) -> None:
        at_once.append(sum(each.phase == "running" for each in table))
        if all((cell.folder(out) / "waiting").exists() for cell in four[:3]):
            (command.store / "open").touch()

    assert phases(run(four, out, command, jobs=3, watch=watch)) == ["finished"] * 4
    assert max(at_once) == 3


def test_a_cell_that_fails_takes_no_other_with_it(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    behaviours = {four[0].name: "fail", four[2].name: "vanish", four[3].name: "nothing"}
    command = fake_command(**behaviours)
    table = run(four, tmp_path / "out", command)
    assert phases(table) == ["failed", "finished", "failed", "failed"]
    assert table[0].said == "adbench: the cable was pulled out"
    assert "SIGKILL" in table[2].said and "results are not what was asked" in table[3].said
    found = state.inspect(four[0], tmp_path / "out")
    assert (found.kind, found.why) == ("failed", "adbench: the cable was pulled out")
    log = (four[0].folder(tmp_path / "out") / state.LOG).read_text()
    assert log.startswith("$ ") and "begun" in log

    command.behaviours.clear()
    rest = [cell for cell in four if state.inspect(cell, tmp_path / "out").kind != "finished"]
    command.started.clear()
    assert phases(run(rest, tmp_path / "out", command)) == ["finished"] * 3
    assert four[1].name not in command.started
    assert not (four[0].folder(tmp_path / "out") / state.FAILED).exists()


def test_a_program_that_is_not_there_is_a_failure_of_its_cell_alone(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    fake = fake_command()

    def command(cell: Cell, folder: Path) -> list[str]:
        return ["/no/such/program"] if cell is four[0] else list(fake(cell, folder))

    table = run(four[:2], tmp_path / "out", command)
    assert phases(table) == ["failed", "finished"] and "could not be started" in table[0].said


def test_names_are_never_read_by_a_shell(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    out = tmp_path / "it's $(touch here) ; a folder"
    assert phases(run(four[:1], out, fake_command())) == ["finished"]
    assert not Path("here").exists() and not (tmp_path / "here").exists()


def test_an_interruption_ends_every_process_and_waits_for_it(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    out = tmp_path / "out"
    command = fake_command(**{cell.name: "wait" for cell in four})

    def watch(table: Sequence[Progress]) -> None:
        if all((cell.folder(out) / "waiting").exists() for cell in four[:2]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(four, out, command, jobs=2, watch=watch)
    assert all((cell.folder(out) / "ended").exists() for cell in four[:2])
    assert command.started == [cell.name for cell in four[:2]]
    assert state.inspect(four[0], out).kind == "begun"
    command.behaviours.clear()
    assert phases(run(four, out, command, jobs=2)) == ["finished"] * 4


HOLDER = """
import fcntl, pathlib, shutil, sys
folder, results = pathlib.Path(sys.argv[1]), sys.argv[2]
with (folder / ".lock").open("a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
    if results:
        shutil.copy(results, folder / "results.json")
"""


@pytest.mark.parametrize("finishes", [True, False])
def test_what_a_killed_suite_left_running_is_waited_for(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake, finishes: bool
) -> None:
    out, cell, command = tmp_path / "out", four[0], fake_command()
    run([cell], out, command)  # what it would have made
    results = cell.folder(out) / state.RESULTS
    elsewhere = results.rename(tmp_path / "results.json")
    command.started.clear()
    words = [sys.executable, "-c", HOLDER, str(cell.folder(out)), str(elsewhere) * finishes]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline()
        told = []

        def watch(table: Sequence[Progress]) -> None:
            told.append(table[0].said)
            if len(told) == 3:
                holder.communicate(b"\n")

        assert phases(run([cell], out, command, watch=watch)) == ["finished"]
    assert f"in use by process {holder.pid}" in told[0] or "in use by" in told[0]
    assert command.started == ([] if finishes else [cell.name])


def test_when_time_is_up_nothing_more_is_begun(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    clock = iter(range(0, 10_000, 50))
    command = fake_command(**{four[1].name: "stop"})
    table = run(
        four, tmp_path / "out", command, stop_after_minutes=5, clock=lambda: float(next(clock))
    )
    assert "stopped" in phases(table) and len(command.started) < 4
    assert set(phases(table)) <= {"finished", "stopped"}
    log = (four[0].folder(tmp_path / "out") / state.LOG).read_text()
    assert "--stop-after" in log


def resolved(words: list[str]) -> Any:
    """The configuration that an `adbench run` would ask for."""
    assert words[:4] == [sys.executable, "-m", "adbench", "run"]
    settings, rest = flags.take_flags(words[5:], ("--preset", "--config", "--out"))
    told = dict(zip(rest[::2], rest[1::2], strict=True))
    return flags.resolve(words[4], told["--preset"], Path(told["--config"]), settings)


def test_the_command_of_a_cell_asks_for_its_very_configuration(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(four[:1], tmp_path, fake_command())
    folder = four[0].folder(tmp_path)
    assert resolved(run_command(four[0], folder)) == four[0].config

    # A preset that says what the cell says none of.
    from adbench import plugins

    base = plugins.preset("bandit", "smoke")
    long_rows = base.with_(train=base.train.with_(sequence_steps=90))
    monkeypatch.setattr(plugins, "preset", lambda *_: long_rows)
    assert four[0].config.train.sequence_steps is None
    words = run_command(four[0], folder)
    assert words[-2:] == ["--train.sequence-steps", "none"]
    assert resolved(words) == four[0].config


def test_a_folder_of_another_run_is_refused_before_anything_starts(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake, fake_results: Fake
) -> None:
    run(four[:1], tmp_path, fake_command(**{four[0].name: "fail"}))
    other = Cell(four[0].world, four[0].config.with_(tasks={"train": 15}), four[0].env_version)
    with pytest.raises(RunFolderError, match=r"tasks\.train: it has 16, you asked for 15"):
        state.inspect(other, tmp_path)
    assert state.inspect(other, tmp_path, strict=False).kind == "failed"
    folder = four[1].folder(tmp_path)
    folder.mkdir(parents=True)
    write_results(folder / state.RESULTS, fake_results(other.config.with_(seeds=(1,))))
    with pytest.raises(RunFolderError, match=r"results of another run.*tasks\.train is 15, not 16"):
        state.inspect(four[1], tmp_path)


def test_damaged_results_are_made_anew(
    four: tuple[Cell, ...], tmp_path: Path, fake_command: Fake
) -> None:
    run(four[:1], tmp_path, command := fake_command())
    results = four[0].folder(tmp_path) / state.RESULTS
    results.write_text(results.read_text()[:-9])
    assert state.inspect(four[0], tmp_path).kind == "begun"
    assert phases(run(four[:1], tmp_path, command)) == ["finished"]
    assert read_results(results)["seeds"] == [0]


# The whole command, with processes that do nothing.


@pytest.fixture
def suite_file(tmp_path: Path) -> str:
    path = tmp_path / "bandit.toml"
    path.write_text(
        'preset = "smoke"\nseeds = [0, 1]\nmethods = ["ad", "source", "random", "optimal"]\n'
        'environments = ["bandit"]\n'
    )
    return str(path)


def test_a_suite_ends_with_a_leaderboard_and_tries_again_what_failed(
    suite_file: str, tmp_path: Path, fake_command: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    out, command = tmp_path / "out", fake_command(**{"bandit, seed 1": "fail"})
    assert session.run(suite_file, out, command=command, jobs=2) == 1
    shown, said = capsys.readouterr()
    assert "bandit 1 seed" in shown and "failed: bandit, seed 1: adbench: the cable" in shown
    assert "To try them again" in said and "bandit, seed 0: done" in said
    page = (out / "leaderboard.html").read_text()
    assert "bandit, seed 1 failed" in page and "the cable was pulled out" in page

    command.behaviours.clear()
    command.started.clear()
    assert session.run(suite_file, out, command=command) == 0
    assert command.started == ["bandit, seed 1"]
    assert "bandit 2 seeds" in capsys.readouterr().out
    assert session.run(suite_file, out, command=command, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == told["missing"] == [] and len(command.started) == 1
    assert {Path(path).name for path in told["files"].values()} == {
        "leaderboard.html", "leaderboard.csv", "leaderboard.json",
    }  # fmt: skip


def test_time_that_is_up_is_an_ending_of_its_own(
    suite_file: str, tmp_path: Path, fake_command: Fake
) -> None:
    command = fake_command(**{"bandit, seed 0": "stop"})
    typed = ("suite", "run", "x y.toml")
    with pytest.raises(Stopped, match=r"adbench suite run 'x y\.toml'") as caught:
        session.run(suite_file, tmp_path / "out", command=command, typed=typed)
    assert caught.value.exit_code == 3
    assert (tmp_path / "out" / "leaderboard.csv").exists()


def test_a_second_process_on_the_same_folder_is_refused(
    suite_file: str, tmp_path: Path, fake_command: Fake
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with held(out), pytest.raises(FolderInUseError, match="in use by process"):
        session.run(suite_file, out, command=fake_command())
    assert not list(out.glob("bandit"))


def test_finished_runs_of_the_same_settings_are_adopted(
    suite_file: str, tmp_path: Path, fake_command: Fake, fake_results: Fake,
    four: tuple[Cell, ...], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    elsewhere = tmp_path / "elsewhere" / "a"
    elsewhere.mkdir(parents=True)
    rows = ("ad", "ed", "source", "random", "optimal")
    both = four[0].config.with_(seeds=(1, 0, 5), preset="another", methods=rows)
    write_results(elsewhere / "results.json", fake_results(both))
    (tmp_path / "elsewhere" / "results.json").write_text("{}")  # not worth a word
    out, command = tmp_path / "out", fake_command()
    assert session.run(suite_file, out, command=command, adopt=[tmp_path / "elsewhere"]) == 0
    assert command.started == []
    shown, said = capsys.readouterr()
    assert "bandit 2 seeds" in shown and f"adopted from {elsewhere / 'results.json'}" in said
    assert not (out / "bandit/seed-0" / CONFIG).exists()
    assert state.inspect(four[0], out).adopted_from == str(elsewhere / "results.json")
    assert state.inspect(four[0], out).seconds == pytest.approx(10 / 3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tasks": {"train": 15}}, "tasks.train is 15, not 16"),
        ({"seeds": (2,)}, "it has no seed 0"),
        ({"methods": ("ad", "random", "optimal")}, "it lacks the rows source"),
        ({"env_version": 99}, "version 99"),
        ({"env": "dark-room"}, "of the environment 'dark-room'"),
        ({"device": "cuda: a card"}, "made on cuda, not cpu"),
        ({"config": {"env": "bandit", "of": "tomorrow"}}, "of another time"),
    ],
)
def test_a_run_of_other_settings_is_not_adopted(
    change: dict[str, Any], why: str, four: tuple[Cell, ...], fake_results: Fake
) -> None:
    from adbench.suite.answers import why_not

    asked = Cell(four[0].world, four[0].config, four[0].env_version, any_device=False)
    fields = {name: change[name] for name in change if name in ("tasks", "seeds", "methods")}
    results = fake_results(asked.config.with_(**fields))
    assert why_not(results, asked) is None or fields
    results |= {name: value for name, value in change.items() if name not in fields}
    assert why in str(why_not(results, asked))
    if "device" in change:
        anywhere = Cell(asked.world, asked.config, asked.env_version)
        assert why_not(results, anywhere) is None


def test_a_real_run_of_one_cell_goes_through_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from adbench.cli import main

    path = tmp_path / "tiny.toml"
    path.write_text(
        'preset = "smoke"\nmethods = ["source", "random", "optimal"]\nenvironments = ["bandit"]\n'
    )
    words = ["suite", "run", str(path), "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["method"]: row for row in told["tables"][0]["rows"]}
    assert rows["optimal"]["final_mean"] == 1.0 and rows["source"]["worlds"] == ["bandit"]
    before = time.time_ns()
    assert main(words) == 0
    assert "all runs are finished" in capsys.readouterr().err
    log = tmp_path / "out/bandit/seed-0" / state.LOG
    assert log.stat().st_mtime_ns < before
    assert main(["suite", "show", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["suite", "report", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == told["tables"]
