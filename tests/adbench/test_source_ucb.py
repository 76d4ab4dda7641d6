"""UCB1 on bandits: the formula, the order of trying, and finding the best arm."""

import math

import pytest
import torch

from adbench import plugins
from adbench.collect import learn_online
from adbench.config import SourceConfig
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.base import Transition
from adbench.source.ucb import UCB, UCBSettings, upper_bounds

CPU = torch.device("cpu")


def test_the_bound_is_mean_plus_the_stated_bonus() -> None:
    pulls = torch.tensor([[1.0, 3.0, 0.0]]).double()
    rewards = torch.tensor([[0.5, 3.0, 0.0]]).double()
    bounds = upper_bounds(pulls, rewards, exploration=0.5)
    expected = [
        0.5 + 0.5 * math.sqrt(2 * math.log(4)),
        1.0 + 0.5 * math.sqrt(2 * math.log(4) / 3),
        math.inf,
    ]
    torch.testing.assert_close(bounds, torch.tensor([expected]).double())


def test_every_arm_is_pulled_once_before_any_is_pulled_again() -> None:
    family = plugins.family("bandit")
    tasks = family.tasks("train", 8, seed=0)
    learning = learn_online(
        family, tasks, SourceConfig(name="ucb"), seed=0, stage="test",
        learner_ids=range(8), episodes=10,
    )  # fmt: skip
    arms = learning.steps["action"]
    assert (torch.from_numpy(arms).sort(dim=1).values == torch.arange(10)).all()
    assert len({tuple(lane) for lane in arms.tolist()}) == 8  # each learner in an order of its own


def test_it_comes_to_pull_the_best_arm() -> None:
    family = plugins.family("bandit")
    tasks = torch.full((32, 10), 0.2)
    tasks[:, 7] = 0.9
    learning = learn_online(
        family, tasks, SourceConfig(name="ucb", settings={"exploration": 0.5}), seed=0,
        stage="test", learner_ids=range(32), episodes=400,
    )  # fmt: skip
    assert (learning.steps["action"][:, -100:] == 7).mean() > 0.9


def test_actors_of_a_learner_share_its_counts() -> None:
    family = plugins.family("bandit")
    tasks = family.tasks("train", 1, seed=0).repeat(3, 1)
    learner = UCB(
        UCBSettings(), family, Lanes(0, "test", tasks, (0, 1, 2)),
        actors=3, episodes=5, device=CPU,
    )  # fmt: skip
    env = family.make(tasks, seed=0)
    observation, _ = env.reset()
    for step in range(5):
        arms = learner.act(observation, {}, step)
        _, reward, terminated, truncated, _ = env.step(arms)
        learner.learn(
            Transition(
                observation, {}, arms, torch.ones_like(reward), terminated, truncated,
                observation, {},
            ),
            step,
        )  # fmt: skip
    assert learner.pulls.shape == (1, 10)
    assert learner.pulls.sum() == 15
    assert torch.equal(learner.pulls, learner.rewards)


def test_it_refuses_worlds_that_are_not_bandits() -> None:
    family = plugins.family("dark-room")
    lanes = Lanes(0, "test", family.tasks("train", 1, seed=0), (0,))
    with pytest.raises(UsageError, match=r"for bandits.*dark-room has up to 20 steps"):
        UCB(UCBSettings(), family, lanes, actors=1, episodes=1, device=CPU)
