"""Loggers hear every line of metrics.jsonl; whatever becomes of them, the run is the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adbench import loggers
from adbench.cli import main
from adbench.config import RunConfig
from adbench.errors import PluginError, UnknownNameError
from adbench.loggers import Loggers
from adbench.loggers.tensorboard import TensorBoard
from adbench.loggers.wandb import WandB

Publish = Callable[..., None]
Told = pytest.CaptureFixture[str]
CONFIG = RunConfig(env="bandit")

# A short run whose lines are known: 20 updates, a line every 10.
RUN = ("run", "bandit", "--preset", "smoke", "--methods", "ad,random", "--tasks.train", "4")


class Kept:
    """Keeps what it is told; fails where it is told to."""

    def __init__(self, fails_in: str = "") -> None:
        self.told: list[tuple[Any, ...]] = []
        self._fails_in = fails_in

    def _tell(self, what: str, *told: Any) -> None:
        self.told.append((what, *told))
        if what == self._fails_in:
            raise OSError(f"no room for {what}")

    def start(self, config: RunConfig, folder: Path) -> None:
        self._tell("start", config, folder)

    def log(self, method: str, seed: int, update: int, values: Any) -> None:
        self._tell("log", method, seed, update, values)

    def finish(self) -> None:
        self._tell("finish")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """What `--log kept` makes."""
    logger = Kept()
    monkeypatch.setattr(loggers, "_made", lambda name: logger)
    return logger


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_logger_hears_every_line_and_the_runs_outcome_does_not_know_of_it(
    kept: Kept, tmp_path: Path, capsys: Told
) -> None:
    plain, logged = tmp_path / "plain", tmp_path / "logged"
    assert main([*RUN, "--out", str(plain)]) == 0
    assert kept.told == []
    assert main([*RUN, "--out", str(logged), "--log", "kept"]) == 0
    (first, config, folder), *heard, last = kept.told
    assert (first, folder, last) == ("start", logged, ("finish",))
    assert config.env == "bandit"
    assert [
        {"method": method, "seed": seed, "update": update, **values}
        for _, method, seed, update, values in heard
    ] == lines_of(logged)
    assert (plain / "config.toml").read_text() == (logged / "config.toml").read_text()
    results = [json.loads((run / "results.json").read_text()) for run in (plain, logged)]
    for one in results:
        del one["stage_seconds"], one["throughput"], one["peak_memory_bytes"]
    assert results[0] == results[1]


def test_a_run_goes_on_with_other_loggers_and_a_finished_one_starts_none(
    kept: Kept, tmp_path: Path, capsys: Told
) -> None:
    words = [*RUN, "--out", str(tmp_path / "run")]
    assert main(["collect", *words[1:]]) == 0
    assert main(["train", str(tmp_path / "run"), "--log", "kept"]) == 0
    assert [what for what, *_ in kept.told] == ["start", "log", "log", "finish"]
    assert main(words) == 0
    kept.told.clear()
    assert main([*words, "--log", "kept"]) == 0
    assert kept.told == []


@pytest.mark.parametrize("moment", ["start", "log", "finish"])
def test_a_logger_that_fails_is_dropped_with_one_warning_and_the_training_goes_on(
    moment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Told
) -> None:
    faulty, sound = Kept(moment), Kept()
    both = {"faulty": faulty, "sound": sound}
    monkeypatch.setattr(loggers, "_made", both.__getitem__)
    assert main([*RUN, "--out", str(tmp_path / "run"), "--log", "faulty,sound"]) == 0
    told = capsys.readouterr().err
    assert told.count(f"the logger 'faulty' failed in {moment}(): OSError: no room") == 1
    assert faulty.told[-1][0] == moment and sum(t[0] == moment for t in faulty.told) == 1
    assert [what for what, *_ in sound.told] == ["start", "log", "log", "finish"]
    assert len(lines_of(tmp_path / "run")) == 2


def test_loggers_are_finished_when_a_run_is_interrupted() -> None:
    logger = Kept()
    with (
        pytest.raises(KeyboardInterrupt),
        Loggers({"kept": logger}).following(CONFIG, Path("run")) as listen,
    ):
        assert listen is not None
        listen("ad", 0, 10, {"loss": 1.0})
        raise KeyboardInterrupt
    assert logger.told[1:] == [("log", "ad", 0, 10, {"loss": 1.0}), ("finish",)]


def test_no_loggers_listen_to_nothing() -> None:
    with Loggers().following(CONFIG, Path("run")) as listen:
        assert listen is None


def test_an_unknown_logger_is_refused_before_anything_begins(tmp_path: Path, capsys: Told) -> None:
    assert main([*RUN, "--out", str(tmp_path / "run"), "--log", "tensorbord"]) == 2
    assert "Did you mean 'tensorboard'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_another_packages_logger_comes_in_by_its_entry_point(
    publish: Publish, tmp_path: Path, capsys: Told
) -> None:
    text = (
        "class Lines:\n"
        "    def start(self, config, folder): self.file = (folder / 'lines.txt').open('w')\n"
        "    def log(self, method, seed, update, values):\n"
        "        print(method, seed, update, values['loss'] > 0, file=self.file)\n"
        "    def finish(self): self.file.close()\n"
    )
    publish("scribe", "[adbench.loggers]\nscribe = scribe_lines:Lines\n", scribe_lines=text)
    assert main([*RUN, "--out", str(tmp_path / "run"), "--log", "scribe"]) == 0
    assert (tmp_path / "run" / "lines.txt").read_text() == "ad 0 10 True\nad 0 20 True\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("made = 3", "it gave a int, not a class"),
        ("def made(): raise OSError('no server')", "OSError: no server"),
        ("class made:\n    def start(self, config, folder): ...", "it has no log, finish"),
        ("import no_such_client", "pip install no_such_client"),
    ],
)
def test_a_broken_logger_is_refused_by_name(publish: Publish, text: str, said: str) -> None:
    publish("odd", "[adbench.loggers]\nodd = odd_logger:made\n", odd_logger=text)
    with pytest.raises(PluginError, match=r"'odd' of odd 1\.0") as caught:
        loggers.make(("odd",))
    assert said in str(caught.value)


def test_nobody_listens_to_nobody() -> None:
    with pytest.raises(UnknownNameError, match="no logger named 'nobody'"):
        loggers.make(("nobody",))


class Writer:
    """Stands in for TensorBoard's: keeps scalars, by the folder that they would go to."""

    made: dict[str, Writer]

    def __init__(self, folder: str, purge_step: int) -> None:
        self.purge_step, self.open = purge_step, True
        self.scalars: list[tuple[str, float, int]] = []
        self.made[folder] = self

    def add_scalar(self, name: str, value: float, update: int) -> None:
        self.scalars.append((name, value, update))

    def close(self) -> None:
        self.open = False


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Writer]:
    Writer.made = {}
    stand_in = ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    return Writer.made


def test_tensorboard_gets_a_folder_a_training_and_only_numbers_it_can_draw(
    written: dict[str, Writer], tmp_path: Path
) -> None:
    logger = TensorBoard()
    logger.start(CONFIG, tmp_path)
    logger.log("ad", 0, 30, {"loss": 1.5, "note": "words", "rate": float("nan")})
    logger.log("ad", 0, 40, {"loss": 1.25})
    logger.log("ed", 2, 10, {"loss": 1.0})
    logger.finish()
    ad, ed = (written[str(tmp_path / "tensorboard" / name)] for name in ("ad-seed-0", "ed-seed-2"))
    assert ad.scalars == [("loss", 1.5, 30), ("loss", 1.25, 40)] and ad.purge_step == 30
    assert ed.scalars == [("loss", 1.0, 10)] and not (ad.open or ed.open)


def test_tensorboards_own_reader_finds_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first in (10, 20):  # killed after 30, gone on with from 10
        logger = TensorBoard()
        logger.start(CONFIG, tmp_path)
        for update in range(first, 40, 10):
            logger.log("ad", 0, update, {"loss": update / first})
        logger.finish()
    found = EventAccumulator(str(tmp_path / "tensorboard" / "ad-seed-0"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(10, 1.0), (20, 1.0), (30, 1.5)]


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")]
)
def test_without_its_package_a_logger_is_refused_with_the_line_that_installs_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Told
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main([*RUN, "--out", str(tmp_path / "run"), "--log", name]) == 2
    told = capsys.readouterr().err
    assert f"pip install 'algorithm-distillation-bench[{name}]'" in told
    assert not (tmp_path / "run").exists()


def test_wandb_gets_one_run_in_which_each_training_counts_its_own_updates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told: list[tuple[str, Any]] = []

    class Run:
        def define_metric(self, name: str, step_metric: str) -> None:
            told.append((name, step_metric))

        def log(self, values: dict[str, Any]) -> None:
            told.append(("log", values))

        def finish(self) -> None:
            told.append(("finish", None))

    stand_in = ModuleType("wandb")
    begun: list[dict[str, Any]] = []
    stand_in.init = lambda **how: begun.append(how) or Run()  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    for _ in range(2):
        logger = WandB()
        logger.start(CONFIG, tmp_path)
    logger.log("ad", 1, 10, {"loss": 1.5})
    logger.log("ad", 1, 20, {"loss": 1.0})
    logger.finish()
    assert begun[0]["id"] == begun[1]["id"] and begun[0]["config"]["env"] == "bandit"
    assert told == [
        ("ad/seed-1/*", "ad/seed-1/update"),
        ("log", {"ad/seed-1/update": 10, "ad/seed-1/loss": 1.5}),
        ("log", {"ad/seed-1/update": 20, "ad/seed-1/loss": 1.0}),
        ("finish", None),
    ]


def test_a_wandb_that_never_began_is_finished_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    WandB().finish()
