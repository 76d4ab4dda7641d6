"""First-person worlds as gymnasium sees them: by id, as single and as vector environments."""

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
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import adbench_envs  # noqa: F401  (registers the ids)
from adbench.errors import UsageError
from adbench_envs.numpy_worlds import WorldEnv

WORLDS: dict[str, Any] = {
    "Watermaze": [1.5, 0.0],
    "WatermazeSmall": [0.0, -2.0],
    "WatermazeHard": [-3.0, 1.0],
    "DarkRoom3D": [1.0, 1.0],
    "KeyToDoor3D": [[1.5, 0.0], [-1.5, 0.0]],
    "RadialArm": [1, 1, 1, 1, 0, 0, 0, 0],
    "FourBoxes": [0, 3, 1],
}
"""A task of each."""


def _plain(world: str, **settings: Any) -> WorldEnv:
    env = gymnasium.make(f"adbench/{world}-v0", **settings).unwrapped
    assert isinstance(env, WorldEnv)
    return env


@pytest.mark.parametrize("world", WORLDS)
def test_every_world_passes_gymnasiums_own_check_without_a_warning(world: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(f"adbench_envs:adbench/{world}-v0").unwrapped)


def test_make_works_in_a_bare_script_and_names_load_no_torch() -> None:
    script = (
        "import sys, gymnasium\n"
        "import adbench_envs\n"
        "assert 'torch' not in sys.modules and 'adbench_envs.watermaze' not in sys.modules\n"
        "assert 'adbench/WatermazeMiniWorld-v0' in gymnasium.registry\n"
        "env = gymnasium.make('adbench_envs:adbench/WatermazeSmall-v0', height=20, width=30)\n"
        "print(*env.reset(seed=0)[0].shape, 'miniworld' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["20", "30", "3", "False"]


@pytest.mark.parametrize(("world", "task"), WORLDS.items())
def test_tasks_come_from_the_seed_the_arguments_or_the_options(world: str, task: Any) -> None:
    env = _plain(world, height=8, width=8)
    drawn = env.reset(seed=7)[1]["task"]
    assert np.array_equal(drawn, env.reset(seed=7)[1]["task"])
    assert np.array_equal(drawn, env.reset()[1]["task"])  # a learner's task stays its task
    draws = [env.reset(options={"task": None})[1]["task"] for _ in range(6)]
    assert any(not np.array_equal(drawn, other) for other in draws)
    assert np.array_equal(env.reset(options={"task": task})[1]["task"], np.float32(task))
    fixed = _plain(world, height=8, width=8, task=task)
    assert np.array_equal(fixed.reset(seed=7)[1]["task"], np.float32(task))


@pytest.mark.parametrize(
    ("world", "task", "message"),
    [
        ("Watermaze", [9.0, 0.0], "outside of the world"),
        ("Watermaze", "the middle", "WatermazeEnv"),
        ("KeyToDoor3D", [1.0, 1.0], "float32"),
        ("RadialArm", [1] * 8, "4 of the 8 arms"),
        ("FourBoxes", [0, 1, 4], "from 0 to 3"),
    ],
)
def test_a_task_of_another_kind_is_refused(world: str, task: Any, message: str) -> None:
    with pytest.raises(gymnasium.error.Error, match=message):
        gymnasium.make(f"adbench/{world}-v0", task=task)


def test_a_frame_that_cannot_be_drawn_is_refused() -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(UsageError, match="height must be a whole number of pixels from 1"):
            make("adbench/Watermaze-v0", height=0)


@pytest.mark.parametrize("world", WORLDS)
def test_the_plain_environment_is_a_lane_of_its_family(world: str) -> None:
    env = _plain(world, height=12, width=16, samples=4, task=WORLDS[world])
    observation, _ = env.reset(seed=3)
    twin = env.family.make(torch.from_numpy(env.task)[None], seed=env._batch.seed, observe="agent")
    wanted, _ = twin.reset()
    random = np.random.default_rng(0)
    ended = False
    while not ended:
        assert np.array_equal(observation, wanted[0].numpy())
        action = random.integers(8)
        observation, reward, terminated, truncated, _ = env.step(action)
        _, earned, ends, stops, info = twin.step(torch.tensor([int(action)]))
        wanted = info["final_obs"]
        assert (reward, terminated, truncated) == (earned.item(), ends.item(), stops.item())
        ended = terminated or truncated
    assert np.array_equal(observation, wanted[0].numpy())


def test_episodes_of_one_seed_differ_in_their_starts_and_repeat_from_it() -> None:
    env = _plain("WatermazeHard", height=8, width=8)
    first = [env.reset(seed=5)[0]] + [env.reset()[0] for _ in range(3)]
    again = [env.reset(seed=5)[0]] + [env.reset()[0] for _ in range(3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({frame.tobytes() for frame in first}) == 4


def test_render_gives_the_frame_that_was_seen_last() -> None:
    env = _plain("Watermaze", render_mode="rgb_array", height=20, width=24)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()
    observation, _ = env.reset(seed=0)
    for action in (4, 0, 0):
        observation = env.step(np.int64(action))[0]
    shown = env.render()
    assert shown is not None and np.array_equal(shown, observation)
    shown[:] = 0
    later = env.render()
    assert later is not None and later.any()
    assert _plain("Watermaze").render() is None


@pytest.mark.parametrize("world", WORLDS)
def test_vector_environments_step_as_gymnasiums_wrappers_expect(world: str) -> None:
    lanes = 3
    base = gymnasium.make_vec(
        f"adbench/{world}-v0", num_envs=lanes, render_mode="rgb_array", height=8, width=10
    )
    assert base.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    with pytest.raises(gymnasium.error.ResetNeeded):
        base.render()
    env = RecordEpisodeStatistics(base)
    frames, info = env.reset(seed=1)
    assert frames.shape == (lanes, 8, 10, 3) and frames.dtype == np.uint8
    assert info["task"].shape[0] == lanes
    ended = 0
    for _ in range(210):
        frames, _, terminated, truncated, info = env.step(np.full(lanes, 6))
        over = terminated | truncated
        ended += int(over.sum())
        for lane in np.flatnonzero(over):
            assert info["final_obs"][lane].shape == (8, 10, 3)
    assert ended >= lanes
    shown = env.render()
    assert shown is not None and all(
        np.array_equal(a, b) for a, b in zip(shown, frames, strict=True)
    )
