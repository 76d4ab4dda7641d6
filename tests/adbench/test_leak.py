"""Only the final evaluation reads the ids of test tasks: every step of a run is watched."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench import pipeline, plugins, sweep
from adbench.config import RunConfig
from adbench.flags import resolve
from adbench.folder import RunFolder
from adbench.progress import silent
from adbench.results import read_results
from adbench.stages import evaluate
from adbench.stages.work import Seconds, Work
from adbench.task import BatchedEnv, TaskFamily

TINY = {
    "methods": ("ad", "ed", "ad-shuffled", "ad-no-reward", "source", "source-best", "optimal"),
    "tasks": {"train": 8, "validation": 2, "test": 3},
    "collect": {
        "learners_per_task": 1, "episodes": 3, "expert_episodes": 1, "max_episodes": 5,
    },
    "train": {
        "updates": 2, "checkpoint_updates": 1, "batch_sequences": 2, "choose_best": True,
    },
    "evaluate": {"episodes": 2, "lanes_per_task": 1},
}  # fmt: skip


class Watched:
    """A family that notes which splits are asked for and on which tasks anything is done."""

    def __init__(self, family: TaskFamily, monkeypatch: pytest.MonkeyPatch) -> None:
        self.splits: set[str] = set()
        self.seen: set[bytes] = set()
        kind = type(family)

        def tasks(this: TaskFamily, split: str, count: int | None, *, seed: int) -> Tensor:
            self.splits.add(split)
            return plain_tasks(this, split, count, seed=seed)

        def make(this: TaskFamily, tasks: Tensor, **how: Any) -> BatchedEnv:
            self.see(tasks)
            return plain_make(this, tasks, **how)

        def optimal_return(this: TaskFamily, tasks: Tensor) -> Tensor | None:
            self.see(tasks)
            return plain_optimal(this, tasks)

        plain_tasks, plain_make, plain_optimal = kind.tasks, kind.make, kind.optimal_return
        monkeypatch.setattr(kind, "tasks", tasks)
        monkeypatch.setattr(kind, "make", make)
        monkeypatch.setattr(kind, "optimal_return", optimal_return)

    def see(self, tasks: Tensor) -> None:
        self.seen |= {task.cpu().numpy().tobytes() for task in tasks}

    def forget(self) -> None:
        self.splits, self.seen = set(), set()


def ids(tasks: Tensor) -> set[bytes]:
    return {task.numpy().tobytes() for task in tasks}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(plugins.family("dark-room"), monkeypatch)


def steps_of(config: RunConfig, path: Path) -> Iterator[Any]:
    folder = RunFolder.open(path, config)
    with folder.locked():
        folder.settle()
        work = Work(folder, plugins.family(config.env))
        yield from pipeline.plan(work, Seconds(folder.seconds))


def carry_out(config: RunConfig, path: Path, watched: Watched) -> dict[str, tuple[set[str], Any]]:
    """Each step's name: the splits it asked for, and the tasks on which it did anything."""
    noted = {}
    for step in steps_of(config, path):
        watched.forget()
        done_before = step.done()
        step.do(silent)
        assert step.done() and not done_before
        noted[f"{step.stage} {step.account}"] = (set(watched.splits), set(watched.seen))
    return noted


def test_no_step_but_the_evaluation_touches_a_test_task(watched: Watched, tmp_path: Path) -> None:
    config = resolve("dark-room", "smoke", None, TINY)
    family = plugins.family("dark-room")
    test = ids(family.tasks("test", None, seed=0))
    noted = carry_out(config, tmp_path / "run", watched)
    played = {f"evaluate {name}" for name in config.methods if name != "optimal"}
    trained = {f"train {name}" for name in ("ad", "ed", "ad-shuffled")}
    assert {"collect ", "evaluate choose", "report "} | trained | played == set(noted)
    for name, (splits, seen) in noted.items():
        if name in played:
            assert splits == {"test"} and seen and seen <= test, name
        elif name == "report ":
            assert "test" not in splits, name  # it knows them from the roll-outs
        else:
            assert "test" not in splits and not seen & test, name
    assert noted["collect "][0] == {"train"}
    assert noted["train ad"][0] == {"validation"}  # to choose its checkpoint by
    assert noted["evaluate choose"][0] == {"validation"}


def test_rows_on_pixels_choose_by_training_tasks_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Actions of the sweep, and the one frame that the blind are shown, are no test task's."""
    family = plugins.family("watermaze-small")
    watched = Watched(family, monkeypatch)
    monkeypatch.setattr(sweep, "_ROUNDS", ((2000, 1), (10, 8)))
    monkeypatch.setattr(evaluate, "load_model", lambda *_, **__: None)
    told = TINY | {
        "methods": ("ad", "ad-blind", "sweep", "random"),
        "env_settings": {"height": 8, "width": 8},
    }
    config = resolve("watermaze-small", "smoke", None, told)
    train = ids(family.tasks("train", 8, seed=0))
    for step in steps_of(config, tmp_path / "run"):
        if step.stage != "evaluate":
            continue
        watched.forget()
        step.do(silent)
        assert step.done()
        if step.account == "choose-sweep":
            assert watched.splits == {"train"} and watched.seen == train
            continue
        (test_set,) = watched.splits - {"train"}
        held_out = ids(family.tasks(test_set, 3, seed=0))
        first = ids(family.tasks("train", 1, seed=0))
        assert watched.seen == held_out | (first if step.account == "ad-blind" else set())


def test_settings_can_be_chosen_without_a_look_at_test_tasks(
    watched: Watched, tmp_path: Path
) -> None:
    told = TINY | {"methods": ("ad", "source"), "evaluate": {"held_out": "validation"}}
    config = resolve("dark-room", "smoke", None, told)
    validation = ids(plugins.family("dark-room").tasks("validation", 2, seed=0))
    noted = carry_out(config, tmp_path / "run", watched)
    assert all("test" not in splits for splits, _ in noted.values())
    assert noted["evaluate ad"][1] == noted["evaluate source"][1] == validation
    results = read_results(RunFolder.open(tmp_path / "run", config).results)
    assert list(results["test_sets"]) == ["validation"] and results["split"]["test"] == []
    assert results["task_ids"] == [results["split"]["validation"]]


def test_a_stage_that_peeks_at_test_tasks_is_caught(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch itself is held to a planted fault: a checkpoint chosen on test tasks."""
    from adbench.stages import train

    honest = train.validation_score

    def peeking(work: Work, seed: int, model: Any) -> float:
        work.family.tasks("test", 1, seed=0)
        return honest(work, seed, model)

    monkeypatch.setattr(train, "validation_score", peeking)
    config = resolve("dark-room", "smoke", None, TINY | {"methods": ("ad",)})
    noted = carry_out(config, tmp_path / "run", watched)
    assert "test" in noted["train ad"][0]


def test_the_check_of_a_request_looks_at_how_many_test_tasks_there_are_and_no_further(
    watched: Watched,
) -> None:
    pipeline.check(resolve("dark-room", "smoke", None, TINY))
    assert watched.splits >= {"test"} and not watched.seen


def test_train_validation_and_test_tasks_share_nothing() -> None:
    family = plugins.family("dark-room")
    parts = [ids(family.tasks(split, None, seed=3)) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 81
    assert not torch.equal(family.tasks("test", None, seed=3), family.tasks("test", None, seed=4))
