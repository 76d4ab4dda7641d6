"""`q-lambda`: a table of action values for every learner, learnt by Watkins's Q(lambda).

M learners with A actors each, N = M * A lanes.

Where a family knows options (`TaskFamily.num_options`), the table is over those and what their
choice depends on, and each is carried out by as many actions as it takes. In a world with headings
they are its directions: what is learnt about a place holds for every heading one comes to it with.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from adbench.config import Config, Fraction, UserConfig
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.base import Source, Transition
from adbench.source.watkins import Array, Tables, choose, take_in, trace_slots
from adbench.task import TaskFamily
from adbench.tokens import Observation


class QLambdaSettings(UserConfig):
    """Settings of `q-lambda`. The defaults are for Dark Room; `docs/sources.md` has the curves."""

    learning_rate: Annotated[float, Gt(0.0), Le(1.0)] = 1.0
    """Share of an error that is made good at once; 1 is right where nothing is random."""
    discount: Annotated[float, Ge(0.0), Lt(1.0)] = 0.7
    """Worth of a reward one step later."""
    trace: Fraction = 0.6
    """Lambda: how much of an error reaches the pairs visited before, beside the discount."""
    initial_value: float = 1.5
    """Every action value at first. Above what is found, it makes a learner try everything; half of
    reward / (1 - discount) keeps it trying where a reward can be earned at every step."""
    persistence: Fraction = 1.0
    """Probability that a tie among the best actions goes to the one taken last. With optimistic
    values most exploration is ties: 1 explores in straight lines, 0 as a random walk."""
    epsilon_start: Fraction = 0.0
    """Probability of a random action in the first episode."""
    epsilon_end: Fraction = 0.0
    """The same once exploration is over."""
    epsilon_share: Fraction = 0.5
    """Share of the learning episodes over which it falls, linearly."""
    choices: Literal["auto", "actions", "options"] = "auto"
    """What the table has values of: single actions, or the family's options, courses of actions
    such as going in a direction of the world. auto: options where the family has them."""


class QLambda(Source):
    """Tabular Q(lambda): a table a learner, shared by its actors, who have traces of their own."""

    name = "q-lambda"
    Settings = QLambdaSettings
    privileged: ClassVar[bool] = True
    observes: ClassVar[bool] = False

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
        assert isinstance(settings, QLambdaSettings)
        if family.num_tabular_states < 1:
            raise UsageError(
                f"source 'q-lambda' needs a table, and {family.name} has no tabular states. Use "
                "source.name = 'a2c', or give the family num_tabular_states and tabular_state."
            )
        self._follows = settings.choices != "actions" and family.num_options > 0
        if settings.choices == "options" and not self._follows:
            raise UsageError(
                f"source.settings.choices is 'options', and {family.name} has none. Use "
                "'actions', or give the family num_options, num_option_states, option_state and "
                "follow."
            )
        self.tables = Tables.fresh(
            len(lanes.tasks) // actors,
            actors,
            family.num_option_states if self._follows else family.num_tabular_states,
            family.num_options if self._follows else int(family.action_space.n),
            value=settings.initial_value,
            slots=trace_slots(settings.discount * settings.trace, family.max_episode_steps),
        )
        self._learning = (actors, settings.learning_rate, settings.discount, settings.trace)
        self._choosing = (
            actors,
            settings.persistence,
            settings.epsilon_start,
            settings.epsilon_end,
            settings.epsilon_share * episodes,
        )
        self._noise = lanes.noise("action", 2)
        self._states = np.zeros(len(lanes.tasks), np.int64)

    def act(self, observation: Observation, state: dict[str, Tensor], step: int) -> Tensor:
        """Epsilon-greedy actions, int64 [N]."""
        tables = self.tables
        self._states = self._indices(state)
        choose(
            tables.values,
            tables.action,
            tables.greedy,
            tables.finished,
            tables.under_way,
            self._states,
            self._noise.at(step).numpy(),
            *self._choosing,
        )
        chosen = torch.from_numpy(tables.action.copy()).to(self.device)
        if not self._follows:
            return chosen
        action, under_way = self.family.follow(state, chosen)
        tables.under_way[:] = under_way.cpu().numpy()
        return action

    def learn(self, transition: Transition, step: int) -> None:
        """One backup of every lane."""
        tables = self.tables
        take_in(
            tables.values,
            tables.trace_pairs,
            tables.trace_weights,
            tables.trace_lengths,
            tables.action,
            tables.greedy,
            tables.finished,
            tables.under_way,
            self._states,
            transition.reward.cpu().numpy(),
            transition.terminated.cpu().numpy(),
            transition.truncated.cpu().numpy(),
            self._indices(transition.next_state),
            *self._learning,
        )

    @classmethod
    def candidates(cls) -> tuple[dict[str, bool | int | float | str], ...]:
        """Twelve settings that span fast and thorough, dense and sparse rewards."""
        rows = (
            # discount, trace, initial value, persistence
            (0.7, 0.6, 1.5, 1.0),
            (0.6, 0.9, 1.0, 1.0),
            (0.9, 0.5, 5.0, 1.0),
            (0.5, 0.6, 0.8, 0.0),
            (0.9, 0.7, 0.01, 1.0),
            (0.95, 0.7, 0.01, 1.0),
            (0.95, 0.7, 0.01, 0.9),
            (0.9, 0.5, 0.1, 1.0),
            (0.9, 0.5, 0.1, 0.0),
        )
        optimistic: list[dict[str, bool | int | float | str]] = [
            {"discount": discount, "trace": trace, "initial_value": value, "persistence": ties}
            for discount, trace, value, ties in rows
        ]
        # For worlds with randomness in them: a smaller step, and exploration that is not only ties.
        noisy: list[dict[str, bool | int | float | str]] = [
            {**optimistic[1], "learning_rate": 0.3},
            {**optimistic[5], "learning_rate": 0.3},
            {**optimistic[7], "learning_rate": 0.5, "epsilon_start": 0.3},
        ]
        return (*optimistic, *noisy)

    def _indices(self, state: dict[str, Tensor]) -> Array:
        index = self.family.option_state if self._follows else self.family.tabular_state
        indices: Array = index(state).cpu().numpy()
        return indices
