"""Checks of what a batched environment is and returns, step by step: types, shapes, spaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.rollout import Named
from adbench.contract.structure import (
    device_problems,
    kind,
    named,
    observation_problems,
    step_problems,
)
from adbench.contract.subject import Subject
from adbench.errors import UsageError
from adbench.spaces import misfits, parts, tensors
from adbench.task import BatchedEnv

_STEPS_LOOKED_AT = 300


@check(
    "make",
    "make gives one lane a task, on the device asked for, that resets in the same step",
    needs=("splits",),
    advice="Derive the environment from adbench.BatchedEnv and call its __init__(family, tasks, "
    "device=device), which sets these attributes.",
)
def make(subject: Subject) -> Iterator[str]:
    """Attributes of a batched environment."""
    env = subject.make()
    try:
        if not isinstance(env, BatchedEnv):
            yield f"make gave a {type(env).__name__}, not an adbench.BatchedEnv"
            return
        if env.num_envs != len(subject.tasks):
            yield f"num_envs is {env.num_envs} for {len(subject.tasks)} tasks"
        if env.device.type != torch.device(subject.device).type:
            yield f"device is {env.device}, not {subject.device}"
        if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            yield (
                f"metadata['autoreset_mode'] is {env.metadata.get('autoreset_mode')}, "
                "not AutoresetMode.SAME_STEP"
            )
        for name in ("observation_space", "action_space"):
            if getattr(env, f"single_{name}") != getattr(subject.family, name):
                yield f"single_{name} is not the family's {name}"
        if len(env.tasks) != len(subject.tasks) or not torch.equal(env.tasks.cpu(), subject.tasks):
            yield "its tasks are not those it was made of"
    finally:
        env.close()


@check(
    "reset",
    "reset gives first observations of the observation space, the same at every reset",
    needs=("make",),
    advice="Return (observation, {}), restart every lane's first episode, and draw from "
    "adbench.noise only (Lanes(seed, 'env', tasks, lane_ids).noise), keyed by the step.",
)
def reset(subject: Subject) -> Iterator[str]:
    """Structure of what `reset` returns, and that it can be repeated."""
    env = subject.make()
    try:
        returned = env.reset()
        if not (isinstance(returned, tuple) and len(returned) == 2):
            yield f"it returned {kind(returned)}, not (observation, info)"
            return
        observation, info = returned
        if not isinstance(info, dict):
            yield f"its info is {kind(info)}, not a dict"
        problems = list(observation_problems(env, observation, "the observation"))
        yield from problems
        if problems:
            return
        first = {key: value.clone() for key, value in tensors(observation).items()}
        for action in subject.actions(range(len(subject.tasks)), 3).to(subject.device):
            env.step(action)
        for key, value in tensors(env.reset()[0]).items():
            if not torch.equal(value, first[key]):
                yield "a second reset starts elsewhere than the first did"
        env.reset(seed=subject.seed)
        try:
            env.reset(seed=subject.seed + 1)
            yield "reset(seed=...) takes another seed than make was given, without a word"
        except UsageError:
            pass
    finally:
        env.close()


@check(
    "step",
    "step gives tensors of the agreed dtypes and shapes, and info with final_obs at every step",
    needs=("reset",),
    advice="Return observation [N, ...], reward float32 [N], terminated bool [N], truncated bool "
    "[N] and info with 'final_obs' (a whole batch), '_final_obs' (bool [N]) and 'final_state', "
    "at every step, all on the environment's device.",
)
def step(subject: Subject) -> Iterator[str]:
    """Structure of what `step` returns, as far as the first endings."""
    lanes = range(len(subject.tasks))
    steps = min(subject.family.max_episode_steps + 1, _STEPS_LOOKED_AT)
    env = subject.make()
    try:
        env.reset()
        for number, action in enumerate(subject.actions(lanes, steps).to(subject.device)):
            returned = env.step(action)
            problems = list(step_problems(env, returned))
            yield from (f"at step {number}, {problem}" for problem in problems)
            if problems:
                return
    finally:
        env.close()


@check(
    "state",
    "state gives named tensors [N, ...], and final_state has the same names",
    needs=("step",),
    advice="Return a dict of tensors, one row a lane, whose names never change ({} if there is "
    "nothing). info['final_state'] is state() of the moment before the reset.",
)
def state(subject: Subject) -> Iterator[str]:
    """Structure of privileged state, and the range of its index into a table."""
    family, lanes = subject.family, range(len(subject.tasks))
    env = subject.make()
    try:
        env.reset()
        names = set(env.state())
        for number, action in enumerate(subject.actions(lanes, 3).to(subject.device)):
            _, _, _, _, info = env.step(action)
            for what, found in (("state()", env.state()), ("final_state", info["final_state"])):
                where = f"at step {number}, {what}"
                if not isinstance(found, dict) or set(found) != names:
                    yield f"{where} is {kind(found)}, and the names at reset were {sorted(names)}"
                    return
                problems = list(_state_problems(env, found))
                yield from (f"{where}: {problem}" for problem in problems)
                if problems:
                    return
                if not family.num_tabular_states:
                    continue
                index = family.tabular_state(found)
                if index.dtype != torch.int64 or tuple(index.shape) != (len(lanes),):
                    yield f"{where}: tabular_state is {named(index)}, not int64 [{len(lanes)}]"
    finally:
        env.close()


@check(
    "fresh",
    "what was returned stays as it was when the environment steps on",
    needs=("state",),
    advice="Return copies (tensor.clone()), not the buffers that the next step writes into.",
)
def fresh(subject: Subject) -> Iterator[str]:
    """Nothing handed out is written to later."""
    lanes = range(len(subject.tasks))
    env = subject.make()
    try:
        held: list[tuple[str, Tensor, Tensor]] = []
        observation, _ = env.reset()
        held += _hold("the observation of reset", tensors(observation))
        for number, action in enumerate(subject.actions(lanes, 4).to(subject.device)):
            observation, *flags, info = env.step(action)
            held += _hold(f"the observation of step {number}", tensors(observation))
            held += _hold(f"reward or a flag of step {number}", dict(enumerate(flags)))
            held += _hold(f"final_obs of step {number}", tensors(info["final_obs"]))
            held += _hold(f"_final_obs of step {number}", {"": info["_final_obs"]})
            held += _hold(f"final_state of step {number}", info["final_state"])
            held += _hold(f"state() after step {number}", env.state())
        for what, given, copy in held:
            if not torch.equal(given.nan_to_num(), copy.nan_to_num()):
                yield f"{what} was overwritten by a later step"
    finally:
        env.close()


@check(
    "values",
    "observations and tabular states lie where the family says, and rewards are finite",
    needs=("state",),
    advice="Give the space the bounds that observations really have, the table as many rows as "
    "tabular_state has values, and every step a reward that is a number.",
)
def values(subject: Subject) -> Iterator[str]:
    """Every value of a roll-out."""
    rollout = subject.rollout
    for key, space in parts(subject.family.observation_space).items():
        what = f"the observation at {key!r}" if key else "the observation"
        for problem in misfits(rollout.observation[key].flatten(0, 1), space):
            yield f"{what} {problem}"
        final = rollout.final_observation[key][rollout.ended]
        if len(final):
            for problem in misfits(final, space):
                yield f"final_obs: {what} {problem}"
    if not bool(torch.isfinite(rollout.reward).all()):
        yield "a reward is infinite or NaN"
    size = subject.family.num_tabular_states
    if size:
        index = subject.family.tabular_state(
            {name: value.flatten(0, 1) for name, value in rollout.state.items()}
        )
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= size:
            yield f"tabular_state reaches from {low} to {high}, outside [0, {size})"


def _state_problems(env: BatchedEnv, found: Named) -> Iterator[str]:
    for name, value in found.items():
        if not isinstance(value, Tensor):
            yield f"{name!r} is {kind(value)}, not a tensor"
        elif value.ndim == 0 or len(value) != env.num_envs:
            yield f"{name!r} is {named(value)}, for {env.num_envs} lanes"
        else:
            yield from device_problems(env, value, repr(name))


def _hold(what: str, given: dict[Any, Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    return [(what, value, value.clone()) for value in given.values()]
