"""The row `sweep`: the best of 2,000 fixed strings of actions, chosen on training tasks.

It neither sees nor learns: every episode of every task plays one and the same string from its
beginning. What it earns, a task gives away to who merely covers the ground.

G strings, S steps of an episode, T tasks, N lanes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from adbench.errors import Stopped
from adbench.noise import Lanes, generator, key_of
from adbench.policy import Policy, StepView
from adbench.progress import Progress, Stop, never, silent
from adbench.task import TaskFamily
from adbench.tokens import NO_ACTION

STRINGS = 2000

_ROUNDS = ((STRINGS, 32), (100, 256), (10, 2048))
"""Strings that are left, and episodes that each of them plays: the last ten are told apart by a
standard error of about 0.01 in a share of episodes."""
_ROUNDS_OF_PLAIN_STEPS = ((STRINGS, 4), (50, 32), (10, 64))
"""The same where a step is Python's work for each lane."""

_LANES_AT_ONCE = 8192
_PLAIN_LANES_AT_ONCE = 512


class SweepPolicy(Policy):
    """One string of actions in every episode of every lane, whatever happens.

    Args:
        actions: int64 [S]; an episode that outlasts them repeats the last one.
    """

    sees: ClassVar[bool] = False

    _step: Tensor

    def __init__(self, actions: Tensor) -> None:
        self.actions = actions

    def start(self, lanes: Lanes, device: torch.device) -> None:
        """Every lane begins its first episode."""
        self.actions = self.actions.to(device)
        self._step = torch.zeros(len(lanes.lane_ids), dtype=torch.int64, device=device)

    def act(self, view: StepView, noise: Tensor | None) -> Tensor:
        """The string's next action, or its first where an episode begins; see `Policy.act`."""
        last = (view.count.long() - 1).clamp_(min=0)[:, None]
        begins = view.tokens.previous_action.gather(1, last)[:, 0] == NO_ACTION
        self._step = torch.where(begins, 0, self._step + 1)
        return self.actions[self._step.clamp(max=len(self.actions) - 1)]


def draw_strings(family: TaskFamily, *, seed: int) -> Tensor:
    """The strings among which the best is chosen, int64 [2000, S].

    Each repeats its last action with a probability of its own, uniform in [0, 1): from random
    walks, which stay near the start, to long straight runs.
    """
    draws = generator(family.name, family.version, "sweep", seed)
    shape, num_actions = (STRINGS, family.max_episode_steps), int(family.action_space.n)
    fresh = draws.integers(num_actions, size=shape)
    repeats = draws.random(shape) < draws.random((STRINGS, 1))
    repeats[:, 0] = False
    # Where an action repeats, the last place that was drawn afresh says which.
    place = np.maximum.accumulate(np.where(repeats, 0, np.arange(shape[1])), axis=1)
    return torch.from_numpy(np.take_along_axis(fresh, place, axis=1))


def choose_sweep(
    family: TaskFamily,
    tasks: Tensor,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    stop: Stop = never,
) -> Tensor:
    """The string that earns most on some tasks, int64 [S].

    In three rounds: every string plays a few episodes, the best of them more, the best ten many.
    Each round goes by its own episodes alone, so that nobody is chosen for one lucky draw.

    Args:
        family: whose tasks they are.
        tasks: training tasks, [T, ...]; episodes are spread over them.
        seed: the run's.
        device: where the environment lives, if it can step there.
        progress: told the episodes played.
        stop: asked now and then whether to give up.

    Raises:
        Stopped: `stop` said so; nothing is kept.
    """
    rounds = _ROUNDS if family.accelerated else _ROUNDS_OF_PLAIN_STEPS
    total = sum(strings * episodes for strings, episodes in rounds)
    kept = draw_strings(family, seed=seed)
    most = _LANES_AT_ONCE if family.accelerated else _PLAIN_LANES_AT_ONCE
    told = 0
    best = torch.zeros(len(kept), dtype=torch.float64)
    for number, (strings, episodes) in enumerate(rounds):
        kept = kept[best.argsort(descending=True, stable=True)[:strings]]
        at_once = max(1, most // episodes)
        means = []
        for first in range(0, len(kept), at_once):
            if stop():
                raise Stopped("the choice of a sweep stopped before its end; it begins again.")
            part = kept[first : first + at_once]
            stage = f"choose-sweep/{number}/{first}"
            means.append(_mean_returns(family, tasks, part, episodes, seed, stage, device))
            told += len(part) * episodes
            progress(told, total)
        best = torch.cat(means)
    return kept[int(best.argmax())]


def _mean_returns(
    family: TaskFamily,
    tasks: Tensor,
    strings: Tensor,
    episodes: int,
    seed: int,
    stage: str,
    device: torch.device | str,
) -> Tensor:
    """Mean return of each string, float64 [G]; every string plays the same tasks."""
    device = torch.device(device if family.accelerated else "cpu")
    which = (torch.arange(episodes) % len(tasks)).repeat(len(strings))
    env = family.make(
        tasks[which],
        seed=int(key_of(seed, stage, "env")[0] >> 1),
        lane_ids=tuple(range(len(which))),
        device=device,
        observe="state",
    )
    actions = strings.to(device).repeat_interleave(episodes, dim=0).T.contiguous()
    earned = torch.zeros(len(which), dtype=torch.float64, device=device)
    plays = torch.ones(len(which), dtype=torch.bool, device=device)
    env.reset()
    for step in actions:
        _, reward, terminated, truncated, _ = env.step(step)
        earned += reward * plays
        plays &= ~(terminated | truncated)
    env.close()
    return earned.view(len(strings), episodes).mean(dim=1).cpu()
