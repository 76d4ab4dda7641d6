"""Environment steps a second of the worlds, beside gymnasium's SyncVectorEnv of the plain ones.

pytest benchmarks/bench_envs.py
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pytest_benchmark.fixture import BenchmarkFixture

import adbench_envs  # noqa: F401  (registers the ids)
from adbench.task import TaskFamily
from adbench_envs.bandit import Bandit
from adbench_envs.dark_room import DarkRoom, DarkRoomHard
from adbench_envs.key_to_door import KeyToDoor

WORLDS: dict[str, TaskFamily] = {
    "Bandit": Bandit(),
    "DarkRoom": DarkRoom(),
    "DarkRoomHard": DarkRoomHard(),
    "KeyToDoor": KeyToDoor(),
}
STEPS = 200
"""Steps a round: four episodes of the longest."""


@pytest.mark.parametrize("lanes", [1, 16, 256, 1024, 4096])
@pytest.mark.parametrize("world", WORLDS)
def test_batched(benchmark: BenchmarkFixture, world: str, lanes: int) -> None:
    family = WORLDS[world]
    some = family.tasks("train", 50, seed=0)
    env = family.make(some[torch.arange(lanes) % 50], seed=0)
    drawn = torch.Generator().manual_seed(0)
    actions = torch.randint(int(family.action_space.n), (STEPS, lanes), generator=drawn)
    env.reset()

    def play() -> None:
        for row in actions:
            env.step(row)

    benchmark.pedantic(play, rounds=10, warmup_rounds=2)  # type: ignore[no-untyped-call]
    _tell(benchmark, lanes)


@pytest.mark.parametrize("lanes", [1, 16, 256])
@pytest.mark.parametrize("way", ["make_vec", "SyncVectorEnv"])
@pytest.mark.parametrize("world", WORLDS)
def test_numpy(benchmark: BenchmarkFixture, world: str, way: str, lanes: int) -> None:
    name = f"adbench/{world}-v0"
    env = (
        gymnasium.make_vec(name, num_envs=lanes)
        if way == "make_vec"
        else SyncVectorEnv(
            [lambda: gymnasium.make(name, disable_env_checker=True).unwrapped] * lanes,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
    )
    actions = np.random.default_rng(0).integers(5, size=(STEPS, lanes))
    env.reset(seed=0)

    def play() -> None:
        for row in actions:
            env.step(row)

    benchmark.pedantic(play, rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    _tell(benchmark, lanes)


def _tell(benchmark: BenchmarkFixture, lanes: int) -> None:
    assert benchmark.stats is not None
    benchmark.extra_info.update(
        lanes=lanes,
        threads=torch.get_num_threads(),
        env_steps_per_s=round(lanes * STEPS / benchmark.stats.stats.median),
    )
