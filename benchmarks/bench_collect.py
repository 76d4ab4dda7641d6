"""Collecting histories: thousands of learners side by side, and what others do one at a time.

pytest benchmarks/bench_collect.py

Ours go the whole way, from a task to checksummed shards on disk. The peers learn the same world,
Dark Room through its gymnasium environment, in the same process, and write nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from adbench import plugins
from adbench.collect import choose_source_settings, collect
from adbench.config import CollectConfig, RunConfig, SourceConfig, TasksConfig
from adbench.history.reader import HistoryStore

EPISODE_STEPS = 20
DARK_ROOM = "adbench_envs:adbench/DarkRoom-v0"
SMALL: dict[str, Any] = {
    "hidden_width": 64, "hidden_layers": 1, "learning_rate": 0.01, "discount": 0.9,
    "unroll_steps": 20,
}  # fmt: skip
Tell = Callable[..., None]


def run_of(source: SourceConfig, *, learners_per_task: int, episodes: int, tasks: int) -> RunConfig:
    return RunConfig(
        env="dark-room",
        tasks=TasksConfig(train=tasks),
        source=source,
        collect=CollectConfig(
            learners_per_task=learners_per_task,
            episodes=episodes,
            expert_episodes=0,
            max_episodes=episodes,
        ),
    )


def time_collecting(
    config: RunConfig, benchmark: BenchmarkFixture, tell: Tell, folder: Path, *, rounds: int
) -> None:
    """Collect into a fresh folder each round; the first, which also compiles, is not timed."""
    numbers = itertools.count()

    def once() -> Path:
        target = folder / str(next(numbers))
        collect(config, seed=0, folder=target)
        return target

    store = HistoryStore.open(once(), env="dark-room")
    learners = (config.tasks.train or 0) * config.collect.learners_per_task
    streams = learners * (config.source.kept_actors or config.source.actors)
    steps = streams * config.collect.episodes * EPISODE_STEPS
    assert store.num_histories == streams
    assert int(np.asarray(store.lengths, np.int64).sum()) == steps
    late = [store.returns(history)[-10:].mean() for history in range(0, streams, 10)]
    early = [store.returns(history)[:3].mean() for history in range(0, streams, 10)]
    benchmark.pedantic(once, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]
    tell(
        steps,
        "env_steps",
        learners=learners,
        streams=streams,
        mean_return_of_first_3_episodes=round(float(np.mean(early)), 2),
        mean_return_of_last_10_episodes=round(float(np.mean(late)), 2),
    )


@pytest.mark.benchmark(group="collect")
def test_q_lambda_with_traces_1000_learners(
    benchmark: BenchmarkFixture, tell: Tell, tmp_path: Path
) -> None:
    config = run_of(SourceConfig(), learners_per_task=20, episodes=100, tasks=50)
    time_collecting(config, benchmark, tell, tmp_path, rounds=5)


@pytest.mark.benchmark(group="collect")
def test_a2c_256_learners_1_actor(benchmark: BenchmarkFixture, tell: Tell, tmp_path: Path) -> None:
    source = SourceConfig(name="a2c", settings=SMALL)
    config = run_of(source, learners_per_task=8, episodes=100, tasks=32)
    time_collecting(config, benchmark, tell, tmp_path, rounds=3)


@pytest.mark.benchmark(group="collect")
def test_a2c_as_in_the_paper_16_learners_100_actors(
    benchmark: BenchmarkFixture, tell: Tell, tmp_path: Path
) -> None:
    source = SourceConfig(name="a2c", actors=100)
    config = run_of(source, learners_per_task=1, episodes=10, tasks=16)
    time_collecting(config, benchmark, tell, tmp_path, rounds=2)


@pytest.mark.benchmark(group="collect")
def test_choosing_the_best_of_a_dozen_settings(benchmark: BenchmarkFixture, tell: Tell) -> None:
    config = run_of(SourceConfig(), learners_per_task=1, episodes=60, tasks=8)
    family = plugins.family("dark-room")
    chosen = benchmark.pedantic(  # type: ignore[no-untyped-call]
        choose_source_settings,
        args=(config, family),
        kwargs={"seed": 0},
        rounds=1,
        warmup_rounds=0,
    )
    tell(13, "settings", chosen=chosen)


@pytest.mark.benchmark(group="collect")
def test_peer_one_q_learner_in_a_python_loop(benchmark: BenchmarkFixture, tell: Tell) -> None:
    """One learner, one environment, one step at a time: NumPy tables, no traces."""
    episodes = 500

    def learn() -> float:
        env = gymnasium.make(DARK_ROOM, disable_env_checker=True)
        rng = np.random.default_rng(0)
        values = np.full((9, 9, 5), 1.5)
        late = 0.0
        for episode in range(episodes):
            (x, y), _ = env.reset(seed=0)
            over = False
            while not over:
                row = values[x, y]
                action = int(rng.choice(np.flatnonzero(row == row.max())))
                (next_x, next_y), reward, terminated, truncated, _ = env.step(action)
                row[action] = float(reward) + 0.7 * values[next_x, next_y].max()
                x, y, over = next_x, next_y, terminated or truncated
                late += float(reward) * (episode >= episodes - 10) / 10
        return late

    late = benchmark.pedantic(learn, rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert late > 5
    tell(episodes * EPISODE_STEPS, "env_steps", learners=1)


@pytest.mark.benchmark(group="collect")
@pytest.mark.parametrize("envs", [1, 8])
def test_peer_stable_baselines3_a2c(benchmark: BenchmarkFixture, tell: Tell, envs: int) -> None:
    """One learner with the same network as ours, on one or eight environments."""
    sb3 = pytest.importorskip("stable_baselines3", reason="pip install -e '.[bench]'")
    from stable_baselines3.common.env_util import make_vec_env

    steps = 2_000
    vector = make_vec_env(DARK_ROOM, n_envs=envs, seed=0)
    learner = sb3.A2C(
        "MlpPolicy",
        vector,
        n_steps=SMALL["unroll_steps"],
        gamma=SMALL["discount"],
        gae_lambda=0.95,
        learning_rate=SMALL["learning_rate"],
        policy_kwargs={"net_arch": [64]},
        device="cpu",
        seed=0,
    )
    learned = benchmark.pedantic(  # type: ignore[no-untyped-call]
        learner.learn, args=(steps,), rounds=2, iterations=1, warmup_rounds=1
    )
    assert learned.num_timesteps >= steps
    tell(steps, "env_steps", learners=1, actors=envs)
