"""Suites whose runs never happen: a process that copies made-up results into its folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from adbench import plugins
from adbench.config import RunConfig
from adbench.noise import generator
from adbench.results import Facts, build_results
from adbench.results_file import write_results
from adbench.rows import CONSTANTS
from adbench.suite import definition
from adbench.suite.cells import Cell, plan

Plan = Callable[[str], tuple[Cell, ...]]

TWO_WORLDS = """
preset = "smoke"
seeds = [0, 1]
methods = ["ad", "source", "random", "optimal"]
environments = ["bandit", "dark-room"]
"""

PROCESS = """
import pathlib, shutil, signal, sys, time
folder, results, behaviour = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("begun", flush=True)
if behaviour == "fail":
    sys.exit("adbench: the cable was pulled out")
if behaviour == "vanish":
    signal.raise_signal(signal.SIGKILL)
if behaviour == "stop":
    sys.exit(3)
if behaviour == "wait":
    def end(*_):
        (folder / "ended").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, end)
    (folder / "waiting").touch()
    time.sleep(60)
if behaviour == "gate":
    (folder / "waiting").touch()
    while not pathlib.Path(results).with_name("open").exists():
        time.sleep(0.01)
if behaviour != "nothing":
    shutil.copy(results, folder / "results.json")
"""


@dataclass(frozen=True)
class FakeRollout:
    """The shape of `adbench.evaluate.Rollout`."""

    returns: torch.Tensor
    lengths: torch.Tensor
    task_index: torch.Tensor
    tasks: torch.Tensor


def results_of(config: RunConfig, *, facts: dict[str, Any] | None = None) -> dict[str, Any]:
    """Results of a run of this configuration whose lanes earned random returns."""
    family = plugins.family_of(config)
    evaluations = {}
    for test_set in family.test_sets:
        tasks = family.tasks(test_set, config.tasks.test, seed=config.tasks.split_seed)
        for seed in config.seeds:
            for method in config.methods:
                if method in CONSTANTS:
                    continue
                draw = generator("suite", config.env, method, seed)
                shape = len(tasks), config.evaluate.episodes
                returns = torch.from_numpy(draw.random(shape, dtype="float32"))
                lengths = torch.full(shape, family.max_episode_steps, dtype=torch.int32)
                evaluations[method, seed, test_set] = FakeRollout(
                    returns, lengths, torch.arange(len(tasks)), tasks
                )
    given: dict[str, Any] = {
        "device": config.device,
        "threads": 1,
        "command": "adbench run",
        "stage_seconds": {"collect": 1.0, "train": 2.0, "evaluate": 3.0, "report": 4.0},
    }
    return build_results(
        config, evaluations, family=family, facts=Facts(**{**given, **(facts or {})}), resamples=20
    )


@pytest.fixture
def fake_results() -> Callable[..., dict[str, Any]]:
    """See `results_of`."""
    return results_of


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    """Cells of a suite that is given as text."""

    def cells(text: str) -> tuple[Cell, ...]:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return plan(definition.load(path), check=False)

    return cells


@pytest.fixture
def four(planned: Plan) -> tuple[Cell, ...]:
    """Two worlds, two seeds."""
    return planned(TWO_WORLDS)


class FakeCommand:
    """Starts a process that behaves as told; remembers whom it started.

    Args:
        store: where made-up results are kept.
        behaviours: by a cell's name; what is not named succeeds.
    """

    def __init__(self, store: Path, behaviours: dict[str, str]) -> None:
        self.store, self.behaviours = store, behaviours
        self.started: list[str] = []

    def __call__(self, cell: Cell, folder: Path) -> list[str]:
        """The words that start a cell's process."""
        self.started.append(cell.name)
        results = self.store / f"{'.'.join(cell.parts)}.json"
        self.store.mkdir(exist_ok=True)
        if not results.exists():
            write_results(results, results_of(cell.config))
        behaviour = self.behaviours.get(cell.name, "succeed")
        return [sys.executable, "-c", PROCESS, str(folder), str(results), behaviour]


@pytest.fixture
def fake_command(tmp_path: Path) -> Callable[..., FakeCommand]:
    """Makes a `FakeCommand`."""
    return lambda **behaviours: FakeCommand(tmp_path / "store", behaviours)
