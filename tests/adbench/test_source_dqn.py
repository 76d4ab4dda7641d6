"""Deep Q(lambda): its targets, its replay, its network, and that it learns from frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench import plugins
from adbench.collect import learn_online
from adbench.config import SourceConfig
from adbench.errors import ConfigError, UsageError
from adbench.noise import Lanes
from adbench.source.base import Transition
from adbench.source.dqn import DQN, DQNSettings, lambda_targets
from adbench.source.replay import Replay
from adbench.source.torso import Torso
from adbench.task import BatchedEnv, TaskFamily, numbered_lanes

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "batch_stretches": 4, "stretch_steps": 6, "overlap_steps": 3, "hidden_width": 16,
    "target_updates": 5, "learning_rate": 1e-3,
}  # fmt: skip
# Sums of a few hundred float32 numbers of about 1.
ROUNDING = 1e-4


def pixels(size: int = 8) -> Any:
    """A family that is seen as frames."""
    from adbench_envs.watermaze import WatermazeSmall

    return WatermazeSmall(height=size, width=size)


def learner(
    family: Any, tasks: Tensor, lane_ids: Sequence[int], *, actors: int = 1, **settings: Any
) -> DQN:
    return DQN(
        DQNSettings(**{**SMALL, **settings}),
        family,
        Lanes(0, "test", tasks, tuple(lane_ids)),
        actors=actors,
        episodes=2,
        device=CPU,
    )


def live(family: Any, dqn: DQN, tasks: Tensor, lane_ids: Sequence[int], steps: int) -> list[Tensor]:
    """Steps through `steps` of an environment; the actions."""
    env = family.make(tasks, seed=0, lane_ids=lane_ids)
    observation, _ = env.reset()
    actions = []
    for step in range(steps):
        state = env.state()
        action = dqn.act(observation, state, step)
        actions.append(action)
        following, reward, terminated, truncated, info = env.step(action)
        dqn.learn(
            Transition(
                observation, state, action, reward, terminated, truncated,
                info["final_obs"], info["final_state"],
            ),
            step,
        )  # fmt: skip
        observation = following
    env.close()
    return actions


def by_definition(
    rewards: Any, best: Any, terminated: Any, truncated: Any, discount: float, trace: float
) -> list[float]:
    """Targets of one stream as the recursion in the docstring says it."""
    targets: list[float] = []
    for step in range(len(rewards) - 1, -1, -1):
        if terminated[step]:
            targets.append(rewards[step])
        elif truncated[step] or step == len(rewards) - 1:
            targets.append(rewards[step] + discount * best[step])
        else:
            mixed = (1 - trace) * best[step] + trace * targets[-1]
            targets.append(rewards[step] + discount * mixed)
    return targets[::-1]


@pytest.mark.parametrize("trace", [0.0, 0.75, 1.0])
def test_targets_are_what_the_recursion_says(trace: float) -> None:
    rng = np.random.default_rng(0)
    rewards, best = rng.normal(size=(2, 30, 4))
    ends = rng.random((2, 30, 4)) < 0.15
    terminated, truncated = ends[0], ends[1] & ~ends[0]
    found = lambda_targets(
        *map(torch.from_numpy, (rewards.copy(), best, terminated, truncated)),
        discount=0.9, trace=trace,
    )  # fmt: skip
    for lane in range(4):
        expected = by_definition(
            rewards[:, lane], best[:, lane], terminated[:, lane], truncated[:, lane], 0.9, trace
        )
        np.testing.assert_allclose(found[:, lane].numpy(), expected, atol=1e-12)


def test_a_reward_at_the_end_is_a_geometric_series_of_discounts() -> None:
    rewards = torch.tensor([0.0, 0.0, 0.0, 1.0])
    ends = torch.tensor([False, False, False, True])
    found = lambda_targets(
        rewards, torch.full((4,), 9.0), ends, torch.zeros(4, dtype=torch.bool),
        discount=0.5, trace=1.0,
    )  # fmt: skip
    assert found.tolist() == [0.125, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("steps", [5, 6, 11, 23])
def test_replay_gives_stretches_of_one_lane_in_order_of_time(steps: int) -> None:
    length, stride, capacity, lanes = 4, 2, 10, 3
    replay = Replay(capacity, lanes, CPU)
    for step in range(steps):
        replay.append({"x": 100 * torch.arange(lanes) + step})
    stretches = replay.stretches(length, stride)
    assert stretches == (min(steps, capacity) - length) // stride + 1
    back = torch.arange(stretches)[:, None].expand(-1, lanes)
    drawn = replay.draw(back, torch.arange(lanes).expand_as(back), length, stride)["x"]
    for number in range(stretches):
        last = steps - 1 - number * stride
        expected = torch.arange(last - length + 1, last + 1)
        for lane in range(lanes):
            assert torch.equal(drawn[:, number, lane], 100 * lane + expected)


def test_replay_has_no_stretch_before_there_are_enough_steps() -> None:
    replay = Replay(10, 1, CPU)
    for _ in range(3):
        assert replay.stretches(4, 2) == 0
        replay.append({"x": torch.zeros(1)})
    assert replay.stretches(3, 2) == 1


def test_a_learners_network_is_the_same_alone_and_beside_others() -> None:
    torso = Torso((9, 7, 3), (4, 8), hidden=16, actions=5)
    keys = [np.array([seed, 1], np.uint64) for seed in range(3)]
    parameters = torso.initial(keys)
    frames = torch.randint(
        0, 256, (3, 2, 9, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    together = torso.values(parameters, frames)
    for number in range(3):
        alone = torso.values(parameters[number : number + 1], frames[number : number + 1])
        assert torch.equal(alone[0], together[number])
    grouped = torch.vmap(torso._values)(parameters, frames)  # what a GPU runs
    assert torch.allclose(grouped, together, atol=ROUNDING)


@pytest.mark.parametrize("actors", [1, 2])
def test_a_learner_lives_the_same_life_beside_any_others(actors: int) -> None:
    family = pixels()
    tasks = family.tasks("train", 3, seed=0).repeat_interleave(actors, 0)
    ids = list(range(3 * actors))
    together = live(family, learner(family, tasks, ids, actors=actors), tasks, ids, 25)
    some = slice(actors, 2 * actors)
    alone = live(family, learner(family, tasks[some], ids[some], actors=actors), tasks[some],
                 ids[some], 25)  # fmt: skip
    assert torch.equal(torch.stack(together)[:, some], torch.stack(alone))


def test_replaying_states_is_replaying_the_frames_that_were_seen() -> None:
    family = pixels()
    tasks = family.tasks("train", 2, seed=0)
    drawing, storing = learner(family, tasks, [0, 1]), learner(family, tasks, [0, 1])
    live(family, drawing, tasks, [0, 1], 15)
    family.renderer = None  # as if nobody could draw
    live(family, storing, tasks, [0, 1], 15)
    assert "frame" in storing.replay._fields
    assert "frame" not in drawing.replay._fields
    assert torch.equal(drawing.parameters, storing.parameters)


def test_the_target_network_is_the_other_one_as_it_was() -> None:
    family = pixels()
    tasks = family.tasks("train", 1, seed=0)
    dqn = learner(family, tasks, [0], target_updates=2)
    first = dqn.parameters
    live(family, dqn, tasks, [0], SMALL["stretch_steps"])
    assert dqn.optimiser.updates == 1
    assert torch.equal(dqn.targets_from, first)
    assert not torch.equal(dqn.parameters, first)
    live_on = learner(family, tasks, [0], target_updates=1)
    live(family, live_on, tasks, [0], SMALL["stretch_steps"])
    assert torch.equal(live_on.targets_from, live_on.parameters)


def test_a_learners_gradient_is_scaled_down_to_its_norm() -> None:
    """Adam's first moment after one update is a tenth of the gradient."""
    family = pixels()
    tasks = family.tasks("train", 1, seed=0)
    dqn = learner(family, tasks, [0], gradient_norm=1e-3)
    live(family, dqn, tasks, [0], SMALL["stretch_steps"])
    assert float(dqn.optimiser.mean.norm()) == pytest.approx(1e-4, rel=1e-3)


class Lamps(TaskFamily):
    """A lamp is lit on one side of a frame of 4 x 4; pointing there pays 1. Five steps."""

    name = "lamps"
    max_episode_steps = 5

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (4, 4), np.uint8)
        self.action_space = spaces.Discrete(2)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        return torch.zeros(count or 4, 1, dtype=torch.int64)

    def make(self, tasks: Tensor, *, seed: int, lane_ids: Any = None, **_: Any) -> BatchedEnv:
        return LampsBatch(self, tasks, seed, numbered_lanes(tasks, lane_ids))

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.full((len(tasks),), 2.5)

    def optimal_return(self, tasks: Tensor) -> Tensor:
        return torch.full((len(tasks),), 5.0)


class LampsBatch(BatchedEnv):
    def __init__(self, family: Lamps, tasks: Tensor, seed: int, lane_ids: Sequence[int]) -> None:
        super().__init__(family, tasks, device="cpu")
        self.noise = Lanes(seed, "env", tasks, tuple(lane_ids)).noise("lamp", 1)
        self.steps = 0

    def side(self) -> Tensor:
        return (self.noise.at(self.steps)[:, 0] < 0.5).long()

    def seen(self) -> Tensor:
        frames = torch.zeros(self.num_envs, 4, 4, dtype=torch.uint8)
        frames[torch.arange(self.num_envs), :, 3 * self.side()] = 255
        return frames

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.seen(), {}

    def step(self, actions: Tensor) -> Any:
        reward = (actions == self.side()).float()
        self.steps += 1
        ended = torch.full((self.num_envs,), self.steps % 5 == 0)
        info = {"final_obs": self.seen(), "_final_obs": ended, "final_state": self.state()}
        return self.seen(), reward, torch.zeros_like(ended), ended, info

    def state(self) -> dict[str, Tensor]:
        return {"side": self.side()}


def test_it_learns_what_frames_show() -> None:
    family = Lamps()
    settings = {**SMALL, "epsilon": 0.1, "discount": 0.0, "learning_rate": 3e-3}
    learning = learn_online(
        family, family.tasks("train", 3, seed=0), SourceConfig(name="dqn", settings=settings),
        seed=0, stage="test", learner_ids=range(3), episodes=60, record=False,
    )  # fmt: skip
    # Whoever points at the lamp but for a tenth of random actions earns 4.75 of 5; chance is 2.5.
    assert learning.returns[:, -10:].mean() > 4.3
    assert learning.returns[:, :3].mean() < 4.0


def test_it_refuses_what_is_no_frame() -> None:
    family = plugins.family("dark-room")
    with pytest.raises(UsageError, match=r"dqn.*dark-room shows MultiDiscrete.*a2c"):
        learner(family, family.tasks("train", 1, seed=0), [0])
    flat = pixels()
    flat.observation_space = spaces.Box(0, 255, (12,), np.uint8)
    with pytest.raises(UsageError, match="two or three axes"):
        learner(flat, flat.tasks("train", 1, seed=0), [0])


def test_stretches_that_never_move_on_are_refused() -> None:
    with pytest.raises(ConfigError, match="overlap_steps is 6; it must be less than"):
        DQNSettings.parse({"stretch_steps": 6, "overlap_steps": 6})
