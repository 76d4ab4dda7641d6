"""What a source algorithm is: many learners at once, each on its own task.

M learners with A actors each drive N = M * A lanes; lane n belongs to learner n // A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adbench.config import Config
from adbench.noise import Lanes
from adbench.task import TaskFamily
from adbench.tokens import Observation


@dataclass(frozen=True)
class Transition:
    """One step of N lanes.

    Attributes:
        observation: what the action was chosen from, [N, ...].
        state: privileged state behind it.
        action: int64 [N].
        reward: float32 [N].
        terminated: the task ended; nothing follows. bool [N].
        truncated: time ran out; the value of what follows still counts. bool [N].
        next_observation: what followed *in the same episode* (the final observation where it
            ended), [N, ...].
        next_state: privileged state behind it.
    """

    observation: Observation
    state: dict[str, Tensor]
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observation: Observation
    next_state: dict[str, Tensor]


class Source(ABC):
    """M learners with A actors each.

    Attributes:
        name: as registered under `adbench.sources`.
        Settings: its configuration record; `SourceConfig.settings` is validated by it.
        privileged: whether it reads state that the agent does not see.
        observes: whether it looks at observations; where it does not, none are drawn for it.
        accelerated: whether a GPU helps it; if not, it learns on the CPU whatever is asked for.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[Config]]
    privileged: ClassVar[bool] = False
    observes: ClassVar[bool] = True
    accelerated: ClassVar[bool] = False

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
        """Prepare the learners.

        Args:
            settings: an instance of `Settings`.
            family: the tasks' family (spaces, tabular states).
            lanes: who the N lanes are; all randomness comes from `lanes.noise(...)`.
            actors: A.
            episodes: episodes over which to learn; schedules (exploration) end there.
            device: where the learners live.

        Raises:
            UsageError: the family does not have what this algorithm needs.
        """
        self.settings = settings
        self.family = family
        self.lanes = lanes
        self.actors = actors
        self.episodes = episodes
        self.device = device

    @abstractmethod
    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """Actions of every lane at environment step `step` (0, 1, ...), int64 [N]."""

    @abstractmethod
    def learn(self, transition: Transition, step: int) -> None:
        """Take in what those actions led to."""

    @classmethod
    def candidates(cls) -> tuple[dict[str, bool | int | float | str], ...]:
        """A dozen settings from which `source-best` is chosen on validation tasks."""
        return ({},)
