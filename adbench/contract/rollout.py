"""A roll-out on record: everything that an environment returned, to be looked at afterwards.

N lanes, S steps; the S + 1 moments include the one before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from adbench.spaces import tensors
from adbench.task import BatchedEnv

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Rollout:
    """What N lanes lived through in S steps, on the CPU.

    Attributes:
        observation: by key ("" where it is no Dict), [S + 1, N, ...].
        state: by name, [S + 1, N, ...].
        action: int64 [S, N].
        reward: float32 [S, N].
        terminated: bool [S, N].
        truncated: bool [S, N].
        ended: `info["_final_obs"]`, bool [S, N].
        final_observation: `info["final_obs"]`, [S, N, ...]; rows of running lanes mean nothing.
        final_state: `info["final_state"]`, the same.
    """

    observation: Named
    state: Named
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    ended: Tensor
    final_observation: Named
    final_state: Named

    def lanes(self, chosen: list[int]) -> Rollout:
        """The same of some lanes, in that order."""
        rows = torch.tensor(chosen)
        picked: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, dict):
                picked[name] = {key: part.index_select(1, rows) for key, part in value.items()}
            else:
                picked[name] = value.index_select(1, rows)
        return Rollout(**picked)

    def differences(self, other: Rollout, *, without: tuple[str, ...] = ()) -> Iterator[str]:
        """Where two roll-outs of the same lanes part: the first step and lane of each field."""
        for name, mine in vars(self).items():
            theirs = getattr(other, name)
            if name in without:
                continue
            if not isinstance(mine, dict):
                mine, theirs = {"": mine}, {"": theirs}
            for key in mine:
                a, b = mine[key], theirs[key]
                if name.startswith("final_"):
                    a, b = _only(a, self.ended), _only(b, self.ended)
                apart = (a != b) & ~((a != a) & (b != b))  # NaN equals NaN here
                if bool(apart.any()):
                    step, lane = apart.reshape(*a.shape[:2], -1).any(-1).nonzero()[0].tolist()
                    what = f"{name}[{key!r}]" if key else name
                    yield f"{what} differs first at step {step}, lane {lane}"

    def episode_lengths(self) -> list[list[int]]:
        """Steps of every episode that ended, lane by lane."""
        lengths = []
        for lane in self.ended.T:
            ends = [-1, *lane.nonzero().reshape(-1).tolist()]
            lengths.append([b - a for a, b in pairwise(ends)])
        return lengths


def play(env: BatchedEnv, actions: Tensor) -> Rollout:
    """Step an environment through given actions, int64 [S, N]."""
    observation, _ = env.reset()
    moments = [(_copy(tensors(observation)), _copy(env.state()))]
    steps = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        moments.append((_copy(tensors(observation)), _copy(env.state())))
        flags = (reward, terminated, truncated, info["_final_obs"])
        final = (_copy(tensors(info["final_obs"])), _copy(info["final_state"]))
        steps.append(([flag.detach().cpu().clone() for flag in flags], *final))
    columns = list(zip(*(flags for flags, _, _ in steps), strict=True))
    reward, terminated, truncated, ended = (torch.stack(column) for column in columns)
    return Rollout(
        observation=_stack([seen for seen, _ in moments]),
        state=_stack([state for _, state in moments]),
        action=actions.cpu(),
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        ended=ended,
        final_observation=_stack([seen for _, seen, _ in steps]),
        final_state=_stack([state for _, _, state in steps]),
    )


def _copy(named: Named) -> Named:
    return {name: value.detach().cpu().clone() for name, value in named.items()}


def _stack(moments: list[Named]) -> Named:
    return {name: torch.stack([moment[name] for moment in moments]) for name in moments[0]}


def _only(values: Tensor, ended: Tensor) -> Tensor:
    mask = ended.reshape(*ended.shape, *[1] * (values.ndim - 2))
    return torch.where(mask, values, torch.zeros_like(values))
