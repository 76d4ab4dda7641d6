"""`gym_family`: plain gymnasium environments that differ in a parameter, as a task family."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np
import torch
from torch import Tensor

from adbench.errors import ContractError, UsageError
from adbench.gym_adapter.batch import GymBatch
from adbench.gym_adapter.lane import Carried, Lane
from adbench.gym_adapter.tasks import ListedTasks, Numbered, SampledTasks, Task
from adbench.noise import Lanes
from adbench.task import Observe, TaskFamily

Make = Callable[[Task], gymnasium.Env[Any, Any]]
Sample = Callable[[np.random.Generator], Task]
Vectorization = Literal["sync", "async"]

_LANES_AT_ONCE = 64


def gym_family(
    make: Make,
    *,
    tasks: Sequence[Task] | Sample,
    optimal: Callable[[Task], float] | float | None = None,
    name: str = "",
    version: int = 0,
    max_episode_steps: int | None = None,
    vectorization: Vectorization = "sync",
    random_episodes: int = 32,
) -> GymFamily:
    """A task family of plain gymnasium environments: `make(task)` gives the environment of a task.

    One environment is made at once, to read its spaces. Observations may be Discrete,
    MultiDiscrete, Box vectors, Box uint8 images, or a Dict of these (its Text keys are left out,
    with a warning); actions Discrete. Call it in a function that the entry point names, so that
    importing your package makes nothing::

        def windy_lake() -> TaskFamily:
            return gym_family(make_lake, tasks=[{"wind": w} for w in range(20)])

    Args:
        make: gives a fresh environment of a task. It may draw from its own `np_random` only.
        tasks: a list of three or more JSON values, or `sample(rng) -> task` that draws one.
        optimal: best expected return of a task, a function of it or one number for all. None:
            nobody knows; a run then takes its source's best mean and marks it `estimated`.
        name: as registered; left out, the entry point's name is taken.
        version: raise it whenever scores stop being comparable.
        max_episode_steps: where an episode is truncated; left out, as the environment's spec says.
        vectorization: "sync": all in this process; "async": a process each, for slow environments.
        random_episodes: episodes a task from which `random_return` is estimated.

    Raises:
        UsageError: spaces that cannot be carried (with the wrapper to use), no episode length,
            or tasks that are no JSON values.
    """
    return GymFamily(
        make,
        tasks=tasks,
        optimal=optimal,
        name=name,
        version=version,
        max_episode_steps=max_episode_steps,
        vectorization=vectorization,
        random_episodes=random_episodes,
    )


class GymFamily(TaskFamily):
    """What `gym_family` gives; its docstring explains the arguments.

    Tasks are int64 [count, 1]: an index into the list, or the number that seeds `sample`.
    """

    num_tabular_states = 0
    accelerated = False  # gymnasium environments are Python on the CPU

    def __init__(
        self,
        make: Make,
        *,
        tasks: Sequence[Task] | Sample,
        optimal: Callable[[Task], float] | float | None,
        name: str,
        version: int,
        max_episode_steps: int | None,
        vectorization: Vectorization,
        random_episodes: int,
    ) -> None:
        if vectorization not in ("sync", "async"):
            raise UsageError(f"vectorization is {vectorization!r}; it must be 'sync' or 'async'.")
        if random_episodes < 1:
            raise UsageError(f"random_episodes is {random_episodes}; it must be at least 1.")
        self.name = name
        self.version = version
        self.vectorization = vectorization
        self.random_episodes = random_episodes
        self.make_env = make
        self._optimal = optimal
        self._tasks: Numbered = SampledTasks(tasks) if callable(tasks) else ListedTasks(tasks)
        self._random_returns: dict[int, float] = {}
        first = self._plain(self._tasks.text(int(self._tasks.numbers("train", 1, seed=0)[0])))
        try:
            self._carried = Carried(self._label, first, max_episode_steps)
        finally:
            first.close()
        if self._carried.dropped:
            keys = ", ".join(map(repr, self._carried.dropped))
            warnings.warn(
                f"{self._label}: the agent does not see the text of {keys}: text has no encoder. "
                "If it tells tasks apart, encode it with gymnasium.wrappers.TransformObservation.",
                stacklevel=3,
            )
        self.observation_space = self._carried.observation_space
        self.action_space = self._carried.action_space
        self.max_episode_steps = self._carried.max_episode_steps

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Tasks of a split, int64 [count, 1]; see `TaskFamily.tasks`."""
        return torch.from_numpy(self._tasks.numbers(split, count, seed=seed)[:, None])

    def values(self, tasks: Tensor) -> list[Task]:
        """The JSON values behind tasks, [N, 1]: what `make` is called with."""
        return [json.loads(self._tasks.text(number)) for number in self._numbers(tasks)]

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> GymBatch:
        """One environment a task, int64 [N, 1]; see `TaskFamily.make`."""
        self._numbers(tasks)
        return GymBatch(self, tasks.detach().cpu(), seed=seed, lane_ids=lane_ids, device=device)

    def maker(self, number: int) -> Callable[[], gymnasium.Env[Any, Any]]:
        """A function that makes the lane of one task, for gymnasium's vector classes."""
        text = self._tasks.text(number)
        self._carried.name = self._label  # a name may have come since, from the entry point
        return lambda: Lane(self._plain(text), self._carried, text)

    def random_return(self, tasks: Tensor) -> Tensor:
        """Mean return of `random_episodes` episodes of uniformly random actions, float32 [N].

        An estimate, and the same at every call: its draws are keyed by the task alone.
        """
        numbers = self._numbers(tasks)
        missing = [n for n in dict.fromkeys(numbers) if n not in self._random_returns]
        for start in range(0, len(missing), _LANES_AT_ONCE):
            part = missing[start : start + _LANES_AT_ONCE]
            self._random_returns.update(zip(part, self._play_at_random(part), strict=True))
        return torch.tensor([self._random_returns[n] for n in numbers], dtype=torch.float32)

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        """What `optimal` says of each task, float32 [N]; None where it was left out."""
        if self._optimal is None:
            return None
        if not callable(self._optimal):
            return torch.full((len(tasks),), float(self._optimal))
        best = [float(self._optimal(task)) for task in self.values(tasks)]
        return torch.tensor(best, dtype=torch.float32)

    @property
    def _label(self) -> str:
        return self.name or "gym_family"

    def _plain(self, text: str) -> gymnasium.Env[Any, Any]:
        try:
            env = self.make_env(json.loads(text))
        except Exception as error:
            raise ContractError(
                f"{self._label}: make() of task {text} raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(env, gymnasium.Env):
            raise UsageError(
                f"{self._label}: make() of task {text} gave a {type(env).__name__}, not a "
                "gymnasium.Env. An environment of the old gym package needs the shimmy package."
            )
        return env

    def _numbers(self, tasks: Tensor) -> list[int]:
        if tasks.ndim != 2 or tasks.shape[1] != 1 or tasks.dtype != torch.int64 or not len(tasks):
            raise UsageError(
                f"{self._label}: tasks must be int64 [N, 1], as tasks() gives them; "
                f"got {tasks.dtype} {list(tasks.shape)}."
            )
        return [int(number) for number in tasks.reshape(-1).tolist()]

    def _play_at_random(self, numbers: list[int]) -> list[float]:
        tasks = torch.tensor(numbers)[:, None]
        lanes = Lanes(0, "random return", tasks, (0,) * len(numbers))
        noise = lanes.noise("action", 1)
        env = self.make(tasks, seed=0, lane_ids=lanes.lane_ids)
        totals, episodes = torch.zeros(len(numbers)), torch.zeros(len(numbers), dtype=torch.int64)
        try:
            env.reset()
            step = 0
            while bool((episodes < self.random_episodes).any()):
                actions = (noise.at(step)[:, 0] * int(self.action_space.n)).long()
                _, reward, _, _, info = env.step(actions)
                # Every lane plays as many whole episodes; short ones are not counted twice.
                totals += torch.where(episodes < self.random_episodes, reward, 0.0)
                episodes += info["_final_obs"]
                step += 1
        finally:
            env.close()
        return [float(mean) for mean in totals / self.random_episodes]
