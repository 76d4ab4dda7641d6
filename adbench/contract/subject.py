"""What the checks look at: a family, some tasks of it, and a few roll-outs that are played once.

N lanes, S steps.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from adbench.contract.rollout import Rollout, play
from adbench.noise import generator
from adbench.task import BatchedEnv, Observe, TaskFamily

_MOST_STEPS = 2500
_LANES_OF_A_SPLIT = 3


@dataclass(frozen=True)
class Subject:
    """A family and how to look at it.

    Attributes:
        family: whose contract is checked.
        module: where it was written, imported anew to see what that prints; "": not looked at.
        device: where its environments are made.
        seed: of splits, environments and the actions that are played.
        sample_steps: environment steps for estimating what random play earns.
    """

    family: TaskFamily
    module: str = ""
    device: str = "cpu"
    seed: int = 0
    sample_steps: int = 20_000

    @property
    def splits(self) -> tuple[str, ...]:
        """Training, validation and every test set."""
        return ("train", "validation", *self.family.test_sets)

    @cached_property
    def tasks(self) -> Tensor:
        """A few tasks of every split, the first one twice, [N, ...]."""
        some = []
        for split in self.splits:
            found = self.family.tasks(split, None, seed=self.seed)
            some.append(found[:_LANES_OF_A_SPLIT])
        return torch.cat([*some, some[0][:1]])

    @property
    def lane_ids(self) -> tuple[int, ...]:
        """Ids of the lanes of `tasks`: not counted from 0, and not in order."""
        return tuple(1000 - 7 * lane for lane in range(len(self.tasks)))

    @cached_property
    def steps(self) -> int:
        """Steps of a roll-out: two whole episodes and a little, where that is not too long."""
        return min(2 * self.family.max_episode_steps + 3, _MOST_STEPS)

    def actions(self, lanes: Sequence[int], steps: int) -> Tensor:
        """Random actions of some lanes, int64 [S, N]: the same for a lane beside any others."""
        choices = int(self.family.action_space.n)
        columns = [
            torch.from_numpy(generator("check-env", self.seed, lane).integers(choices, size=steps))
            for lane in lanes
        ]
        return torch.stack(columns, dim=1)

    def make(
        self, lanes: Sequence[int] | None = None, *, seed: int = 0, observe: Observe = "agent"
    ) -> BatchedEnv:
        """An environment of some of the lanes (all by default), in that order."""
        chosen = range(len(self.tasks)) if lanes is None else lanes
        return self.family.make(
            self.tasks[list(chosen)],
            seed=self.seed + seed,
            lane_ids=[self.lane_ids[lane] for lane in chosen],
            device=self.device,
            observe=observe,
        )

    def play(
        self, lanes: Sequence[int] | None = None, *, observe: Observe = "agent", steps: int = 0
    ) -> Rollout:
        """Roll some of the lanes out anew."""
        chosen = range(len(self.tasks)) if lanes is None else lanes
        env = self.make(chosen, observe=observe)
        try:
            return play(env, self.actions(chosen, steps or self.steps).to(self.device))
        finally:
            env.close()

    @cached_property
    def rollout(self) -> Rollout:
        """All lanes rolled out, once; `printed` says what went to stdout meanwhile."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            rollout = self.play()
        self.printed.append(printed.getvalue())
        return rollout

    @cached_property
    def printed(self) -> list[str]:
        """What the environments printed while they were rolled out."""
        return []
