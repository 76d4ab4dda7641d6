"""At a terminal the steps are a table that stays up to date; in a log they are lines."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from adbench import pipeline, plugins
from adbench.errors import TrainingError
from adbench.flags import filled
from adbench.folder import RunFolder
from adbench.live_table import DONE, STOPPED, THERE, WAITING, WORKING, LiveTable
from adbench.progress import Reporter

STEPS = ("collect, seed 0", "train ad, seed 0", "report", "train ed, seed 0", "report")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One size of screen on every machine."""
    for name, value in (("COLUMNS", "120"), ("LINES", "40"), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> LiveTable:
    return LiveTable(STEPS, stream=Terminal(), clock=clock)


def plain(text: str) -> str:
    """Text without what a terminal is told about colours and the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def drawn(table: LiveTable) -> list[str]:
    """The table's rows as they are now."""
    shown = io.StringIO()
    Console(file=shown, width=120).print(table.render())
    return [line.rstrip() for line in shown.getvalue().splitlines()]


def states(table: LiveTable) -> list[str]:
    return [row.state for row in table.rows]


def test_a_step_goes_from_waiting_over_working_to_done_with_its_time(
    table: LiveTable, clock: Clock
) -> None:
    assert states(table) == [WAITING] * 5
    with table.step("collect, seed 0", "episodes") as progress:
        clock.now = 10.0
        progress(0, 100)
        progress(25, 100, "return 3.5")
        (line,) = (line for line in drawn(table) if line.startswith("collect"))
        assert WORKING in line and "25/100 episodes" in line
        assert "30 s left" in line and line.endswith("return 3.5")
        clock.now = 65.0
    (line,) = (line for line in drawn(table) if line.startswith("collect"))
    assert re.fullmatch(r"collect, seed 0 +done +1 min 5 s", line)
    assert states(table) == [DONE, *[WAITING] * 4]


def test_what_is_left_is_reckoned_from_where_a_resumed_step_began(
    table: LiveTable, clock: Clock
) -> None:
    with table.step("train ad, seed 0", "updates") as progress:
        progress(90, 110)
        clock.now = 8.0
        assert "8 s" in " ".join(drawn(table)) and "left" not in " ".join(drawn(table))
        progress(100, 110)
        assert "8 s left" in " ".join(drawn(table))


def test_what_was_there_already_and_what_was_stopped_say_so(table: LiveTable) -> None:
    table.skip("collect, seed 0")
    with pytest.raises(TrainingError), table.step("train ad, seed 0", "updates") as progress:
        progress(3, 9)
        raise TrainingError("the ground shook")
    assert states(table)[:2] == [THERE, STOPPED]
    shown = drawn(table)
    assert "there already" in shown[1] and "stopped" in shown[2] and "3/9 updates" in shown[2]


def test_two_steps_of_the_same_words_are_two_rows(table: LiveTable) -> None:
    with table.step("report", "parts"):
        pass
    assert states(table) == [WAITING, WAITING, DONE, WAITING, WAITING]
    table.skip("report")
    assert states(table)[-1] == THERE


def test_a_step_that_nobody_announced_gets_a_row_of_its_own(table: LiveTable) -> None:
    with table.step("choose settings", "settings"):
        assert table.rows[-1].what == "choose settings"


def test_a_low_screen_shows_the_rows_around_the_work_and_all_of_them_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINES", "12")
    said = Terminal()
    table = LiveTable([f"step {k}" for k in range(30)], stream=said, clock=lambda: 0.0)
    with table.shown():
        for k in range(20):
            table.skip(f"step {k}")
        with table.step("step 20", "parts"):
            shown = drawn(table)
            assert len(shown) < 12
            assert any(line.startswith("step 20") for line in shown)
            assert "18 before" in shown[1] and "6 more to do" in shown[-1]
    assert all(f"step {k} " in plain(said.getvalue()) for k in range(30))


def test_words_in_brackets_are_shown_as_they_are(table: LiveTable) -> None:
    with table.step("collect, seed 0", "episodes") as progress:
        progress(1, 2, "[bold]3[/bold]")
        assert "[bold]3[/bold]" in " ".join(drawn(table))


def test_a_reporter_shows_the_table_at_a_terminal_and_lines_above_it() -> None:
    said = Terminal()
    reporter = Reporter(said, clock=lambda: 0.0)
    with reporter.steps(STEPS):
        reporter.skip(STEPS[0])
        with reporter.task(STEPS[1], unit="updates") as progress:
            progress(5, 10, "loss 1.5")
            reporter.say("adbench: a word")
    shown = plain(said.getvalue())
    assert "adbench: a word" in shown and "there already" in shown
    assert re.search(r"train ad, seed 0 +done +0 s", shown)
    reporter.say("afterwards")
    assert said.getvalue().endswith("afterwards\n")


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_in_a_log_and_at_a_dumb_terminal_steps_are_plain_lines(
    term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    said = Terminal() if term == "dumb" else io.StringIO()
    reporter = Reporter(said, clock=lambda: 0.0)
    with reporter.steps(STEPS):
        reporter.skip(STEPS[0])
        with reporter.task(STEPS[1], unit="updates") as progress:
            progress(5, 10)
    assert said.getvalue() == "collect, seed 0: there already\ntrain ad, seed 0 ... 0 s\n"


def test_what_is_printed_to_stdout_stays_there(capsys: pytest.CaptureFixture[str]) -> None:
    said = Terminal()
    with Reporter(said, clock=lambda: 0.0).steps(STEPS):
        print("data", file=sys.stdout)
    assert capsys.readouterr().out == "data\n" and "data" not in said.getvalue()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunFolder]:
    config = filled(plugins.preset("bandit", "smoke")).with_(methods=("ad", "ed", "random"))
    folder = RunFolder.open(tmp_path / "run", config)
    with folder.locked():
        folder.settle()
        yield folder


def test_a_run_at_a_terminal_shows_its_stages_steps_in_their_order(small: RunFolder) -> None:
    said = Terminal()
    pipeline.carry_out(small, ("collect", "train"), reporter=Reporter(said))
    last = plain(said.getvalue()).rpartition("step ")[2]
    found = re.findall(r"^(collect|train ad|train ed), seed 0 +done", last, re.MULTILINE)
    assert found == ["collect", "train ad", "train ed"] and "evaluate" not in last
    said = Terminal()
    pipeline.carry_out(small, ("collect", "train"), reporter=Reporter(said))
    assert plain(said.getvalue()).rpartition("step ")[2].count("there already") == 3
