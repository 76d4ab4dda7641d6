"""`hill-climb`: a source that remembers its best string of actions and departs from it to explore.

It needs neither rewards that come early nor a table of states, only episodes that start alike.
N lanes, T steps an episode.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench.config import Config, Probability, Scalar
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.base import Source, Transition
from adbench.task import TaskFamily
from adbench.tokens import Observation


class HillClimbSettings(Config):
    """Settings of `hill-climb`."""

    persist: Probability = 0.8
    """Probability with which an exploring step repeats the action before it."""


class HillClimb(Source):
    """Follows its best string of actions up to a random step and explores from there.

    A string that earned at least as much becomes the best. Exploring grows rarer over the episodes
    of learning; at their end it plays the best string alone.
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
        count, self._steps = len(lanes.lane_ids), family.max_episode_steps
        self._persist = settings.persist
        self._choices = int(family.action_space.n)
        # Three numbers a step, keyed by lane: so a lane learns the same beside any other lanes.
        self._noise = lanes.noise("action", 3, device=device)
        self._lane = torch.arange(count, device=device)
        self._clock = torch.zeros(count, dtype=torch.int64, device=device)
        self._episode = torch.zeros_like(self._clock)
        self._departs = torch.zeros_like(self._clock)
        self._action = torch.zeros_like(self._clock)
        self._best = torch.zeros(count, self._steps, dtype=torch.int64, device=device)
        self._tried = torch.zeros_like(self._best)
        self._best_return = torch.full((count,), -torch.inf, device=device)
        self._return = torch.zeros(count, device=device)

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """The best string's next action, or an exploring one, int64 [N]."""
        coin, place, choice = self._noise.at(step).unbind(dim=1)
        first = self._clock == 0
        explores = coin < 1.0 - self._episode / self.episodes
        departs = torch.where(explores, (place * self._steps).long(), self._steps)
        self._departs = torch.where(first, departs.where(self._episode > 0, 0), self._departs)
        repeats = (coin < self._persist) & ~first
        explored = torch.where(repeats, self._action, (choice * self._choices).long())
        known = self._best[self._lane, self._clock]
        self._action = torch.where(self._clock < self._departs, known, explored)
        self._tried[self._lane, self._clock] = self._action
        return self._action

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
        return tuple({"persist": persist} for persist in (0.5, 0.6, 0.7, 0.8, 0.9))
