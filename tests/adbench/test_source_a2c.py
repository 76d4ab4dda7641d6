"""The actor-critic: its gradient, its features, time limits, and that it learns."""

from collections.abc import Sequence
from dataclasses import replace
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
from adbench.source.a2c import (
    A2C,
    A2CSettings,
    Batch,
    advantages_of,
    loss,
    loss_gradient,
    update,
)
from adbench.source.adam import AdamState
from adbench.source.base import Transition
from adbench.source.features import FeatureEncoder
from adbench.source.network import Layout

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "hidden_width": 64, "hidden_layers": 1, "learning_rate": 0.01, "discount": 0.9,
}  # fmt: skip


def learner(tasks: Tensor, lane_ids: Sequence[int], *, actors: int = 1, **settings: Any) -> A2C:
    lanes = Lanes(0, "test", tasks, tuple(lane_ids))
    family = plugins.family("dark-room")
    return A2C(
        A2CSettings(**{**SMALL, **settings}), family, lanes, actors=actors, episodes=1, device=CPU
    )


def batch(layout: Layout, *, learners: int, steps: int, actors: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    shape = (learners, steps * actors)
    ends = rng.random((2, *shape)) < 0.2
    features = rng.normal(size=(2, *shape, layout.sizes[0])).astype(np.float32)
    return Batch(
        features=torch.from_numpy(features[0]),
        next_features=torch.from_numpy(features[1]),
        action=torch.from_numpy(rng.integers(0, layout.sizes[-1] - 1, shape)),
        reward=torch.from_numpy(rng.normal(size=shape).astype(np.float32)),
        terminated=torch.from_numpy(ends[0]),
        truncated=torch.from_numpy(ends[1] & ~ends[0]),
        steps=steps,
    )


def test_the_gradient_by_hand_is_the_one_that_autograd_finds() -> None:
    settings = A2CSettings(entropy_bonus=0.3, value_weight=0.7)
    layout = Layout((4, 8, 6))
    rows = batch(layout, learners=3, steps=5, actors=2)
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 10, 6, generator=generator).double().requires_grad_()
    advantages, targets = torch.randn(2, 3, 10, generator=generator).double()
    (found,) = torch.autograd.grad(loss(output, rows, advantages, targets, settings).sum(), output)
    by_hand = loss_gradient(output.detach(), rows, advantages, targets, settings)
    # Float64: a softmax and ten products.
    assert (by_hand - found).abs().max() < 1e-14


def test_an_update_lessens_the_loss_and_leaves_what_it_was_given_as_it_was() -> None:
    settings = A2CSettings(learning_rate=1e-3)
    layout = Layout((4, 16, 6))
    rows = batch(layout, learners=2, steps=4, actors=3)
    parameters = layout.initial([np.array([7, n], np.uint64) for n in range(2)])
    before = parameters.clone()
    output = layout.forward(parameters, rows.features)[-1]
    values = output[..., -1]
    advantages = advantages_of(layout, parameters, rows, values, settings)
    moved, state = update(layout, parameters, AdamState.fresh(parameters), rows, settings)
    assert torch.equal(parameters, before)
    assert state.updates == 1
    targets = advantages + values
    told = [
        loss(layout.forward(weights, rows.features)[-1], rows, advantages, targets, settings)
        for weights in (before, moved)
    ]
    assert (told[1] < told[0]).all()


def test_actors_rows_are_told_apart_in_time() -> None:
    # Rows are in order of time, then actor: one's reward must not reach the other's advantage.
    layout = Layout((4, 6))
    settings = A2CSettings(trace=1.0, value_weight=0.0, entropy_bonus=0.0)
    rows = batch(layout, learners=1, steps=3, actors=2)
    nothing = torch.zeros_like(rows.terminated)
    rows = replace(rows, terminated=nothing, truncated=nothing, reward=torch.zeros(1, 6))
    rows.reward[0, 5] = 1.0  # the last step of actor 1
    zero = torch.zeros(1, layout.num_parameters)
    moved, _ = update(layout, zero, AdamState.fresh(zero), rows, settings)
    weight, _ = layout.layers[0].weights(moved)
    # With no value and no entropy, the gradient is that of actor 1's three rows alone.
    features = rows.features.view(3, 2, 4)[:, 1]
    action = rows.action.view(3, 2)[:, 1]
    advantage = settings.discount ** torch.tensor([2.0, 1.0, 0.0])
    policy = torch.full((3, 5), 0.2)
    policy[torch.arange(3), action] -= 1.0
    gradient = features.T @ (policy * advantage[:, None])
    assert torch.equal(weight[0, :, :5].sign(), -gradient.sign())


class Treadmill:
    """One state, a reward of one at every step, cut every five steps; told as it is or wrongly."""

    def __init__(self, tasks: Tensor, *, as_an_end: bool) -> None:
        self.observation = torch.zeros(len(tasks), 2, dtype=torch.int64)
        self.as_an_end = as_an_end

    def transition(self, action: Tensor, step: int) -> Transition:
        cut = torch.full((len(action),), step % 5 == 4)
        never = torch.zeros_like(cut)
        return Transition(
            self.observation, {}, action, torch.ones(len(action)),
            cut if self.as_an_end else never, never if self.as_an_end else cut,
            self.observation, {},
        )  # fmt: skip


@pytest.mark.parametrize(("as_an_end", "low", "high"), [(False, 9.0, 11.0), (True, 0.0, 5.0)])
def test_its_value_of_endless_reward_is_the_geometric_series_despite_time_limits(
    as_an_end: bool, low: float, high: float
) -> None:
    tasks = torch.arange(2)
    learners = learner(tasks, range(2), learning_rate=0.03)
    world = Treadmill(tasks, as_an_end=as_an_end)
    for step in range(1500):
        action = learners.act(world.observation, {}, step)
        learners.learn(world.transition(action, step), step)
    features = FeatureEncoder(plugins.family("dark-room").observation_space, CPU)
    value = learners.layout.forward(learners.parameters, features(world.observation)[:, None])[-1][
        ..., -1
    ]
    # Discount 0.9: 1 / (1 - 0.9) = 10. Taken for ends, cuts leave less than five steps' reward.
    assert value.min() > low
    assert value.max() < high


def test_a_learner_is_the_same_beside_any_other_learners() -> None:
    family = plugins.family("dark-room")
    tasks = family.tasks("train", 9, seed=0)

    def lived(chosen: list[int], actors: int) -> tuple[np.ndarray, Any]:
        learning = learn_online(
            family, tasks[chosen], SourceConfig(name="a2c", settings=SMALL, actors=actors), seed=3,
            stage="test", learner_ids=chosen, episodes=15,
        )  # fmt: skip
        return learning.steps["action"], learning.returns

    together, returns = lived(list(range(9)), actors=3)
    for few in ([4], [0, 8], [1, 2, 3, 5, 7]):
        rows = np.concatenate([np.arange(3 * one, 3 * one + 3) for one in few])
        alone, alone_returns = lived(few, actors=3)
        assert (alone == together[rows]).all()
        assert (alone_returns == returns[rows]).all()


def test_learners_on_one_task_differ_and_a_seed_tells_them_apart() -> None:
    family = plugins.family("dark-room")
    task = family.tasks("train", 1, seed=0).repeat(2)

    def actions(seed: int) -> np.ndarray:
        learning = learn_online(
            family, task, SourceConfig(name="a2c", settings=SMALL), seed=seed, stage="test",
            learner_ids=(0, 1), episodes=2,
        )  # fmt: skip
        return learning.steps["action"]

    first = actions(0)
    assert (first[0] != first[1]).any()
    assert (first == actions(0)).all()
    assert (first != actions(1)).any()


def test_it_learns_dark_room() -> None:
    family = plugins.family("dark-room")
    tasks = family.tasks("train", 24, seed=0)
    learning = learn_online(
        family, tasks, SourceConfig(name="a2c", settings=SMALL), seed=0, stage="test",
        learner_ids=range(24), episodes=200, record=False,
    )  # fmt: skip
    curve = learning.returns.mean(0)
    assert curve[:5].mean() < 1.5
    assert curve[-20:].mean() >= 14.0  # of 16.5


def test_the_papers_settings_are_the_defaults() -> None:
    settings = A2CSettings()
    assert (settings.hidden_width, settings.hidden_layers) == (128, 3)
    assert (settings.learning_rate, settings.discount, settings.trace) == (1e-4, 0.99, 0.95)
    assert (settings.beta1, settings.beta2, settings.epsilon) == (0.9, 0.999, 1e-6)
    assert settings.entropy_bonus == 0.01


def test_a_setting_out_of_range_is_named_with_its_range() -> None:
    family = plugins.family("dark-room")
    source = SourceConfig(name="a2c", settings={"discount": 1.5})
    with pytest.raises(ConfigError, match=r"(?s)settings of a2c.*discount.*less than 1.*1\.5"):
        learn_online(
            family, family.tasks("train", 1, seed=0), source, seed=0, stage="test",
            learner_ids=(0,), episodes=1,
        )  # fmt: skip


def test_symbols_become_one_hot_vectors() -> None:
    encode = FeatureEncoder(spaces.Discrete(3, start=5), CPU)
    assert encode(torch.tensor([5, 7])).tolist() == [[1, 0, 0], [0, 0, 1]]
    encode = FeatureEncoder(spaces.MultiDiscrete([2, 3]), CPU)
    assert encode(torch.tensor([[1, 0], [0, 2]])).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]


def test_bounded_numbers_are_scaled_and_unbounded_ones_are_left_as_they_are() -> None:
    low, high = np.array([-4.0, -np.inf, 0.0]), np.array([4.0, np.inf, 3e38])
    encode = FeatureEncoder(spaces.Box(low, high, dtype=np.float64), CPU)
    assert encode(torch.tensor([[2.0, 7.0, 9.0]]).double()).tolist() == [[0.5, 7.0, 9.0]]


def test_pixels_are_scaled_to_at_most_one() -> None:
    encode = FeatureEncoder(spaces.Box(0, 255, (2, 1, 3), np.uint8), CPU)
    pixels = torch.tensor([0, 51, 255, 0, 0, 102], dtype=torch.uint8).view(1, 2, 1, 3)
    torch.testing.assert_close(encode(pixels), torch.tensor([[0.0, 0.2, 1.0, 0.0, 0.0, 0.4]]))


def test_a_dict_is_its_parts_side_by_side() -> None:
    space = spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(-1, 1, (2,))})
    encode = FeatureEncoder(space, CPU)
    seen = {"b": torch.tensor([1]), "a": torch.tensor([[0.5, -0.5]])}
    assert encode.size == 4
    assert encode(seen).tolist() == [[0.5, -0.5, 0.0, 1.0]]


def test_an_observation_that_it_cannot_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'a2c' cannot read observations of Text"):
        FeatureEncoder(spaces.Text(5), CPU)
