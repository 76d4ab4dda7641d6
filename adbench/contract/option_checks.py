"""What is checked of families that know options.

N lanes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.structure import named
from adbench.contract.subject import Subject
from adbench.task import BatchedEnv


@check(
    "options",
    "options are chosen by an index, and carried out in the time of an episode",
    needs=("state", "values"),
    advice="option_state gives int64 [N] in [0, num_option_states), the same as long as an option "
    "is under way; follow gives actions int64 [N] and under_way bool [N], False at its last one.",
)
def options(subject: Subject) -> Iterator[str]:
    """Only of families with `num_options`."""
    family = subject.family
    if not family.num_options:
        return
    yield from _index_problems(subject)
    env = subject.make(observe="state")
    try:
        for option in range(family.num_options):
            if problem := _problem(env, option):
                yield problem
                return
    finally:
        env.close()


def _problem(env: BatchedEnv, option: int) -> str:
    """What is wrong with following an option from an episode's start; nothing: ""."""
    env.reset()
    family, lanes = env.family, env.num_envs
    wanted = torch.full((lanes,), option, device=env.device)
    under_way = torch.ones(lanes, dtype=torch.bool, device=env.device)
    before = family.option_state(env.state())
    for _ in range(family.max_episode_steps):
        action, goes_on = family.follow(env.state(), wanted)
        for what, value, dtype in (
            ("actions", action, torch.int64),
            ("under_way", goes_on, torch.bool),
        ):
            if value.dtype != dtype or tuple(value.shape) != (lanes,):
                return f"follow's {what} are {named(value)}, not {dtype} [{lanes}]"
        index = family.option_state(env.state())
        if bool((under_way & (index != before)).any()):
            return f"option_state changes while option {option} is under way"
        _, _, terminated, truncated, _ = env.step(action)
        if bool((under_way & goes_on & truncated).any()):
            break
        under_way &= goes_on & ~terminated
        if not bool(under_way.any()):
            return ""
    return f"option {option} is still under way when an episode is cut off"


def _index_problems(subject: Subject) -> Iterator[str]:
    family, rollout = subject.family, subject.rollout
    states: dict[str, Tensor] = {name: v.flatten(0, 1) for name, v in rollout.state.items()}
    index = family.option_state(states)
    if index.dtype != torch.int64 or index.ndim != 1:
        yield f"option_state is {named(index)}, not int64 [N]"
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= family.num_option_states:
        yield f"option_state reaches from {low} to {high}, outside [0, {family.num_option_states})"
