"""`hill-climb`: a source that remembers its best string of actions and tries small changes to it.

It needs neither rewards that come early nor a table of states, only episodes that start alike.
N lanes, T steps an episode, A actions.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from adbench.config import Config, Scalar
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.base import Source, Transition
from adbench.task import TaskFamily
from adbench.tokens import Observation


class HillClimbSettings(Config):
    """Settings of `hill-climb`."""

    change: Annotated[float, Gt(0.0), Le(1.0)] = 0.2
    """Probability with which a step of the best string is replaced by a random action."""


class HillClimb(Source):
    """Plays its best string of actions with small changes, and keeps what earned at least as much.

    Changes become rarer over the episodes of learning, and at their end it plays the best string.
    """

    name = "hill-climb"
    Settings = HillClimbSettings

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
        assert isinstance(settings, HillClimbSettings)
        if actors != 1:
            raise UsageError(f"hill-climb has one actor a learner; source.actors is {actors}.")
        count, steps = len(lanes.lane_ids), family.max_episode_steps
        self._change = settings.change
        self._choices = int(family.action_space.n)
        # Two numbers a step: whether to change it, and to what. Keyed by lane, so a lane learns the
        # same beside any others.
        self._noise = lanes.noise("action", 2, device=device)
        self._lane = torch.arange(count, device=device)
        self._clock = torch.zeros(count, dtype=torch.int64, device=device)
        self._episode = torch.zeros_like(self._clock)
        self._best = torch.zeros(count, steps, dtype=torch.int64, device=device)
        self._tried = torch.zeros_like(self._best)
        self._best_return = torch.full((count,), -torch.inf, device=device)
        self._return = torch.zeros(count, device=device)

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """The best string's next action or a random one, int64 [N]."""
        noise = self._noise.at(step)
        left = 1.0 - self._episode / self.episodes
        rate = torch.where(self._episode == 0, 1.0, self._change * left.clamp(min=0.0))
        anything = (noise[:, 1] * self._choices).long()
        action = torch.where(noise[:, 0] < rate, anything, self._best[self._lane, self._clock])
        self._tried[self._lane, self._clock] = action
        return action

    def learn(self, transition: Transition, step: int) -> None:
        """Where an episode ended, keep its string if it earned as much as the best."""
        self._return += transition.reward
        ended = transition.terminated | transition.truncated
        better = ended & (self._return >= self._best_return)
        self._best = torch.where(better[:, None], self._tried, self._best)
        self._best_return = torch.where(better, self._return, self._best_return)
        self._return = torch.where(ended, 0.0, self._return)
        self._clock = torch.where(ended, 0, self._clock + 1)
        self._episode = self._episode + ended

    @classmethod
    def candidates(cls) -> tuple[dict[str, Scalar], ...]:
        """Settings from which `source-best` is chosen."""
        return tuple({"change": change} for change in (0.05, 0.1, 0.2, 0.3, 0.5))
