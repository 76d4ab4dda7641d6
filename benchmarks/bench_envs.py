"""Environment steps a second of the grid worlds, beside gymnasium's vector environments.

    pytest benchmarks/bench_envs.py

"adbench" is what sources and roll-outs step: tensors, all lanes in lockstep. "make_vec" is the same
through gymnasium's interface in numpy, "SyncVectorEnv" gymnasium's own over plain environments, one
Python call a lane and step. Before they are timed, lanes are played beside the plain environment on
the same tasks and from the same starts: observations, rewards and endings must be equal (the
bandit's rewards are drawn, and are not compared).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import adbench_envs  # noqa: F401  (registers the ids)
from adbench.task import TaskFamily
from adbench_envs.bandit import Bandit
from adbench_envs.dark_room import DarkRoom, DarkRoomHard
from adbench_envs.key_to_door import KeyToDoor
from adbench_envs.numpy_envs import KeyToDoorEnv
from benchmarks.meter import Meter, scales

WORLDS: dict[str, TaskFamily] = {
    "Bandit": Bandit(),
    "DarkRoom": DarkRoom(),
    "DarkRoomHard": DarkRoomHard(),
    "KeyToDoor": KeyToDoor(),
}
STEPS = 200
"""Steps a round: four episodes of the longest."""
CHECKED_LANES = 4

Array = npt.NDArray[Any]
Step = Callable[[Any], tuple[Any, ...]]

pytestmark = pytest.mark.benchmark(group="environments")


class Seen(NamedTuple):
    """What S steps of N lanes returned.

    Attributes:
        observation: [S, N, ...]; where an episode ended, the next one's first.
        reward: [S, N].
        terminated: [S, N].
        truncated: [S, N].
    """

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array


def played(step: Step, actions: Any, lanes: int) -> Seen:
    """What the first lanes see of these actions, [S, N]."""
    steps = [[torch.as_tensor(x)[:lanes].cpu().numpy() for x in step(row)[:4]] for row in actions]
    return Seen(*(np.stack(part) for part in zip(*steps, strict=True)))


def check_lane(
    world: str, lane: int, task: Array, begin: Array, actions: Array, found: Seen
) -> None:
    """Play one lane again in the plain environment.

    Args:
        world: its name.
        lane: which.
        task: its task.
        begin: its first observation.
        actions: [S].
        found: what the lanes saw.
    """
    env: Any = gymnasium.make(f"adbench/{world}-v0", task=task, disable_env_checker=True).unwrapped
    _restart(env, begin)
    for step, action in enumerate(actions):
        seen, reward, terminated, truncated, _ = env.step(action)
        assert bool(terminated) == found.terminated[step, lane], "another ending: not timed"
        assert bool(truncated) == found.truncated[step, lane], "another time limit: not timed"
        if terminated or truncated:
            seen = _restart(env, found.observation[step, lane])
        assert np.array_equal(seen, found.observation[step, lane]), "another place: not timed"
        if world != "Bandit":
            assert reward == found.reward[step, lane], "another reward: not timed"


def _restart(env: Any, where: Array) -> Array:
    """Begin an episode; where starts are drawn, at the one that was drawn."""
    first: Array = env.reset(seed=0)[0]
    if isinstance(env, KeyToDoorEnv):
        env._cell = int(where[1]) * env.size + int(where[0])
        return where
    return first


def time_steps(
    meter: Meter, world: str, step: Step, begin: Any, actions: Any, tasks: Array
) -> None:
    """Play `STEPS` steps from the beginning of episodes on.

    Args:
        meter: times it.
        world: its name.
        step: of all lanes.
        begin: first observations, [N, ...].
        actions: [S, N].
        tasks: [N, ...].
    """
    shown = min(len(tasks), CHECKED_LANES)

    def check() -> None:
        found = played(step, actions, shown)
        for lane in range(shown):
            first, taken = torch.as_tensor(begin[lane]).cpu(), torch.as_tensor(actions[:, lane])
            check_lane(world, lane, tasks[lane], first.numpy(), taken.cpu().numpy(), found)

    def play() -> None:
        for row in actions:
            step(row)

    meter.time(play, check=check, env_steps=len(tasks) * STEPS)


def tasks_of(world: str, lanes: int) -> torch.Tensor:
    return WORLDS[world].tasks("train", 50, seed=0)[torch.arange(lanes) % 50]


@pytest.mark.parametrize("world", WORLDS)
@scales("lanes", 1, 16, 256, 4096, full=(1024, 16_384, 65_536), gpu=(256, 4096, 65_536))
def test_batched(meter: Meter, world: str, lanes: int) -> None:
    meter.about(f"{STEPS} steps of {world}", "adbench", ours=True, lanes=lanes)
    family, tasks = WORLDS[world], tasks_of(world, lanes)
    env = family.make(tasks, seed=0, device=meter.device)
    drawn = torch.Generator().manual_seed(0)
    actions = torch.randint(int(family.action_space.n), (STEPS, lanes), generator=drawn)
    begin, _ = env.reset()
    time_steps(meter, world, env.step, begin, actions.to(meter.device), tasks.numpy())


@pytest.mark.only("cpu")
@pytest.mark.parametrize("way", ["make_vec", "SyncVectorEnv"])
@pytest.mark.parametrize("world", ["DarkRoom", "KeyToDoor"])
@scales("lanes", 1, 16, 256, full=(4096,))
def test_numpy(meter: Meter, world: str, way: str, lanes: int) -> None:
    meter.about(f"{STEPS} steps of {world}", way, ours=False, lanes=lanes)
    name, tasks = f"adbench/{world}-v0", tasks_of(world, lanes).numpy()

    def plain(task: Array) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(name, task=task, disable_env_checker=True).unwrapped

    env: Any
    if way == "make_vec":
        env = gymnasium.make_vec(name, num_envs=lanes, tasks=tasks)
    else:
        env = SyncVectorEnv(
            [partial(plain, task) for task in tasks],
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
    actions = np.random.default_rng(0).integers(5, size=(STEPS, lanes))
    begin, _ = env.reset(seed=0)
    time_steps(meter, world, env.step, np.array(begin), actions, tasks)
