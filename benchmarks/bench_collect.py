"""Collecting histories: thousands of learners side by side, and what others do one at a time.

    pytest benchmarks/bench_collect.py

Ours go the whole way, from a task to checksummed shards on disk. The peers learn the same world,
Dark Room through its gymnasium environment, in the same process, and write nothing. Before ours is
timed, histories are replayed action by action in that environment: every observation and reward
must be the same, and later episodes must be better than the first; so must those of the peers.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from adbench import plugins
from adbench.collect import choose_source_settings, collect
from adbench.config import CollectConfig, RunConfig, SourceConfig, TasksConfig
from adbench.history.reader import HistoryStore
from benchmarks.meter import Meter, scales

EPISODE_STEPS = 20
DARK_ROOM = "adbench_envs:adbench/DarkRoom-v0"
SMALL: dict[str, Any] = {
    "hidden_width": 64, "hidden_layers": 1, "learning_rate": 0.01, "discount": 0.9,
    "unroll_steps": 20,
}  # fmt: skip
REPLAYED = 8
"""Histories that are replayed."""
MOST_TASKS = 50
Q_LEARNING, ACTOR_CRITIC = "Dark Room, Q-learning", "Dark Room, A2C"

pytestmark = pytest.mark.benchmark(group="collection")


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


def learners_of(source: SourceConfig, learners: int, *, episodes: int) -> RunConfig:
    """A run of so many learners, on as many tasks as there are for them."""
    tasks = min(learners, MOST_TASKS)
    return run_of(source, learners_per_task=learners // tasks, episodes=episodes, tasks=tasks)


def replay(store: HistoryStore, history: int) -> None:
    """Live a history again in the plain environment."""
    window = {
        name: np.asarray(x)
        for name, x in store.window(history, 0, int(store.lengths[history])).items()
    }
    env = gymnasium.make(DARK_ROOM, task=np.asarray(store.tasks[history]), disable_env_checker=True)
    observation, _ = env.reset(seed=0)
    for step, action in enumerate(window["action"]):
        assert np.array_equal(observation, window["observation"][step]), "another place: not timed"
        observation, reward, terminated, truncated, _ = env.step(int(action))
        assert float(reward) == window["reward"][step], "another reward: not timed"
        if terminated or truncated:
            observation, _ = env.reset()


def time_collecting(meter: Meter, config: RunConfig, folder: Path) -> None:
    """Collect into a fresh folder each round."""
    numbers = itertools.count()
    learners = (config.tasks.train or 0) * config.collect.learners_per_task
    streams = learners * (config.source.kept_actors or config.source.actors)
    steps = streams * config.collect.episodes * EPISODE_STEPS

    def once() -> Path:
        target = folder / str(next(numbers))
        collect(config, seed=0, folder=target, device=meter.device)
        return target

    def check() -> None:
        store = HistoryStore.open(once(), env="dark-room")
        assert store.num_histories == streams
        assert int(np.asarray(store.lengths, np.int64).sum()) == steps
        some = np.linspace(0, streams - 1, min(REPLAYED, streams)).astype(int).tolist()
        for history in some:
            replay(store, history)
        returns = np.stack([store.returns(h) for h in range(0, streams, max(1, streams // 100))])
        early, late = float(returns[:, :3].mean()), float(returns[:, -10:].mean())
        if config.collect.episodes >= 100 and learners >= MOST_TASKS:
            assert late > early, f"returns went from {early:.2f} to {late:.2f}: not timed"
        meter.tell(
            streams=streams,
            mean_return_of_first_3_episodes=round(early, 2),
            mean_return_of_last_10_episodes=round(late, 2),
        )

    meter.time(once, check=check, env_steps=steps)


@scales("learners", 1, 50, 1000, full=(5000,))
def test_q_lambda_with_traces(meter: Meter, tmp_path: Path, learners: int) -> None:
    meter.about(Q_LEARNING, "adbench", ours=True, device="cpu", learners=learners)
    episodes = 4 if meter.tiny else 100
    time_collecting(meter, learners_of(SourceConfig(), learners, episodes=episodes), tmp_path)


@scales("learners", 1, 32, 256, full=(1024,))
def test_a2c(meter: Meter, tmp_path: Path, learners: int) -> None:
    meter.about(ACTOR_CRITIC, "adbench", ours=True, learners=learners)
    source = SourceConfig(name="a2c", settings=SMALL)
    tasks = min(learners, 32)
    episodes = 4 if meter.tiny else 100
    config = run_of(source, learners_per_task=learners // tasks, episodes=episodes, tasks=tasks)
    time_collecting(meter, config, tmp_path)


@scales("learners", 1, 4, full=(16,), gpu=(16, 256))
def test_a2c_as_in_the_paper(meter: Meter, tmp_path: Path, learners: int) -> None:
    meter.about("Dark Room, A2C of 100 actors", "adbench", ours=True, learners=learners)
    source = SourceConfig(name="a2c", actors=4 if meter.tiny else 100)
    config = run_of(source, learners_per_task=1, episodes=2 if meter.tiny else 10, tasks=learners)
    time_collecting(meter, config, tmp_path)


def test_choosing_the_best_of_a_dozen_settings(meter: Meter) -> None:
    """What a run spends on its source before it collects: thirteen settings on validation tasks."""
    case = "Dark Room, choosing among a dozen settings of Q-learning"
    meter.about(case, "adbench", ours=True, device="cpu")
    config = run_of(SourceConfig(), learners_per_task=1, episodes=4 if meter.tiny else 60, tasks=8)
    family = plugins.family("dark-room")

    def choose() -> object:
        return choose_source_settings(config, family, seed=0)

    def check() -> None:
        chosen = choose()
        assert chosen == choose(), "two choices differ: not timed"
        meter.tell(chosen=repr(chosen))

    meter.time(choose, check=check, rounds=1, warm=False, settings=13)


def test_peer_one_q_learner_in_a_python_loop(meter: Meter) -> None:
    """One learner, one environment, one step at a time: NumPy tables, no traces."""
    meter.about(Q_LEARNING, "a Python loop", ours=False, device="cpu", learners=1)
    episodes = 50 if meter.tiny else 200

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

    def check() -> None:
        late = learn()
        assert meter.tiny or late > 5, f"it ends at a return of {late:.1f}: not timed"

    meter.time(learn, check=check, env_steps=episodes * EPISODE_STEPS)


@pytest.mark.parametrize("envs", [1, 8])
def test_peer_stable_baselines3_a2c(meter: Meter, envs: int) -> None:
    """One learner with the same network as ours, on one or eight environments."""
    who = f"Stable-Baselines3, {envs} environment{'s' * (envs > 1)}"
    meter.about(ACTOR_CRITIC, who, ours=False, device="cpu", learners=1)
    sb3 = pytest.importorskip("stable_baselines3", reason="pip install -e '.[bench]'")
    from stable_baselines3.common.env_util import make_vec_env

    steps = 200 if meter.tiny else 1000 * envs
    vector = make_vec_env(DARK_ROOM, n_envs=envs, seed=0, env_kwargs={"render_mode": None})
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

    def learn() -> Any:
        return learner.learn(steps)

    def check() -> None:
        before = [p.clone() for p in learner.policy.parameters()]
        assert learn().num_timesteps >= steps
        moved = [bool((a != b).any()) for a, b in zip(before, learner.policy.parameters(),
                                                      strict=True)]  # fmt: skip
        assert any(moved), "it did not learn: not timed"

    meter.time(learn, check=check, env_steps=steps)
