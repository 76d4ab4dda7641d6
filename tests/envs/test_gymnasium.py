"""The worlds as gymnasium sees them: by id, as single and as vector environments."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import (
    DictInfoToList,
    RecordEpisodeStatistics,
    TransformReward,
)

import adbench_envs  # noqa: F401  (registers the ids)
from adbench_envs.bandit import Bandit
from adbench_envs.dark_room import DarkRoom, DarkRoomHard
from adbench_envs.key_to_door import KeyToDoor
from adbench_envs.numpy_envs import RoomEnv

WORLDS = ("DarkRoom", "DarkRoomHard", "KeyToDoor", "Bandit")
TASKS: dict[str, Any] = {
    "DarkRoom": 12,
    "DarkRoomHard": 30,
    "KeyToDoor": (3, 70),
    "Bandit": [0.1] * 9 + [0.9],
}


LIMITS = {"DarkRoom": 20, "DarkRoomHard": 20, "KeyToDoor": 50, "Bandit": 1}


def test_make_works_in_a_bare_script_and_loads_no_torch() -> None:
    script = (
        "import sys, gymnasium\n"
        "import adbench_envs\n"
        "assert 'adbench.task' not in sys.modules\n"
        "env = gymnasium.make('adbench_envs:adbench/DarkRoom-v0')\n"
        "print(*env.reset(seed=0)[0], 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "4", "False"]


@pytest.mark.parametrize("world", WORLDS)
def test_single_environments_pass_gymnasiums_own_check_without_a_warning(world: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"adbench_envs:adbench/{world}-v0").unwrapped)


@pytest.mark.parametrize("world", WORLDS)
def test_tasks_come_from_the_seed_the_arguments_or_the_options(world: str) -> None:
    env = gymnasium.make(f"adbench/{world}-v0")
    drawn = env.reset(seed=7)[1]["task"]
    assert np.array_equal(drawn, env.reset(seed=7)[1]["task"])
    assert np.array_equal(drawn, env.reset()[1]["task"])  # a learner's task stays its task
    assert not np.array_equal(drawn, env.reset(options={"task": None})[1]["task"])
    wanted = np.asarray(TASKS[world])
    given = env.reset(options={"task": TASKS[world]})[1]["task"]
    assert given == pytest.approx(wanted)
    fixed = gymnasium.make(f"adbench/{world}-v0", task=TASKS[world])
    assert fixed.reset(seed=7)[1]["task"] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("world", "task"),
    [
        ("DarkRoom", 81),
        ("DarkRoom", [1, 2]),
        ("KeyToDoor", 4),
        ("Bandit", [0.5] * 9),
        ("Bandit", [2.0] * 10),
    ],
)
def test_a_task_of_another_kind_is_refused(world: str, task: Any) -> None:
    with pytest.raises(gymnasium.error.Error, match="wanted"):
        gymnasium.make(f"adbench/{world}-v0", task=task)


def test_an_action_outside_the_space_is_refused() -> None:
    env = gymnasium.make("adbench/DarkRoom-v0", disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match="5"):
        env.step(5)


def _room(world: str, task: Any) -> RoomEnv:
    env = gymnasium.make(f"adbench/{world}-v0", task=task).unwrapped
    assert isinstance(env, RoomEnv)
    return env


@pytest.mark.parametrize(
    ("world", "family"),
    [("DarkRoom", DarkRoom()), ("DarkRoomHard", DarkRoomHard()), ("KeyToDoor", KeyToDoor())],
)
def test_the_plain_environment_and_the_batched_one_are_twins(world: str, family: DarkRoom) -> None:
    tasks = family.tasks("train", 24, seed=0)
    batch = family.make(tasks, seed=0)
    singles = [_room(world, task.numpy()) for task in tasks]
    observed, _ = batch.reset()
    for single in singles:
        single.reset(seed=0)
    random = np.random.default_rng(0)
    for _ in range(6 * family.max_episode_steps):
        for single, place in zip(singles, observed.numpy(), strict=True):
            if single._steps == 0:  # starts are drawn differently; all else must agree
                single._cell = int(place[1] * family.size + place[0])
        actions = random.integers(5, size=len(tasks))
        observed, reward, terminated, truncated, info = batch.step(torch.from_numpy(actions))
        for lane, single in enumerate(singles):
            last, earned, ends, stops, _ = single.step(actions[lane])
            assert np.array_equal(last, info["final_obs"][lane].numpy())
            assert (earned, ends, stops) == (
                reward[lane].item(),
                terminated[lane].item(),
                truncated[lane].item(),
            )
            if ends or stops:
                single.reset()


def test_plain_bandits_are_distributed_like_the_batched_ones() -> None:
    env = gymnasium.make("adbench/Bandit-v0")
    means = np.stack([env.reset(seed=seed)[1]["task"] for seed in range(1000)])
    odd_is_good = (means[:, 1::2] >= 0.5).all(1)
    assert ((means[:, 0::2] >= 0.5).all(1) ^ odd_is_good).all()
    # Five standard errors of 1,000 draws with probability 0.05.
    assert odd_is_good.mean() == pytest.approx(0.95, abs=0.035)
    pays = gymnasium.make("adbench/Bandit-v0", task=[0.0] * 9 + [1.0])
    for arm, reward in ((9, 1.0), (0, 0.0)):
        pays.reset(seed=0)
        assert pays.step(np.int64(arm))[1:4] == (reward, True, False)
    assert Bandit().max_episode_steps == 1


@pytest.mark.parametrize("world", WORLDS)
def test_vector_environments_tell_endings_as_gymnasiums_own_do(world: str) -> None:
    lanes = 3
    tasks = np.stack([np.asarray(TASKS[world])] * lanes)
    ours = gymnasium.make_vec(f"adbench/{world}-v0", num_envs=lanes, tasks=tasks)
    theirs = SyncVectorEnv(
        [lambda: gymnasium.make(f"adbench/{world}-v0", task=TASKS[world])] * lanes,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert ours.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for env in (ours, theirs):
        env.reset(seed=0)
    for _ in range(LIMITS[world]):
        actions = np.full(lanes, 1)
        mine, other = ours.step(actions), theirs.step(actions)
        for a, b in zip(mine[:4], other[:4], strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
        if other[3].any() or other[2].any():
            break
    for key in ("final_obs", "_final_obs", "_final_info"):
        assert mine[4][key].dtype == other[4][key].dtype
        assert mine[4][key].shape == other[4][key].shape
    assert type(mine[4]["final_obs"][0]) is type(other[4]["final_obs"][0])


@pytest.mark.parametrize("world", WORLDS)
def test_gymnasiums_vector_wrappers_accept_the_vector_environment(world: str) -> None:
    base = gymnasium.make_vec(f"adbench/{world}-v0", num_envs=5)
    env = RecordEpisodeStatistics(TransformReward(base, lambda reward: 2 * reward))
    env.reset(seed=1)
    random = np.random.default_rng(0)
    earned = np.zeros(5)
    for _ in range(200):
        _, reward, terminated, truncated, info = env.step(random.integers(5, size=5))
        earned += reward
        ended = terminated | truncated
        assert ("episode" in info) == bool(ended.any())
        if ended.any():
            assert info["episode"]["r"][ended] == pytest.approx(earned[ended])
            earned[ended] = 0
    assert env.episode_count >= 5 * 200 // LIMITS[world]


def test_vector_infos_turn_into_lists() -> None:
    env = DictInfoToList(gymnasium.make_vec("adbench/DarkRoom-v0", num_envs=2))
    env.reset(seed=0)
    for _ in range(20):
        *_, infos = env.step(np.array([4, 4]))
    assert [list(info["final_obs"]) for info in infos] == [[4, 4], [4, 4]]


def test_vector_tasks_come_from_the_seed_the_arguments_or_the_options() -> None:
    env = gymnasium.make_vec("adbench/KeyToDoor-v0", num_envs=4)
    drawn = env.reset(seed=7)[1]["task"]
    assert np.array_equal(drawn, env.reset(seed=7)[1]["task"])
    starts, again = env.reset(), env.reset()
    assert np.array_equal(drawn, again[1]["task"])
    assert not np.array_equal(starts[0], again[0])  # same tasks, new starts
    tasks = np.arange(8).reshape(4, 2)
    assert np.array_equal(env.reset(options={"tasks": tasks})[1]["task"], tasks)
    with pytest.raises(gymnasium.error.Error, match="3 tasks for 4 lanes"):
        gymnasium.make_vec("adbench/KeyToDoor-v0", num_envs=4, tasks=tasks[:3])


def test_stepping_before_a_reset_is_refused() -> None:
    env = gymnasium.make_vec("adbench/DarkRoom-v0", num_envs=2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.array([0, 0]))
