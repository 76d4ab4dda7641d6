"""`a2c`: advantage actor-critic, the paper's A3C in synchronous form, for many learners at once.

M learners with A actors each, N = M * A lanes, T steps an unroll, R = T * A rows of a learner's
update, F features, C choices (actions), P parameters of one learner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from adbench.config import Config, Count, Fraction, Probability, UserConfig
from adbench.noise import Lanes
from adbench.source.adam import AdamState, adam
from adbench.source.advantage import gae
from adbench.source.base import Source, Transition
from adbench.source.features import FeatureEncoder
from adbench.source.network import Layout
from adbench.task import TaskFamily
from adbench.tokens import Observation


class A2CSettings(UserConfig):
    """Settings of `a2c`; the defaults are the paper's (Laskin et al. 2022, table 4), where stated.

    They are for 100 actors a learner. With one actor, `learning_rate` 0.01, `discount` 0.9,
    `hidden_width` 64 and `hidden_layers` 1 learn Dark Room in 100 episodes, and run ten times
    faster.
    """

    hidden_width: Count = 128
    """Units of each hidden layer (rectifiers)."""
    hidden_layers: Count = 3
    """Hidden layers, shared by policy and value."""
    learning_rate: Annotated[float, Gt(0.0)] = 1e-4
    """Step size of Adam."""
    beta1: Probability = 0.9
    """Adam's decay of the first moment."""
    beta2: Probability = 0.999
    """Adam's decay of the second moment."""
    epsilon: Annotated[float, Gt(0.0)] = 1e-6
    """Adam's epsilon."""
    discount: Annotated[float, Ge(0.0), Lt(1.0)] = 0.99
    """Worth of a reward one step later."""
    trace: Fraction = 0.95
    """Lambda of the generalised advantage estimates."""
    entropy_bonus: Annotated[float, Ge(0.0)] = 0.01
    """Weight of the policy's entropy."""
    value_weight: Annotated[float, Ge(0.0)] = 0.5
    """Weight of the value's squared error (not stated in the paper)."""
    unroll_steps: Count = 5
    """Steps between updates (not stated in the paper; A3C's own, Mnih et al. 2016)."""


@dataclass(frozen=True)
class Batch:
    """One unroll of M learners, rows in order of time and then of actors.

    Attributes:
        features: float32 [M, R, F].
        next_features: of what the step led to in the same episode, float32 [M, R, F].
        action: int64 [M, R].
        reward: float32 [M, R].
        terminated: bool [M, R].
        truncated: bool [M, R].
        steps: T.
    """

    features: Tensor
    next_features: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    steps: int


def advantages_of(
    layout: Layout, parameters: Tensor, batch: Batch, values: Tensor, settings: A2CSettings
) -> Tensor:
    """Advantage of every row, [M, R], given the values of the rows' states, [M, R]."""

    def by_time(rows: Tensor) -> Tensor:
        return rows.view(len(rows), batch.steps, -1).transpose(0, 1)

    next_values = layout.forward(parameters, batch.next_features)[-1][..., -1]
    advantages = gae(
        by_time(batch.reward),
        by_time(values),
        by_time(next_values),
        by_time(batch.terminated),
        by_time(batch.truncated),
        discount=settings.discount,
        trace=settings.trace,
    )
    return advantages.transpose(0, 1).reshape(values.shape)


def loss(
    output: Tensor, batch: Batch, advantages: Tensor, targets: Tensor, settings: A2CSettings
) -> Tensor:
    """What a learner lessens, [M]: policy gradient, value error and entropy bonus, means over rows.

    `loss_gradient` is its derivative by hand; this is the definition, and what tests differentiate.

    Args:
        output: logits and value, [M, R, C + 1].
        batch: the unroll.
        advantages: [M, R], constants.
        targets: what the values should have been, [M, R], constants.
        settings: its weights.
    """
    log_policy = output[..., :-1].log_softmax(-1)
    taken = log_policy.gather(-1, batch.action[..., None])[..., 0]
    entropy = -(log_policy.exp() * log_policy).sum(-1)
    error = 0.5 * (output[..., -1] - targets).square()
    rows = settings.value_weight * error - taken * advantages - settings.entropy_bonus * entropy
    return rows.mean(1)


def loss_gradient(
    output: Tensor, batch: Batch, advantages: Tensor, targets: Tensor, settings: A2CSettings
) -> Tensor:
    """Derivative of `loss` by the output, [M, R, C + 1]; arguments as there."""
    log_policy = output[..., :-1].log_softmax(-1)
    policy = log_policy.exp()
    entropy = -(policy * log_policy).sum(-1, keepdim=True)
    gradient = torch.empty_like(output)
    by_logits = torch.mul(policy, advantages[..., None], out=gradient[..., :-1])
    by_logits.scatter_add_(-1, batch.action[..., None], -advantages[..., None])
    by_logits.addcmul_(policy, log_policy + entropy, value=settings.entropy_bonus)
    torch.sub(output[..., -1], targets, out=gradient[..., -1]).mul_(settings.value_weight)
    return gradient.div_(output.shape[1])


def update(
    layout: Layout, parameters: Tensor, state: AdamState, batch: Batch, settings: A2CSettings
) -> tuple[Tensor, AdamState]:
    """One update of every learner: pure, and each learner's own.

    Args:
        layout: of the network.
        parameters: [M, P].
        state: of the optimiser.
        batch: one unroll.
        settings: of the algorithm.

    Returns:
        new parameters and optimiser state.
    """
    outputs = layout.forward(parameters, batch.features)
    values = outputs[-1][..., -1]
    advantages = advantages_of(layout, parameters, batch, values, settings)
    gradient = loss_gradient(outputs[-1], batch, advantages, advantages + values, settings)
    return adam(
        parameters,
        layout.backward(parameters, outputs, gradient),
        state,
        learning_rate=settings.learning_rate,
        beta1=settings.beta1,
        beta2=settings.beta2,
        epsilon=settings.epsilon,
    )


class A2C(Source):
    """Advantage actor-critic: a network a learner, updated from all its actors every T steps."""

    name = "a2c"
    Settings = A2CSettings
    accelerated: ClassVar[bool] = True

    def __init__(
        self,
        settings: Config,
        family: TaskFamily,
        lanes: Lanes,
        *,
        actors: int,
        episodes: int,
        device: torch.device,
    ) -> None:
        super().__init__(settings, family, lanes, actors=actors, episodes=episodes, device=device)
        assert isinstance(settings, A2CSettings)
        self.settings: A2CSettings = settings
        learners = len(lanes.tasks) // actors
        choices, steps = int(family.action_space.n), settings.unroll_steps
        self._encode = FeatureEncoder(family.observation_space, device)
        hidden = [settings.hidden_width] * settings.hidden_layers
        self.layout = Layout((self._encode.size, *hidden, choices + 1))
        keys = lanes.keys("initialise")[::actors]  # a learner's is its first actor's
        self.parameters = self.layout.initial(keys).to(device)
        self.optimiser = AdamState.fresh(self.parameters)
        self._noise = lanes.noise("action", choices, device=device)
        shape = (learners, steps, actors)
        self._features = torch.zeros((*shape, self._encode.size), device=device)
        self._next_features = torch.zeros_like(self._features)
        self._action = torch.zeros(shape, dtype=torch.int64, device=device)
        self._reward = torch.zeros(shape, device=device)
        self._terminated = torch.zeros(shape, dtype=torch.bool, device=device)
        self._truncated = torch.zeros_like(self._terminated)
        self._seen: tuple[Observation | None, Tensor] = (None, torch.empty(0))

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """Actions drawn from the policy, int64 [N]."""
        features = self._features_of(observation)
        output = self.layout.forward(self.parameters, features)[-1]
        scores = output[..., :-1] + self._noise.gumbel_at(step).view_as(output[..., :-1])
        return scores.argmax(-1).flatten()

    def learn(self, transition: Transition, step: int) -> None:
        """Keep the step; at an unroll's end, update every learner."""
        at = step % self.settings.unroll_steps
        shape = self._action[:, at].shape
        self._features[:, at] = self._features_of(transition.observation)
        self._next_features[:, at] = self._features_of(transition.next_observation)
        self._action[:, at] = transition.action.view(shape)
        self._reward[:, at] = transition.reward.view(shape)
        self._terminated[:, at] = transition.terminated.view(shape)
        self._truncated[:, at] = transition.truncated.view(shape)
        if at + 1 == self.settings.unroll_steps:
            self.parameters, self.optimiser = update(
                self.layout, self.parameters, self.optimiser, self._batch(), self.settings
            )

    @classmethod
    def candidates(cls) -> tuple[dict[str, bool | int | float | str], ...]:
        """Twelve settings around what learns fastest with few actors."""
        small: dict[str, bool | int | float | str] = {"hidden_width": 64, "hidden_layers": 1}
        rows = (
            # learning rate, discount, unroll, entropy bonus
            (1e-2, 0.9, 10, 0.01),
            (1e-2, 0.9, 5, 0.01),
            (1e-2, 0.9, 20, 0.01),
            (1e-2, 0.9, 10, 0.05),
            (2e-2, 0.9, 10, 0.01),
            (3e-3, 0.9, 10, 0.01),
            (1e-2, 0.8, 10, 0.01),
            (1e-2, 0.95, 10, 0.01),
            (1e-2, 0.95, 10, 0.05),
            (3e-3, 0.95, 5, 0.01),
            (1e-2, 0.99, 10, 0.01),
            (3e-3, 0.99, 10, 0.01),
        )
        return tuple(
            {
                **small,
                "learning_rate": rate,
                "discount": discount,
                "unroll_steps": steps,
                "entropy_bonus": bonus,
            }
            for rate, discount, steps, bonus in rows
        )

    def _features_of(self, observation: Observation) -> Tensor:
        """Features, [M, A, F]. What a step led to begins the next one, and is encoded once."""
        if self._seen[0] is not observation:
            features = self._encode(observation)
            self._seen = (observation, features.view(-1, self.actors, self._encode.size))
        return self._seen[1]

    def _batch(self) -> Batch:
        return Batch(
            features=self._features.flatten(1, 2),
            next_features=self._next_features.flatten(1, 2),
            action=self._action.flatten(1, 2),
            reward=self._reward.flatten(1, 2),
            terminated=self._terminated.flatten(1, 2),
            truncated=self._truncated.flatten(1, 2),
            steps=self.settings.unroll_steps,
        )
