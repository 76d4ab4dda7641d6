"""Which gymnasium spaces the suite can carry from an environment to the transformer, and why not.

Observations: Discrete, MultiDiscrete, Box vectors, Box uint8 images, and a Dict of these. Actions:
Discrete. Whatever else there is, one of gymnasium's wrappers turns into one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.tokens import Observation

_ANY_OBSERVATION = (
    "gymnasium.wrappers.TransformObservation to a Discrete, MultiDiscrete or Box space"
)
_FLATTENED = "gymnasium.wrappers.FlattenObservation"


def observation_problem(space: gymnasium.Space[Any]) -> str | None:
    """Why observations of this space cannot be used, with the wrapper to use; None if they can."""
    if not isinstance(space, spaces.Dict):
        return _part_problem(space)
    if not space.spaces:
        return "the observation is an empty Dict: nothing can be seen."
    problems = [
        f"its key {key!r}: {problem}"
        for key, part in space.spaces.items()
        if (problem := _nested(part) or _part_problem(part))
    ]
    return "\n".join(problems) or None


def action_problem(space: gymnasium.Space[Any]) -> str | None:
    """Why actions of this space cannot be used, with the wrapper to use; None if they can."""
    if isinstance(space, spaces.Discrete):
        return None
    wrapper = "gymnasium.wrappers.TransformAction, from one Discrete space that counts the choices"
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        wrapper = "gymnasium.wrappers.DiscretizeAction"
    return f"actions are {space}, and only Discrete ones can be distilled. Use {wrapper}."


def is_text(space: gymnasium.Space[Any]) -> bool:
    """Whether values are text: gymnasium's Text, or a string space like minigrid's missions."""
    return isinstance(space, spaces.Text) or (space.dtype is not None and space.dtype.kind == "U")


def parts(space: gymnasium.Space[Any]) -> dict[str, gymnasium.Space[Any]]:
    """The spaces that an observation is made of: one a key of a Dict, else one under ""."""
    return dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}


def tensors(observation: Observation) -> dict[str, Tensor]:
    """The tensors that an observation is made of, under the keys of `parts`."""
    return observation if isinstance(observation, dict) else {"": observation}


def image_keys(space: gymnasium.Space[Any]) -> tuple[str, ...]:
    """Which of the `parts` are frames: bytes in two dimensions or three."""
    return tuple(
        key
        for key, part in parts(space).items()
        if isinstance(part, spaces.Box) and part.dtype == np.uint8 and len(part.shape) in (2, 3)
    )


def torch_dtype(space: gymnasium.Space[Any]) -> torch.dtype:
    """Element type of a batch of this space's values."""
    if not isinstance(space, spaces.Box):
        return torch.int64
    return torch.from_numpy(np.empty(0, space.dtype)).dtype


def misfits(values: Tensor, space: gymnasium.Space[Any]) -> Iterator[str]:
    """What keeps a batch of values, [N, ...], from lying in a space: dtype, shape, then bounds."""
    shape = tuple(space.shape or ())
    dtype = torch_dtype(space)
    if values.dtype != dtype:
        yield f"is {_name(values.dtype)}, not {_name(dtype)}"
    if tuple(values.shape[1:]) != shape:
        yield f"has the shape {_lanes(values.shape[1:])}, not {_lanes(shape)}"
        return
    low, high = _bounds(space)
    found = values.detach().cpu().double()
    if bool(torch.isnan(found).any()):
        yield "holds NaN"
    outside = (found < low) | (found > high)
    if bool(outside.any()):
        worst = found[outside][0].item()
        yield f"holds {worst:g}, which lies outside {space}"


def _bounds(space: gymnasium.Space[Any]) -> tuple[Tensor, Tensor]:
    if isinstance(space, spaces.Discrete):
        low = np.asarray(space.start)
        high = low + space.n - 1
    elif isinstance(space, spaces.MultiDiscrete):
        low = np.asarray(space.start)
        high = low + space.nvec - 1
    else:
        assert isinstance(space, spaces.Box)
        low, high = space.low, space.high
    return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)


def _nested(space: gymnasium.Space[Any]) -> str | None:
    if isinstance(space, spaces.Dict):
        return f"a Dict in a Dict. Use {_FLATTENED}, or {_ANY_OBSERVATION}."
    return None


def _part_problem(space: gymnasium.Space[Any]) -> str | None:
    if isinstance(space, spaces.Discrete):
        return None
    if isinstance(space, spaces.MultiDiscrete):
        if len(space.shape) == 1:
            return None
        return f"{space} has {len(space.shape)} dimensions, not one. Use {_ANY_OBSERVATION}."
    if isinstance(space, spaces.Box):
        return _box_problem(space)
    if is_text(space):
        return f"{space} is text, which has no encoder. Use {_ANY_OBSERVATION}."
    try:
        flattens = space.is_np_flattenable
    except NotImplementedError:  # a space that somebody wrote
        flattens = False
    return f"{space} has no encoder. Use {_FLATTENED if flattens else _ANY_OBSERVATION}."


def _box_problem(space: spaces.Box) -> str | None:
    dimensions = len(space.shape)
    if 0 in space.shape:
        return f"{space} is empty: nothing can be seen."
    if dimensions == 1 or (space.dtype == np.uint8 and dimensions in (2, 3)):
        return None
    if dimensions == 0:
        return f"{space} is one number. Use gymnasium.wrappers.ReshapeObservation with shape (1,)."
    return (
        f"{space} is neither a vector nor a uint8 image. A vector: use {_FLATTENED}. "
        "An image: use gymnasium.wrappers.TransformObservation to uint8, rows x columns x channels."
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _lanes(shape: Sequence[int]) -> str:
    return f"[{', '.join(['N', *map(str, shape)])}]"
