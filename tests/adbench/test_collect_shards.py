"""Histories on disk: the same whoever makes them, made once, made again where damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adbench import plugins
from adbench.collect import ShardPlan, collect, collect_shard, missing_shards, plan_shards
from adbench.collect.plan import in_batches, learner_bytes, numbers_within_tasks
from adbench.config import CollectConfig, RunConfig, SourceConfig, TasksConfig
from adbench.errors import HistoryError, Stopped, UsageError
from adbench.history.reader import HistoryStore, intact_shards

FAST: dict[str, Any] = {"discount": 0.95, "trace": 0.7, "initial_value": 0.01}


def config(**changes: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "env": "key-to-door",
        "tasks": TasksConfig(train=6, validation=2, test=2),
        "source": SourceConfig(settings=FAST),
        "collect": CollectConfig(
            learners_per_task=2, episodes=5, expert_episodes=2, max_episodes=20
        ),
        **changes,
    }
    return RunConfig(**fields)


def checksums(folder: Path) -> dict[str, str]:
    there, damaged = intact_shards(folder)
    assert not damaged
    return {name: line.blake2b for name, line in there.items()}


def plans_of(run: RunConfig) -> tuple[ShardPlan, ...]:
    return plan_shards(run, plugins.family(run.env))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "histories"
    collect(config(), seed=4, folder=folder)
    return folder


def test_what_is_collected_can_be_opened_and_holds_every_learner(made: Path) -> None:
    family = plugins.family("key-to-door")
    store = HistoryStore.open(made, env=family.name, env_version=family.version)
    assert store.num_histories == 12
    assert len(store.manifest) == 8
    tasks = family.tasks("train", 6, seed=0)
    expected = sorted(map(tuple, torch.cat([tasks, tasks]).tolist()))
    assert sorted(map(tuple, np.asarray(store.tasks).tolist())) == expected
    assert len(set(store.learner_seed.tolist())) == 12
    for line in store.manifest:
        assert line.source == "q-lambda"
        assert line.seed == 4
        assert line.split == "train"
        told: Any = line.source_config
        assert told["settings"]["trace"] == 0.7
        assert told["settings"]["learning_rate"] == 1.0  # resolved: defaults are there too


def test_every_shard_is_the_same_alone_and_in_any_order(made: Path, tmp_path: Path) -> None:
    family = plugins.family("key-to-door")
    wanted = checksums(made)
    for plan in reversed(plans_of(config())):
        collect_shard(config(), family, plan, seed=4, folder=tmp_path)
    assert checksums(tmp_path) == wanted


def test_another_seed_gives_other_histories_of_the_same_tasks(made: Path, tmp_path: Path) -> None:
    collect(config(), seed=5, folder=tmp_path)
    assert set(checksums(tmp_path).values()).isdisjoint(checksums(made).values())
    ours, theirs = (np.asarray(HistoryStore.open(folder).tasks) for folder in (made, tmp_path))
    assert np.array_equal(ours, theirs)


def test_what_is_there_is_not_made_again(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.iterdir()}
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        told.append((done, total))

    collect(config(), seed=4, folder=made, progress=progress)
    assert {path: path.stat().st_mtime_ns for path in made.iterdir()} == before
    assert told == [(84, 84)]


def test_a_damaged_or_missing_shard_is_made_again_as_it_was(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "histories"
    collect(config(), seed=4, folder=folder)
    altered, lost = folder / "shard-00002.h5", folder / "shard-00005.h5"
    raw = bytearray(altered.read_bytes())
    raw[len(raw) // 2] ^= 1
    altered.write_bytes(raw)
    lost.unlink()
    family = plugins.family("key-to-door")
    missing = missing_shards(config(), family, plans_of(config()), seed=4, folder=folder)
    assert [plan.index for plan in missing] == [2, 5]
    collect(config(), seed=4, folder=folder)
    assert checksums(folder) == checksums(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_stopping_keeps_what_is_done_and_going_on_gives_the_same(
    made: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With two workers, in processes of their own: what they make is the same too.
    monkeypatch.setattr("adbench.collect.plan._BATCH_LANES", 4)  # two shards at a time
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 2

    with pytest.raises(Stopped, match=r"after 4 of 8 shards.*same command goes on"):
        collect(config(), seed=4, folder=tmp_path, stop=stop, workers=workers)
    assert len(checksums(tmp_path)) == 4
    collect(config(), seed=4, folder=tmp_path)
    assert checksums(tmp_path) == checksums(made)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"source": SourceConfig(settings={**FAST, "trace": 0.5})}, "source_config.settings.trace"),
        (
            {"collect": CollectConfig(learners_per_task=2, episodes=6, expert_episodes=2,
                                      max_episodes=20)},
            "source_config.collect.episodes",
        ),
        ({"tasks": TasksConfig(train=6, split_seed=1)}, "source_config.tasks.split_seed"),
    ],
)  # fmt: skip
def test_histories_of_another_run_are_left_alone_and_the_difference_is_named(
    made: Path, changes: dict[str, Any], field: str
) -> None:
    before = checksums(made)
    with pytest.raises(HistoryError, match=rf"with {field} = .*Nothing was overwritten"):
        collect(config(**changes), seed=4, folder=made)
    with pytest.raises(HistoryError, match=r"with seed = 4; this run has 9"):
        collect(config(), seed=9, folder=made)
    assert checksums(made) == before


def test_kept_streams_carry_their_learners_number_and_seed(tmp_path: Path) -> None:
    source = SourceConfig(settings=FAST, actors=3, kept_actors=2)
    collect(config(source=source), seed=0, folder=tmp_path)
    store = HistoryStore.open(tmp_path)
    assert store.num_histories == 24
    assert store.actor.tolist() == [0, 1] * 12
    seeds = np.asarray(store.learner_seed).reshape(12, 2)
    assert (seeds[:, 0] == seeds[:, 1]).all()
    assert len(set(seeds[:, 0].tolist())) == 12


def test_progress_counts_episodes_and_never_falls(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        told.append((done, total))

    collect(config(), seed=0, folder=tmp_path, progress=progress)
    assert told == sorted(told)
    assert told[0] == (0, 84)
    assert told[-1] == (84, 84)


def test_a_plan_has_every_learner_once_and_at_least_eight_shards() -> None:
    run = config()
    plans = plans_of(run)
    assert len(plans) == 8
    assert [plan.index for plan in plans] == list(range(8))
    assert [learner for plan in plans for learner in plan.learners] == list(range(12))
    pairs = {
        (tuple(task), learner)
        for plan in plans
        for task, learner in zip(plan.tasks.tolist(), plan.learner_ids, strict=True)
    }
    assert len(pairs) == 12
    more = run.with_(collect=run.collect.with_(shards=11))
    assert len(plans_of(more)) == 11


def test_a_plan_never_has_more_shards_than_learners() -> None:
    run = config(tasks=TasksConfig(train=3, validation=2, test=2))
    assert [len(plan.tasks) for plan in plans_of(run)] == [1] * 6


def test_no_shard_can_grow_past_a_gigabyte() -> None:
    run = config(
        tasks=TasksConfig(train=3000),
        collect=CollectConfig(learners_per_task=4, episodes=500, max_episodes=4000),
    )
    family = plugins.family(run.env)
    a_learner = learner_bytes(run, family)
    # 4,000 episodes of 50 steps, each 2 + 1 + 4 + 1 + 1 bytes, and a last observation and an index.
    assert a_learner == 4000 * (50 * 9 + 2 + 4)
    plans = plans_of(run)
    assert len(plans) > 8
    assert max(len(plan.tasks) for plan in plans) * a_learner <= 2**30


def test_shards_are_made_side_by_side_up_to_so_many_lanes_or_bytes() -> None:
    plans = plans_of(config(tasks=TasksConfig(train=100)))
    assert [len(plan.tasks) for plan in plans] == [25] * 8
    together = [len(batch) for batch in in_batches(plans, actors=1, bytes_per_learner=1)]
    assert together == [8]
    by_lanes = [len(batch) for batch in in_batches(plans, actors=20, bytes_per_learner=1)]
    assert by_lanes == [2, 2, 2, 2]
    by_bytes = [len(batch) for batch in in_batches(plans, actors=1, bytes_per_learner=2**30)]
    assert by_bytes == [1] * 8


def test_learners_of_a_task_that_a_split_has_twice_are_told_apart() -> None:
    tasks = torch.tensor([[1, 2], [3, 4], [1, 2], [1, 2]])
    assert numbers_within_tasks(tasks) == (0, 0, 1, 2)


def test_more_training_tasks_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"58 train.*the split has 57"):
        collect(config(env="dark-room", tasks=TasksConfig(train=58)), seed=0, folder=tmp_path)


@pytest.mark.parametrize("name", ["bandit", "dark-room", "dark-room-hard"])
def test_every_other_world_can_be_collected(name: str, tmp_path: Path) -> None:
    source = SourceConfig(name="ucb" if name == "bandit" else "q-lambda")
    collect(config(env=name, source=source), seed=0, folder=tmp_path)
    store = HistoryStore.open(tmp_path, env=name)
    assert store.num_histories == 12
    assert not store.damaged


def test_the_actor_critic_can_be_collected(tmp_path: Path) -> None:
    settings = {"hidden_width": 16, "hidden_layers": 1}
    source = SourceConfig(name="a2c", settings=settings, actors=2)
    rules = CollectConfig(learners_per_task=2, episodes=2, expert_episodes=1, max_episodes=4)
    run = config(source=source, collect=rules)
    collect(run, seed=0, folder=tmp_path / "together")
    family = plugins.family(run.env)
    plan = plans_of(run)[3]
    alone = collect_shard(run, family, plan, seed=0, folder=tmp_path / "alone")
    assert checksums(tmp_path / "together")[alone.file] == alone.blake2b
