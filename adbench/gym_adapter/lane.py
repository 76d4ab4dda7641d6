"""One plain environment, brought to what the suite carries."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from adbench import plugins
from adbench.errors import ContractError, UsageError
from adbench.spaces import action_problem, is_text, observation_problem


class Carried:
    """How one kind of environment's spaces are carried: what the agent sees, does, and how long.

    Text keys of a Dict are left out (`dropped` names them), float64 becomes float32, and
    MultiDiscrete observations and Discrete actions count from 0.

    Args:
        name: what to call the environment in errors.
        env: one of them, not yet wrapped.
        max_episode_steps: where an episode is truncated; none: as its spec says.
    """

    def __init__(
        self, name: str, env: gymnasium.Env[Any, Any], max_episode_steps: int | None
    ) -> None:
        self.name = name
        self.from_space = env.observation_space
        self.dropped: tuple[str, ...] = ()
        space = env.observation_space
        if isinstance(space, spaces.Dict):
            kept = {k: s for k, s in space.spaces.items() if not is_text(s)}
            self.dropped = tuple(k for k in space.spaces if k not in kept)
            space = spaces.Dict(kept)
        for problem in (observation_problem(space), action_problem(env.action_space)):
            if problem:
                raise UsageError(f"{name}: {problem}")
        self.observation_space = _carried(space)
        self.from_action_space = env.action_space
        assert isinstance(env.action_space, spaces.Discrete)
        self.first_action = int(env.action_space.start)
        self.action_space = spaces.Discrete(int(env.action_space.n))
        self.max_episode_steps = self._episode_steps(env, max_episode_steps)

    def observation(self, seen: Any) -> Any:
        """What the environment showed, as a value of `observation_space`."""
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            assert isinstance(self.from_space, spaces.Dict)
            return {k: _value(seen[k], self.from_space[k], part) for k, part in space.items()}
        return _value(seen, self.from_space, space)

    def check_same(self, env: gymnasium.Env[Any, Any], task: str) -> None:
        """Refuse an environment of another task whose spaces differ: lanes are batched."""
        for what, first, other in (
            ("observation", self.from_space, env.observation_space),
            ("action", self.from_action_space, env.action_space),
        ):
            if _without_text(first) != _without_text(other):
                raise UsageError(
                    f"{self.name}: task {task} has the {what} space {other}, the first task "
                    f"{first}. All tasks must share one: use the widest bounds and sizes in each, "
                    "or pad observations with gymnasium.wrappers.TransformObservation."
                )

    def _episode_steps(self, env: gymnasium.Env[Any, Any], asked: int | None) -> int:
        stated = env.spec.max_episode_steps if env.spec else None
        steps = stated if asked is None else asked
        if steps is None:
            raise UsageError(
                f"{self.name}: nothing says how long an episode may last. Pass max_episode_steps "
                "to gym_family, or register the environment with max_episode_steps."
            )
        if steps < 1:
            raise UsageError(f"{self.name}: max_episode_steps is {steps}; it must be at least 1.")
        return int(steps)


class Lane(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One environment as a lane: carried spaces, `terminated` and `truncated` apart, no infos.

    Args:
        env: the plain environment.
        carried: how its kind is carried.
        task: its task as JSON, for errors.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], carried: Carried, task: str) -> None:
        super().__init__(env)
        carried.check_same(env, task)
        self._carried = carried
        self._task = task
        self._steps = 0
        self.observation_space = carried.observation_space
        self.action_space = carried.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        try:
            seen, _ = self.env.reset(seed=seed, options=options)
        except Exception as error:
            raise self._failed("reset", error) from error
        self._steps = 0
        return self._carried.observation(seen), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step. An ending that is both is `terminated`: nothing follows it."""
        try:
            seen, reward, terminated, truncated, _ = self.env.step(
                int(action) + self._carried.first_action
            )
        except Exception as error:
            raise self._failed("step", error) from error
        self._steps += 1
        out_of_time = bool(truncated) or self._steps >= self._carried.max_episode_steps
        over = bool(terminated)
        return self._carried.observation(seen), float(reward), over, out_of_time and not over, {}

    def _failed(self, what: str, error: Exception) -> ContractError:
        return ContractError(
            f"{self._carried.name}: {what}() of the environment of task {self._task} raised "
            f"{type(error).__name__}: {error}. Tell the authors of "
            f"{plugins.credit(self._carried.name) or 'it'}."
        )


def _carried(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _carried(part) for key, part in space.spaces.items()})
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n), start=int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.MultiDiscrete(np.asarray(space.nvec, np.int64))
    if isinstance(space, spaces.Box) and space.dtype == np.float64:
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)
    return space


def _value(seen: Any, was: gymnasium.Space[Any], space: gymnasium.Space[Any]) -> Any:
    if isinstance(was, spaces.MultiDiscrete):
        return np.asarray(seen, np.int64) - np.asarray(was.start, np.int64)
    if isinstance(space, spaces.Box):
        return np.asarray(seen).astype(space.dtype, copy=False)
    return seen


def _without_text(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    if not isinstance(space, spaces.Dict):
        return space
    return spaces.Dict({k: s for k, s in space.spaces.items() if not is_text(s)})
