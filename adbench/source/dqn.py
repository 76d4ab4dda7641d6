"""`dqn`: Q(lambda) with a convolutional network and replay, on frames, for many learners at once.

M learners with A actors each, N = M * A lanes, T steps a stretch, R stretches a learner's update, C
choices (actions), P parameters of one learner.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from gymnasium import spaces
from pydantic import model_validator
from torch import Tensor

from adbench.config import Config, Count, Fraction, Probability, UserConfig
from adbench.errors import UsageError
from adbench.model.encoder import FrameLayout
from adbench.noise import Lanes
from adbench.source.adam import AdamState, adam
from adbench.source.advantage import gae
from adbench.source.base import Source, Transition
from adbench.source.replay import Replay
from adbench.source.torso import Torso
from adbench.task import TaskFamily
from adbench.tokens import Observation

_CHANNELS = (32, 64, 64)
_STATE, _NEXT = "state/", "next_state/"
_FRAME, _NEXT_FRAME = "frame", "next_frame"


class DQNSettings(UserConfig):
    """Settings of `dqn`; the defaults are the paper's (Laskin et al. 2022, table 5), where stated.

    It has 16 actors a learner (`source.actors`).
    """

    batch_stretches: Count = 8
    """Stretches of experience in an update."""
    stretch_steps: Annotated[int, Ge(2), Le(10**6)] = 40
    """Steps of a stretch; returns are looked ahead to its end."""
    overlap_steps: Annotated[int, Ge(0), Le(10**6)] = 31
    """Steps that a stretch shares with the one before. Updates come as often as stretches."""
    replay_steps: Count = 100_000
    """Steps that a learner remembers, over all of its actors."""
    offline_fraction: Fraction = 0.7
    """Share of an update's stretches that is drawn from all that is remembered; the others are the
    newest."""
    trace: Fraction = 0.75
    """Lambda of Q(lambda)."""
    epsilon: Fraction = 0.01
    """Probability of a random action."""
    discount: Annotated[float, Ge(0.0), Lt(1.0)] = 0.9
    """Worth of a reward one step later."""
    target_updates: Count = 50
    """Updates between copies of the network to the one that targets come from."""
    hidden_width: Count = 256
    """Units of the hidden layer above the convolutions (not stated in the paper)."""
    learning_rate: Annotated[float, Gt(0.0)] = 1e-4
    """Step size of Adam."""
    beta1: Probability = 0.9
    """Adam's decay of the first moment."""
    beta2: Probability = 0.999
    """Adam's decay of the second moment."""
    adam_epsilon: Annotated[float, Gt(0.0)] = 1e-6
    """Adam's epsilon."""
    gradient_norm: Annotated[float, Gt(0.0)] = 10.0
    """A learner's gradient is scaled down to this norm."""

    @model_validator(mode="after")
    def _stretches_move_on(self) -> DQNSettings:
        if self.overlap_steps >= self.stretch_steps:
            raise ValueError(
                f"overlap_steps is {self.overlap_steps}; it must be less than stretch_steps, "
                f"{self.stretch_steps}"
            )
        return self

    @property
    def stride(self) -> int:
        """Steps from one stretch to the next."""
        return self.stretch_steps - self.overlap_steps


def lambda_targets(
    rewards: Tensor,
    next_best: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace: float,
) -> Tensor:
    """Targets of Q(lambda) (Peng and Williams 1996), which cuts no trace at explorative actions.

    Within an episode G_t = r_t + discount * ((1 - trace) * best_t + trace * G_t+1); with best_t
    alone at a stretch's last step and where time ran out; and r_t where the task ended.

    Args:
        rewards: float32 [T, ...].
        next_best: the best value of what each step led to in the same episode, [T, ...].
        terminated: bool [T, ...].
        truncated: bool [T, ...].
        discount: worth of a reward one step later.
        trace: lambda.

    Returns:
        float32 [T, ...].
    """
    # What a step led to is what the next one starts from: advantages over that, and it again.
    values = torch.cat([torch.zeros_like(next_best[:1]), next_best[:-1]])
    ended = {"terminated": terminated, "truncated": truncated}
    return values + gae(rewards, values, next_best, **ended, discount=discount, trace=trace)


class DQN(Source):
    """Deep Q(lambda) on frames: a network, a target network and a replay a learner.

    Where a family draws frames from states, the replay holds states and frames are drawn again.
    """

    name = "dqn"
    Settings = DQNSettings
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
        assert isinstance(settings, DQNSettings)
        self.settings: DQNSettings = settings
        self._frames = _layout_of(family)
        layout = self._frames
        self._choices = int(family.action_space.n)
        self.torso = Torso(
            (layout.rows, layout.columns, layout.channels),
            _CHANNELS,
            settings.hidden_width,
            self._choices,
        )
        learners = len(lanes.tasks) // actors
        self.parameters = self.torso.initial(lanes.keys("initialise")[::actors]).to(device)
        self.targets_from = self.parameters
        self.optimiser = AdamState.fresh(self.parameters)
        # No more than is ever lived through; nor less than one stretch.
        wanted = min(settings.replay_steps // actors, episodes * family.max_episode_steps)
        capacity = max(wanted, settings.stretch_steps)
        self.replay = Replay(capacity, len(lanes.tasks), device)
        self._first_lane = torch.arange(0, len(lanes.tasks), actors, device=device)
        self._noise = lanes.noise("action", 2, device=device)
        drawn = 2 * settings.batch_stretches
        self._replay_noise = lanes.noise("replay", drawn, device=device)
        self._learners = learners

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """Epsilon-greedy actions, int64 [N]."""
        assert isinstance(observation, Tensor)
        frames, _ = self._frames.flat(observation)
        with torch.no_grad():
            values = self.torso.values(
                self.parameters, frames.reshape(self._learners, -1, *frames.shape[1:])
            )
        explore, pick = self._noise.at(step).unbind(1)
        anything = (pick * self._choices).long().clamp_(max=self._choices - 1)
        return torch.where(explore < self.settings.epsilon, anything, values.argmax(-1).flatten())

    def learn(self, transition: Transition, step: int) -> None:
        """Remember the step; as often as a stretch begins, update every learner."""
        self.replay.append(self._remembered(transition))
        settings = self.settings
        stretches = self.replay.stretches(settings.stretch_steps, settings.stride)
        if stretches and (step + 1 - settings.stretch_steps) % settings.stride == 0:
            self._update(stretches, step)

    def _update(self, stretches: int, step: int) -> None:
        settings = self.settings
        back, lane = self._chosen(stretches, step)
        batch = self.replay.draw(back, lane, settings.stretch_steps, settings.stride)
        rewards = batch["reward"]  # [T, M, R]
        with torch.no_grad():
            frames = self._drawn(batch, _NEXT, _NEXT_FRAME)
            next_best = self._by_step(
                self.torso.values(self.targets_from, frames).amax(-1), rewards
            )
        targets = lambda_targets(
            rewards,
            next_best,
            batch["terminated"],
            batch["truncated"],
            discount=settings.discount,
            trace=settings.trace,
        )
        parameters = self.parameters.detach().requires_grad_()
        values = self.torso.values(parameters, self._drawn(batch, _STATE, _FRAME))
        actions = batch["action"].transpose(0, 1).flatten(1)
        taken = values.gather(-1, actions[..., None])[..., 0]
        error = taken - targets.transpose(0, 1).flatten(1)
        loss = 0.5 * error.square().mean(1)  # a learner's own; their sum has each one's gradient
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        norm = gradient.norm(dim=1, keepdim=True)
        gradient = gradient * (settings.gradient_norm / norm.clamp(min=settings.gradient_norm))
        self.parameters, self.optimiser = adam(
            self.parameters,
            gradient,
            self.optimiser,
            learning_rate=settings.learning_rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            epsilon=settings.adam_epsilon,
        )
        if self.optimiser.updates % settings.target_updates == 0:
            self.targets_from = self.parameters

    def _chosen(self, stretches: int, step: int) -> tuple[Tensor, Tensor]:
        """How far back each stretch of an update lies and whose it is, both int64 [M, R]."""
        settings, actors = self.settings, self.actors
        noise = self._replay_noise.at(step).view(self._learners, actors, -1)[:, 0]
        ages, whose = noise.chunk(2, dim=1)
        back = (ages * stretches).long().clamp_(max=stretches - 1)
        newest = round((1.0 - settings.offline_fraction) * settings.batch_stretches)
        back[:, :newest] = 0
        actor = (whose * actors).long().clamp_(max=actors - 1)
        return back, self._first_lane[:, None] + actor

    def _remembered(self, transition: Transition) -> dict[str, Tensor]:
        kept = {
            "action": transition.action,
            "reward": transition.reward,
            "terminated": transition.terminated,
            "truncated": transition.truncated,
        }
        if self.family.renderer is not None:
            kept |= {_STATE + name: value for name, value in transition.state.items()}
            return kept | {_NEXT + name: value for name, value in transition.next_state.items()}
        assert isinstance(transition.observation, Tensor)
        assert isinstance(transition.next_observation, Tensor)
        return kept | {_FRAME: transition.observation, _NEXT_FRAME: transition.next_observation}

    def _drawn(self, batch: dict[str, Tensor], states: str, stored: str) -> Tensor:
        """Frames of a batch, uint8 [M, T * R, Y, X, C]."""
        if stored in batch:
            frames, lead = self._frames.flat(batch[stored])
        else:
            state = {
                name.removeprefix(states): value
                for name, value in batch.items()
                if name.startswith(states)
            }
            lead = tuple(batch["reward"].shape)
            flat = {name: value.flatten(0, 2) for name, value in state.items()}
            frames, _ = self._frames.flat(self.family.render_state(flat))
        return frames.reshape(*lead, *frames.shape[1:]).transpose(0, 1).flatten(1, 2)

    @staticmethod
    def _by_step(values: Tensor, like: Tensor) -> Tensor:
        """[M, T * R] as [T, M, R]."""
        steps, learners, stretches = like.shape
        return values.view(learners, steps, stretches).transpose(0, 1)

    @classmethod
    def candidates(cls) -> tuple[dict[str, bool | int | float | str], ...]:
        """Twelve settings around the paper's, for fewer actors and shorter lives too."""
        rows = (
            # learning rate, discount, trace, epsilon
            (1e-4, 0.9, 0.75, 0.01),
            (3e-4, 0.9, 0.75, 0.01),
            (1e-3, 0.9, 0.75, 0.01),
            (3e-4, 0.9, 0.75, 0.05),
            (1e-3, 0.9, 0.75, 0.05),
            (3e-4, 0.9, 0.9, 0.05),
            (1e-3, 0.9, 0.9, 0.05),
            (3e-4, 0.95, 0.75, 0.05),
            (1e-3, 0.95, 0.9, 0.05),
            (3e-4, 0.9, 0.75, 0.1),
            (1e-3, 0.9, 0.75, 0.1),
            (1e-3, 0.95, 0.9, 0.1),
        )
        return tuple(
            {"learning_rate": rate, "discount": discount, "trace": trace, "epsilon": epsilon}
            for rate, discount, trace, epsilon in rows
        )


def _layout_of(family: TaskFamily) -> FrameLayout:
    space = family.observation_space
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3):
        return FrameLayout.of(space)
    raise UsageError(
        f"source 'dqn' learns from frames (a uint8 Box of two or three axes), and {family.name} "
        f"shows {space}. Use source.name = 'a2c', or 'q-lambda' where there is a table."
    )
