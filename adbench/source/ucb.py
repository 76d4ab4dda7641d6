"""`ucb`: the upper-confidence-bound rule for bandits; bandit rows are measured by its score.

M learners with A actors each, N = M * A lanes, C arms.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from adbench.config import Config, UserConfig
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.base import Source, Transition
from adbench.task import TaskFamily
from adbench.tokens import Observation


class UCBSettings(UserConfig):
    """Settings of `ucb`."""

    exploration: Annotated[float, Ge(0.0)] = 1.0
    """Factor on the bonus sqrt(2 ln t / n) of an arm pulled n times in t pulls; 1 is UCB1."""


class UCB(Source):
    """UCB1 (Auer et al. 2002, figure 1), after Lai and Robbins (1985), whom the paper cites.

    Every arm is pulled once, in an order drawn by the noise; then the arm with the largest mean
    plus bonus. Actors of one learner share its counts and choose from them at the same moment.
    """

    name = "ucb"
    Settings = UCBSettings

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
        assert isinstance(settings, UCBSettings)
        if family.max_episode_steps != 1:
            raise UsageError(
                f"source 'ucb' is for bandits, whose episodes are one pull; {family.name} has up "
                f"to {family.max_episode_steps} steps. Use source.name = 'q-lambda' or 'a2c'."
            )
        learners, arms = len(lanes.tasks) // actors, int(family.action_space.n)
        self._exploration = settings.exploration
        self._noise = lanes.noise("action", arms, device=device)
        # float64: sums of 0.1 must not depend on how many there were before.
        self.pulls = torch.zeros(learners, arms, dtype=torch.float64, device=device)
        self.rewards = torch.zeros_like(self.pulls)
        self._arm = torch.zeros(len(lanes.tasks), dtype=torch.int64, device=device)

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """The arm with the highest upper bound, int64 [N]; ties are broken by the noise."""
        bounds = upper_bounds(self.pulls, self.rewards, exploration=self._exploration)
        bounds = bounds.repeat_interleave(self.actors, dim=0)
        best = bounds == bounds.amax(dim=1, keepdim=True)
        self._arm = (self._noise.at(step) * best + best).argmax(dim=1)
        return self._arm

    def learn(self, transition: Transition, step: int) -> None:
        """Count the pulls and add up what they paid."""
        arms = self._arm.view(-1, self.actors)
        self.pulls.scatter_add_(1, arms, torch.ones_like(arms, dtype=torch.float64))
        self.rewards.scatter_add_(1, arms, transition.reward.double().view(-1, self.actors))

    @classmethod
    def candidates(cls) -> tuple[dict[str, bool | int | float | str], ...]:
        """Twelve factors of the bonus, from nearly greedy to twice UCB1."""
        factors = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0)
        return tuple({"exploration": factor} for factor in factors)


def upper_bounds(pulls: Tensor, rewards: Tensor, *, exploration: float) -> Tensor:
    """Mean plus bonus of every arm; infinite for an arm that was never pulled.

    Args:
        pulls: float64 [M, C].
        rewards: their sum, float64 [M, C].
        exploration: factor on the bonus.

    Returns:
        float64 [M, C].
    """
    total = pulls.sum(dim=1, keepdim=True).clamp(min=1.0)
    bonus = exploration * torch.sqrt(2.0 * torch.log(total) / pulls)
    return torch.where(pulls > 0, rewards / pulls + bonus, torch.inf)
