"""Small worlds written out as tables, and their exact returns by dynamic programming.

T tasks, A actions, S states.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adbench.task import TaskFamily, split_indices


@dataclass(frozen=True)
class Outcomes:
    """What each action leads to from each state, in each task.

    Attributes:
        next_state: int64 [T, A, S].
        reward: float32 [T, A, S].
        ends: the episode terminates there. bool [T, A, S].
    """

    next_state: Tensor
    reward: Tensor
    ends: Tensor


class TabularFamily(TaskFamily):
    """A family with a finite number of tasks, each a table of outcomes."""

    @abstractmethod
    def outcomes(self, tasks: Tensor) -> Outcomes:
        """What every action leads to from every tabular state of T tasks."""

    @abstractmethod
    def start(self) -> Tensor:
        """Probability of starting an episode in each tabular state, float64 [S]."""

    @abstractmethod
    def checked(self, tasks: Tensor) -> Tensor:
        """Tasks as int64 on the CPU.

        Raises:
            UsageError: they are none of this family's.
        """

    def random_return(self, tasks: Tensor) -> Tensor:
        """Expected return of uniformly random actions, float32 [T], by dynamic programming."""
        return self._expected(uniform_return, tasks)

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Expected return of the best policy that knows the task, float32 [T], by the same."""
        return self._expected(best_return, tasks)

    def _expected(self, of: Callable[..., Tensor], tasks: Tensor) -> Tensor:
        return in_chunks(
            lambda part: of(self.outcomes(part), self.start(), steps=self.max_episode_steps),
            self.checked(tasks),
        )

    def _fifth_for_testing(self, total: int, split: str, count: int | None, *, seed: int) -> Tensor:
        """Numbers of tasks, int64 [count]: a fifth is for testing, a tenth for validation."""
        numbers = split_indices(
            total,
            split,
            count,
            seed=seed,
            validation=round(0.1 * total),
            test=round(0.2 * total),
            what=f"{self.name} tasks",
        )
        return torch.from_numpy(numbers.copy())


def uniform_return(outcomes: Outcomes, start: Tensor, *, steps: int) -> Tensor:
    """Expected return of uniformly random actions, float32 [T].

    Args:
        outcomes: the worlds.
        start: probability of starting in each state, float64 [S].
        steps: where an episode is truncated.
    """
    return _return(outcomes, start, steps, lambda values: values.mean(dim=1))


def best_return(outcomes: Outcomes, start: Tensor, *, steps: int) -> Tensor:
    """Expected return of the best policy that knows the task and the time left, float32 [T].

    Args:
        outcomes: the worlds.
        start: probability of starting in each state, float64 [S].
        steps: where an episode is truncated.
    """
    return _return(outcomes, start, steps, lambda values: values.amax(dim=1))


def _return(
    outcomes: Outcomes, start: Tensor, steps: int, over_actions: Callable[[Tensor], Tensor]
) -> Tensor:
    num_tasks, _, num_states = outcomes.next_state.shape
    successor = outcomes.next_state.flatten(1)
    goes_on = (~outcomes.ends).to(torch.float64)
    # float64: fifty sums of means, compared with other sums later.
    value = torch.zeros(num_tasks, num_states, dtype=torch.float64, device=successor.device)
    for _ in range(steps):
        later = value.gather(1, successor).view_as(goes_on)
        value = over_actions(outcomes.reward + goes_on * later)
    return (value @ start).float()


def in_chunks(
    compute: Callable[[Tensor], Tensor], tasks: Tensor, *, tasks_at_once: int = 128
) -> Tensor:
    """`compute` over slices of the tasks, so that tables of thousands of tasks stay in the cache.

    Args:
        compute: tasks [n, ...] to one number each, [n].
        tasks: [T, ...].
        tasks_at_once: n.
    """
    return torch.cat([compute(part) for part in torch.split(tasks, tasks_at_once)])
