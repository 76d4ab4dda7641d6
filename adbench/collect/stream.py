"""Driving environments with learners: one transition of N lanes after the other, without end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor

from adbench import plugins, spaces
from adbench.contract.structure import step_problems
from adbench.errors import ContractError
from adbench.source.base import Source, Transition
from adbench.task import BatchedEnv
from adbench.tokens import Observation


def transitions(env: BatchedEnv, learners: Source) -> Iterator[Transition]:
    """Let learners act and learn in an environment, and show every step of it after it was learnt.

    Raises:
        ContractError: what the environment gave on its first step is not as its family says.
    """
    observation, _ = env.reset()
    state = env.state()
    for step in count():
        action = learners.act(observation, state, step)
        returned = env.step(action)
        if step == 0:
            _check(env, returned)
        following, reward, terminated, truncated, info = returned
        following_state = env.state()
        ended, final = info["_final_obs"], info["final_obs"]
        ending = int(ended.sum()) / env.num_envs
        transition = Transition(
            observation=observation,
            state=state,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            next_observation=_within_episode(following, final, ended, ending),
            next_state={
                name: _chosen(value, info["final_state"][name], ended, ending)
                for name, value in following_state.items()
            },
        )
        learners.learn(transition, step)
        yield transition
        observation, state = following, following_state


def _within_episode(
    following: Observation, final: Observation, ended: Tensor, ending: float
) -> Observation:
    if isinstance(following, dict):
        assert isinstance(final, dict)
        return {
            name: _chosen(value, final[name], ended, ending) for name, value in following.items()
        }
    assert not isinstance(final, dict)
    return _chosen(following, final, ended, ending)


def _chosen(following: Tensor, final: Tensor, ended: Tensor, ending: float) -> Tensor:
    """What came next in the same episode; the very tensor that follows where no lane ended.

    Args:
        following: what the environment gave, of the next episode where one ended, [N, ...].
        final: the last of those that ended, [N, ...].
        ended: bool [N].
        ending: the share of lanes in which it did.
    """
    if ending == 0.0:
        return following
    if ending == 1.0:
        return final
    return torch.where(ended.view(-1, *[1] * (following.ndim - 1)), final, following)


def _check(env: BatchedEnv, returned: Any) -> None:
    problems = list(step_problems(env, returned))
    if not problems:
        for key, value in spaces.tensors(returned[0]).items():
            space = spaces.parts(env.single_observation_space)[key]
            problems += [f"the observation {problem}" for problem in spaces.misfits(value, space)]
    if problems:
        name = env.family.name
        authors = plugins.credit(name)
        raise ContractError(
            f"the environment {name!r} does not keep its contract: {'; '.join(problems)}. "
            f"Tell the authors of {authors or 'it'}; `adbench check-env {name}` says more."
        )
