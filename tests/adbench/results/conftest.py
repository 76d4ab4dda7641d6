"""Runs that never happened, realistic in shape: curves rise from random to optimal, or do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from adbench.config import (
    CollectConfig,
    EvaluateConfig,
    RunConfig,
    SourceConfig,
    TasksConfig,
    TrainConfig,
)
from adbench.noise import generator
from adbench.results import Facts, Training, build_results

Run = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class FakeRollout:
    """The shape of `adbench.evaluate.Rollout`."""

    returns: torch.Tensor
    lengths: torch.Tensor
    task_index: torch.Tensor
    tasks: torch.Tensor


class FakeFamily:
    """Tasks that say what they are worth: task i has an optimal return of 10 + (i % 1000) / 10."""

    name = "fake"
    version = 3
    max_episode_steps = 20

    def __init__(
        self,
        test_sets: tuple[str, ...] = ("test",),
        *,
        knows_optimum: bool = True,
        ends_at_goal: bool = False,
    ) -> None:
        self.test_sets = test_sets
        self.knows_optimum = knows_optimum
        self.ends_at_goal = ends_at_goal

    def tasks(self, split: str, count: int | None, *, seed: int) -> torch.Tensor:
        offset = 1000 * sum(map(ord, split)) + seed
        return torch.arange(offset, offset + (count or 24))

    def random_return(self, tasks: torch.Tensor) -> torch.Tensor:
        return torch.full((len(tasks),), 1.0)

    def optimal_return(self, tasks: torch.Tensor) -> torch.Tensor | None:
        return 10.0 + (tasks % 1000) / 10.0 if self.knows_optimum else None


# What share of the way from random to optimal a row ends at, after how many episodes it is half
# way there, and the share of tasks on which it never learns.
_SHAPES = {
    "ad": (0.97, 12.0, 0.1),
    "ed": (0.04, 1.0, 0.0),
    "ad-shuffled": (0.25, 8.0, 0.4),
    "ad-no-reward": (0.05, 2.0, 0.0),
    "source": (1.0, 45.0, 0.0),
    "source-best": (1.0, 30.0, 0.0),
}
_BLIND_SHAPES = {"ad-blind": (0.05, 2.0, 0.0), "sweep": (0.3, 0.1, 0.0)}


def fake_rollout(
    method: str,
    seed: int,
    tasks: torch.Tensor,
    *,
    lanes: int,
    episodes: int,
    steps: int,
    low: np.ndarray,
    high: np.ndarray,
) -> FakeRollout:
    """Lanes that learn as `_SHAPES` says, with noise of their own."""
    draw = generator("fake", method, seed, len(tasks), episodes)
    ends_at, half_way, never = (_SHAPES | _BLIND_SHAPES)[method]
    index = np.repeat(np.arange(len(tasks)), lanes)
    learns = (draw.random(len(tasks)) >= never)[index]
    pace = half_way * draw.lognormal(0.0, 0.4, len(index))
    at = np.arange(episodes)[None, :]
    share = ends_at / (1.0 + np.exp(-(at - pace[:, None]) / (0.25 * pace[:, None] + 1e-9)))
    share = np.where(learns[:, None], share, 0.02)
    mean = low[index, None] + share * (high - low)[index, None]
    returns = np.clip(
        mean + draw.normal(0.0, 0.08, mean.shape) * high[index, None], 0.0, high[index, None]
    )
    lengths = np.full(returns.shape, steps, np.int32)
    return FakeRollout(
        torch.from_numpy(returns.astype(np.float32)),
        torch.from_numpy(lengths),
        torch.from_numpy(index),
        tasks,
    )


def fake_run(
    *,
    family: Any = None,
    env: str = "fake",
    seeds: tuple[int, ...] = (0, 1, 2),
    methods: tuple[str, ...] = tuple(_SHAPES),
    num_tasks: int = 16,
    lanes: int = 4,
    episodes: int = 50,
    source_episodes: int = 140,
    steps: int = 20,
    actors: int = 1,
    subsample: int = 5,
    preset: str = "quick",
    resamples: int = 400,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Results of a run whose roll-outs are made up."""
    family = family or FakeFamily()
    config = RunConfig(
        env=env,
        preset=preset,
        seeds=seeds,
        methods=(*methods, "random", "optimal"),
        tasks=TasksConfig(train=24, validation=8, test=num_tasks),
        source=SourceConfig(actors=actors),
        collect=CollectConfig(episodes=100),
        train=TrainConfig(subsample=subsample),
        evaluate=EvaluateConfig(episodes=episodes, lanes_per_task=lanes),
    )
    evaluations = {}
    for test_set in family.test_sets:
        tasks = family.tasks(test_set, num_tasks, seed=0)
        low = family.random_return(tasks).numpy()
        high = family.optimal_return(tasks)
        high = np.full(len(tasks), 12.0) if high is None else high.numpy()
        for seed in seeds:
            for method in methods:
                evaluations[method, seed, test_set] = fake_rollout(
                    method,
                    seed,
                    tasks,
                    lanes=lanes,
                    episodes=source_episodes if method.startswith("source") else episodes,
                    steps=steps,
                    low=low,
                    high=high,
                )
    training: dict[tuple[str, int], Training] = {
        (method, seed): Training(updates=1000, tokens=26_880_000, parameters=210_000)
        for method in ("ad", "ed", "ad-shuffled")
        for seed in seeds
        if method in methods
    }
    given: dict[str, Any] = {
        "device": "cpu",
        "threads": 2,
        "command": "adbench run fake --out runs/fake",
        "stage_seconds": {"collect": 3.1, "train": 300.2, "evaluate": 12.0},
        "throughput": {"collect_env_steps_per_s": 3.2e6, "train_tokens_per_s": 4.1e4},
        "source_privileged": False,
        "offline_env_steps": {"collected": 2_736_000, "distilled": 456_000},
        "versions": {"adbench": "0.1.0", "torch": "2.13.0"},
        "commit": "0123456789abcdef",
        "machine": {"processor": "a processor", "cores": 2, "system": "Linux x86_64"},
    }
    return build_results(
        config,
        evaluations,
        family=family,
        facts=Facts(**{**given, **(facts or {})}),
        training=training,
        resamples=resamples,
    )


@pytest.fixture(scope="session")
def make_run() -> Run:
    """Results of a made-up run; see `fake_run`."""
    return fake_run


@pytest.fixture(scope="session")
def family_of() -> type[FakeFamily]:
    """Makes the family of a made-up run."""
    return FakeFamily


@pytest.fixture(scope="session")
def results() -> dict[str, Any]:
    """Results of a made-up run of three seeds with every row."""
    return fake_run()


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """The same of four tasks and a dozen episodes, quick to write and read."""
    return fake_run(num_tasks=4, episodes=12, source_episodes=30)


@pytest.fixture(scope="session")
def bandit_results() -> dict[str, Any]:
    """Results of a made-up run on a real family of three test sets."""
    from adbench_envs.bandit import Bandit

    return fake_run(
        family=Bandit(),
        env="bandit",
        seeds=(0,),
        num_tasks=32,
        episodes=100,
        source_episodes=100,
        steps=1,
    )


@pytest.fixture(scope="session")
def dark_room_results() -> dict[str, Any]:
    """Results of a made-up run on the paper's Dark Room."""
    from adbench_envs.dark_room import DarkRoom

    return fake_run(family=DarkRoom(), env="dark-room")
