"""The row `sweep`: one fixed string of actions, chosen on training tasks and played everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.errors import Stopped
from adbench.evaluate import rollout
from adbench.noise import Lanes
from adbench.sweep import STRINGS, SweepPolicy, choose_sweep, draw_strings
from adbench.task import BatchedEnv, Observe, TaskFamily

STEPS = 6


class Locks(TaskFamily):
    """A task is the action that its lock wants; a step of the right one pays 1.

    An episode of lane i ends after 1 to 6 steps, by a draw of its own.
    """

    name = "locks"
    observation_space = spaces.Discrete(1)
    action_space = spaces.Discrete(5)
    max_episode_steps = STEPS
    whole_episodes = False

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        return torch.arange(count or 5) % 5

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> BatchedEnv:
        assert observe == "state", "nothing is to be rendered for who does not look"
        assert lane_ids is not None
        assert len({(int(t), i) for t, i in zip(tasks, lane_ids, strict=True)}) == len(tasks)
        return LockBatch(self, tasks, seed, tuple(lane_ids))

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.full((len(tasks),), STEPS / 5)

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        return None


class LockBatch(BatchedEnv):
    family: Locks

    def __init__(self, family: Locks, tasks: Tensor, seed: int, lane_ids: tuple[int, ...]) -> None:
        super().__init__(family, tasks, device="cpu")
        self._noise = Lanes(seed, "env", tasks, lane_ids).noise("env", 1)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        self._step, self._steps = 0, torch.zeros(self.num_envs, dtype=torch.int64)
        return self._seen(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        self._step += 1
        self._steps = self._steps + 1
        early = (self._noise.at(self._step)[:, 0] < 0.3) & (not self.family.whole_episodes)
        ended = early | (self._steps == STEPS)
        self._steps = self._steps * ~ended
        info = {"final_obs": self._seen(), "_final_obs": ended, "final_state": {}}
        none = torch.zeros_like(ended)
        return self._seen(), (actions == self.tasks).float(), none, ended, info

    def state(self) -> dict[str, Tensor]:
        return {}

    def _seen(self) -> Tensor:
        return torch.zeros(self.num_envs, dtype=torch.int64)


def test_strings_are_two_thousand_and_a_function_of_the_seed() -> None:
    strings = draw_strings(Locks(), seed=3)
    assert strings.shape == (STRINGS, STEPS) == (2000, STEPS) and strings.dtype == torch.int64
    assert strings.min() == 0 and strings.max() == 4
    assert torch.equal(strings, draw_strings(Locks(), seed=3))
    assert not torch.equal(strings, draw_strings(Locks(), seed=4))


def test_some_strings_are_random_walks_and_some_go_straight_on() -> None:
    family = Locks()
    family.max_episode_steps = 200
    again = (draw_strings(family, seed=0).diff(dim=1) == 0).double().mean(dim=1)
    # A repeat by chance has probability 1/5, a wanted one a uniform probability.
    assert again.mean() == pytest.approx(0.5 + 0.5 / 5, abs=0.03)
    assert again.quantile(0.05) < 0.3 and again.quantile(0.95) > 0.9


def test_the_string_that_is_chosen_is_the_best_of_them() -> None:
    """Without luck there is a right answer: that with most steps of the one action that pays."""
    family = Locks()
    family.whole_episodes = True
    best = choose_sweep(family, torch.tensor([3]), seed=0)
    most = (draw_strings(family, seed=0) == 3).sum(dim=1).max()
    assert int((best == 3).sum()) == int(most)


def test_the_choice_goes_by_all_tasks_that_it_is_given() -> None:
    family = Locks()
    family.whole_episodes = True
    best = choose_sweep(family, torch.tensor([1, 1, 1, 4]), seed=0)
    strings = draw_strings(family, seed=0)
    earned = 0.75 * (strings == 1).sum(dim=1) + 0.25 * (strings == 4).sum(dim=1)
    assert 0.75 * (best == 1).sum() + 0.25 * (best == 4).sum() == earned.max()


def test_the_choice_is_the_same_each_time_and_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    tasks = torch.arange(5)
    one = choose_sweep(
        Locks(), tasks, seed=7, progress=lambda done, total, _="": told.append((done, total))
    )
    assert torch.equal(one, choose_sweep(Locks(), tasks, seed=7))
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(d for d, _ in told)


def test_where_steps_are_slow_the_choice_takes_fewer_and_is_still_among_the_best() -> None:
    class Slow(Locks):
        accelerated = False

    family = Slow()
    family.whole_episodes = True
    told: list[int] = []
    best = choose_sweep(
        family, torch.tensor([3]), seed=0, progress=lambda _, total, __="": told.append(total)
    )
    assert told[0] == 2000 * 4 + 50 * 32 + 10 * 64
    assert int((best == 3).sum()) == int((draw_strings(family, seed=0) == 3).sum(dim=1).max())


def test_a_stop_is_heeded() -> None:
    with pytest.raises(Stopped):
        choose_sweep(Locks(), torch.arange(5), seed=0, stop=lambda: True)


def test_every_episode_of_every_lane_begins_the_string_anew() -> None:
    actions = torch.tensor([0, 1, 2, 3, 4, 0])
    played = rollout(
        SweepPolicy(actions), Locks(), torch.arange(5), lanes_per_task=4, episodes=9, seed=0,
        stage="evaluate/sweep",
    )  # fmt: skip
    assert played.returns.shape == (20, 9) and len(set(played.lengths.flatten().tolist())) == STEPS
    for lane, task in enumerate(played.tasks[played.task_index].tolist()):
        for episode in range(9):
            taken = actions[: int(played.lengths[lane, episode])]
            assert float(played.returns[lane, episode]) == float((taken == task).sum())


def test_an_episode_that_outlasts_the_string_repeats_its_last_action() -> None:
    played = rollout(
        SweepPolicy(torch.tensor([2, 4])), Locks(), torch.tensor([4]), lanes_per_task=8,
        episodes=4, seed=0, stage="evaluate/sweep",
    )  # fmt: skip
    assert torch.equal(played.returns, (played.lengths - 1).float())
