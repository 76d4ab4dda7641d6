"""Task families and batched environments: the contract that every world keeps.

N lanes, one task each. A family splits its tasks into train, validation and test, and makes batched
environments whose observations, rewards and flags are torch tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from adbench.errors import UsageError, unknown_name
from adbench.maps import GroundMap, Outline, Spot
from adbench.noise import LaneNoise, Lanes, generator
from adbench.tokens import Observation

__all__ = [
    "SPLITS",
    "BatchedEnv",
    "GroundMap",
    "LaneNoise",
    "Lanes",
    "Observation",
    "Observe",
    "Outline",
    "Spot",
    "TaskFamily",
    "UsageError",
    "generator",
    "numbered_lanes",
    "split_indices",
    "unknown_name",
]

SPLITS = ("train", "validation", "test")
Observe = Literal["agent", "state"]


class BatchedEnv(VectorEnv[Any, Tensor, Tensor], ABC):
    """N lanes of one family as a gymnasium vector environment on torch tensors.

    An episode that ends is reset in the same step: `step` returns the new episode's first
    observation, and the last one of those that ended is in `info["final_obs"]` (a whole batch; rows
    of running lanes mean nothing) beside `info["_final_obs"]` (bool [N]) and `info["final_state"]`
    (as `state()`, same rows). They are there on every step.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(self, family: TaskFamily, tasks: Tensor, *, device: torch.device | str) -> None:
        self.family = family
        self.tasks = tasks
        self.device = torch.device(device)
        self.num_envs = len(tasks)
        self.single_observation_space = family.observation_space
        self.single_action_space = family.action_space
        self.action_space = batch_space(family.action_space, self.num_envs)

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        """Of the whole batch; made when asked for: for frames that takes longer than steps."""
        return batch_space(self.single_observation_space, self.num_envs)

    @abstractmethod
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every lane's first episode.

        Args:
            seed: none, or the seed given to `make`: only that one counts.
            options: not used.

        Returns:
            observation [N, ...], info.
        """

    @abstractmethod
    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take one step in every lane.

        Args:
            actions: int64 [N].

        Returns:
            observation [N, ...], reward float32 [N], terminated bool [N], truncated bool [N], info.
        """

    def _refuse_another_seed(self, seed: int | None, own: int) -> None:
        """What `reset` does with its seed: the one given to `make` counts.

        Raises:
            UsageError: it is another.
        """
        if seed is not None and seed != own:
            raise UsageError(
                f"reset(seed={seed}) on an environment made with seed {own}. "
                "Leave the seed out, or make another environment with it."
            )

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Privileged state behind the observation just returned: name -> [N, ...], all fresh."""


class TaskFamily(ABC):
    """A set of tasks that differ in what is hidden and share everything that is seen.

    Attributes:
        name: as registered; lower case words joined by hyphens.
        version: raised whenever scores stop being comparable.
        observation_space: of one lane, as the agent sees it.
        action_space: of one lane.
        max_episode_steps: where an episode is truncated.
        test_sets: names of the held-out sets that are scored; the first is the headline.
        num_tabular_states: size of a table that is Markov for every task; 0 where there is none.
        num_option_states: size of a table of where options are chosen; 0 where there is none.
        num_options: that `follow` carries out; 0 where there is none.
        renderer: what draws its observations from states (`render_state`), so that histories need
            not hold them; none: nothing can.
        samples: a pixel of what is drawn.
        world_version: of what is drawn; raised whenever it looks otherwise.
        frame_settings: names of those of its constructor's arguments that change how states are
            drawn and nothing that happens.
        ends_at_goal: whether an episode that earned something and ended early ended at its goal:
            then the steps to it are reported beside the return.
        accelerated: whether it can step on a GPU. Where it cannot, roll-outs on a GPU keep it on
            the CPU, and what it shows crosses over in one pinned copy a step.
    """

    name: str
    version: int = 0
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.spaces.Discrete
    max_episode_steps: int
    test_sets: tuple[str, ...] = ("test",)
    num_tabular_states: int = 0
    num_option_states: int = 0
    num_options: int = 0
    ends_at_goal: bool = False
    accelerated: bool = True
    renderer: str | None = None
    samples: int = 1
    world_version: int = 0
    frame_settings: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Tasks of a split, [count, ...]; equal arguments give equal tasks.

        Args:
            split: "train", "validation", or one of `test_sets`.
            count: how many; none: all, or the family's default where there is no end of them.
            seed: the split's seed.

        Raises:
            UnknownNameError: no such split.
            UsageError: more tasks than the split has.
        """

    @abstractmethod
    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> BatchedEnv:
        """One lane a task.

        Args:
            tasks: [N, ...], as `tasks` gives them.
            seed: keys every draw of the environment, with the lane's task and id.
            lane_ids: one a lane; none: 0 to N - 1.
            device: where the tensors live.
            observe: "state" renders nothing: observations are not to be looked at.
        """

    @abstractmethod
    def random_return(self, tasks: Tensor) -> Tensor:
        """Expected return of uniformly random actions over one episode, float32 [N]."""

    @abstractmethod
    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        """Expected return of the best policy that knows the task, float32 [N]; none: unknown."""

    def map(self, task: Tensor, state: dict[str, Tensor] | None = None) -> GroundMap | None:
        """The ground of a task from above, for a family whose states have a `pose` (x, z, yaw).

        Args:
            task: one task, without a batch.
            state: of one lane, without a batch, where the ground differs from episode to episode;
                none: draw what all episodes share.

        Returns:
            None: there is no map.
        """
        return None

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """Index of each lane's state in a table, int64 [N] in [0, num_tabular_states)."""
        raise NotImplementedError(f"{self.name} has no tabular states")

    def render_state(self, state: dict[str, Tensor]) -> Tensor:
        """What the agent sees in states such as `BatchedEnv.state` gives, uint8 [N, Y, X, C]."""
        raise NotImplementedError(f"{self.name} does not draw")

    def option_state(self, state: dict[str, Tensor]) -> Tensor:
        """What the choice of an option depends on, int64 [N] in [0, num_option_states).

        While an option is followed it must stay as it was, but for what the last step brings.
        """
        raise NotImplementedError(f"{self.name} has no options")

    def follow(self, state: dict[str, Tensor], option: Tensor) -> tuple[Tensor, Tensor]:
        """The next action of options: courses of actions that are chosen as one (Sutton, Precup
        and Singh 1999), such as going in a direction of the world, whatever the heading.

        Args:
            state: as `BatchedEnv.state` gives it.
            option: int64 [N] in [0, num_options).

        Returns:
            The action, int64 [N], and whether the option goes on after it, bool [N]; what is earned
            before its last action is not learnt from.
        """
        raise NotImplementedError(f"{self.name} has no options")


def numbered_lanes(tasks: Tensor, lane_ids: Sequence[int] | None) -> tuple[int, ...]:
    """One id a task: those given, or 0 to N - 1.

    Raises:
        UsageError: there are not as many ids as tasks.
    """
    ids = tuple(range(len(tasks))) if lane_ids is None else tuple(lane_ids)
    if len(ids) != len(tasks):
        raise UsageError(
            f"{len(tasks)} tasks came with {len(ids)} lane ids. Give one id a task, or none."
        )
    return ids


def split_indices(
    total: int,
    split: str,
    count: int | None,
    *,
    seed: int,
    validation: int,
    test: int,
    what: str = "tasks",
) -> np.ndarray:
    """Indices of a finite set of tasks that belong to a split, int64 [count], reproducible.

    One permutation of all tasks, keyed by the seed, is cut into test, validation and train: splits
    are disjoint, and test tasks do not depend on how many training tasks are asked for.

    Args:
        total: tasks in all.
        split: "train", "validation" or "test".
        count: how many; none: all of the split.
        seed: the split's seed.
        validation: tasks set aside for validation.
        test: tasks set aside for testing.
        what: what to call them in an error.

    Raises:
        UnknownNameError: no such split.
        UsageError: more than the split has.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    order = generator("split", seed, total).permutation(total)
    part = {
        "test": order[:test],
        "validation": order[test : test + validation],
        "train": order[test + validation :],
    }[split]
    if count is None:
        return part
    if not 1 <= count <= len(part):
        raise UsageError(
            f"{count} {split} {what} were asked for; the split has {len(part)}. "
            f"Ask for 1 to {len(part)}."
        )
    return part[:count]
