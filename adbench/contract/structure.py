"""What `reset` and `step` must return, looked at value by value: types, shapes, dtypes, device.

N lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from adbench.spaces import misfits, parts, tensors
from adbench.task import BatchedEnv

_FLAGS = (("terminated", torch.bool), ("truncated", torch.bool))
_FINAL = ("final_obs", "_final_obs", "final_state")


def observation_problems(env: BatchedEnv, found: Any, what: str) -> Iterator[str]:
    """What is wrong with a batch of observations, apart from its values.

    Args:
        env: whose it is.
        found: what it returned.
        what: what to call it ("the observation").
    """
    space = env.single_observation_space
    wanted = parts(space)
    given = tensors(found)
    if set(given) != set(wanted):
        yield f"{what} is {kind(found)}; the space is {space}"
        return
    for key, value in given.items():
        which = f"{what} at {key!r}" if key else what
        if not isinstance(value, Tensor):
            yield f"{which} is {kind(value)}, not a tensor"
        elif value.ndim == 0 or len(value) != env.num_envs:
            yield f"{which} has the shape {list(value.shape)} for {env.num_envs} lanes"
        else:
            yield from (f"{which} {problem}" for problem in misfits(value[:0], wanted[key]))
            yield from device_problems(env, value, which)


def step_problems(env: BatchedEnv, returned: Any) -> Iterator[str]:
    """What is wrong with what `env.step` returned, apart from the values of observations."""
    if not (isinstance(returned, tuple) and len(returned) == 5):
        yield f"it gave {kind(returned)}, not (observation, reward, terminated, truncated, info)"
        return
    observation, reward, *flags, info = returned
    yield from observation_problems(env, observation, "the observation")
    if not isinstance(info, dict):
        yield f"info is {kind(info)}, not a dict"
        return
    absent = [key for key in _FINAL if key not in info]
    if absent:
        yield f"info lacks {' and '.join(map(repr, absent))}"
        return
    yield from observation_problems(env, info["final_obs"], "info['final_obs']")
    yield from _lane_problems(env, reward, "the reward", torch.float32)
    for (name, dtype), value in zip(_FLAGS, flags, strict=True):
        yield from _lane_problems(env, value, name, dtype)
    yield from _lane_problems(env, info["_final_obs"], "info['_final_obs']", torch.bool)
    if not isinstance(info["final_state"], dict):
        yield f"info['final_state'] is {kind(info['final_state'])}, not a dict"


def device_problems(env: BatchedEnv, value: Tensor, what: str) -> Iterator[str]:
    """Whether a tensor lies where the environment's tensors must."""
    if value.device.type != env.device.type:
        yield f"{what} lies on {value.device}, not on {env.device}"


def kind(value: object) -> str:
    """What something is, in words: "a tuple of 4"."""
    if isinstance(value, dict):
        return f"a dict of {sorted(map(str, value))}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def named(value: Tensor) -> str:
    """A tensor's dtype and shape: "float32 [16, 1]"."""
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _lane_problems(env: BatchedEnv, value: Any, what: str, dtype: torch.dtype) -> Iterator[str]:
    if not isinstance(value, Tensor):
        yield f"{what} is {kind(value)}, not a tensor"
    elif value.dtype != dtype or tuple(value.shape) != (env.num_envs,):
        wanted = f"{str(dtype).removeprefix('torch.')} [{env.num_envs}]"
        yield f"{what} is {named(value)}, not {wanted}"
    else:
        yield from device_problems(env, value, what)
