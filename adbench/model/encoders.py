"""Observation encoders: one module per kind of space, each a function [..., observation] -> [...,
width].

D width, K coordinates of a MultiDiscrete space, Y X C rows, columns and channels of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.errors import UsageError
from adbench.model.encoder import Encoder
from adbench.model.image import ImageEncoder
from adbench.model.paper_image import PaperImageEncoder

Images = Literal["patch", "paper"]
_IMAGES: dict[Images, Callable[[spaces.Box, int], Encoder]] = {
    "patch": ImageEncoder,
    "paper": PaperImageEncoder,
}
# Bounds beyond this are "none": gymnasium writes the largest float where it means infinity.
_LARGEST_BOUND = 1e6


class DiscreteEncoder(Encoder):
    """One embedding a value.

    Args:
        space: values `start` to `start + n - 1`.
        width: D.
    """

    def __init__(self, space: spaces.Discrete, width: int) -> None:
        super().__init__()
        self.start = int(space.start)
        self.values = nn.Embedding(int(space.n), width)

    def forward(self, observation: Tensor) -> Tensor:
        """Integers [...] -> [..., D]."""
        return cast(Tensor, self.values(observation.long() - self.start))


class MultiDiscreteEncoder(Encoder):
    """One embedding for each value of each coordinate, summed.

    What is learnt about one column then holds in every row: on Dark Room a quarter of the tokens
    suffice, compared with one embedding a cell.

    Args:
        space: K coordinates.
        width: D.
    """

    offset: Tensor

    def __init__(self, space: spaces.MultiDiscrete, width: int) -> None:
        super().__init__()
        sizes = np.asarray(space.nvec).reshape(-1).astype(np.int64)
        starts = np.asarray(space.start).reshape(-1).astype(np.int64)
        first_row = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        # Where coordinate k's values begin in the one table that holds all of them.
        self.register_buffer("offset", torch.from_numpy(first_row - starts), persistent=False)
        self.dims = len(space.shape)
        self.values = nn.Embedding(int(sizes.sum()), width)

    def forward(self, observation: Tensor) -> Tensor:
        """Integers [..., K] -> [..., D]."""
        rows = observation.flatten(-self.dims).long() + self.offset
        bags = F.embedding_bag(rows.view(-1, rows.shape[-1]), self.values.weight, mode="sum")
        return bags.view(*rows.shape[:-1], -1)


class VectorEncoder(Encoder):
    """Two layers over a vector whose entries were brought to about one.

    Entries with finite bounds are mapped to [-1, 1]; the others to sign(x) log(1 + |x|), which is x
    near zero and harmless far from it.

    Args:
        space: any shape; it is flattened.
        width: D.
    """

    centre: Tensor
    scale: Tensor
    bounded: Tensor

    def __init__(self, space: spaces.Box, width: int) -> None:
        super().__init__()
        low = np.asarray(space.low, np.float64).reshape(-1)
        high = np.asarray(space.high, np.float64).reshape(-1)
        bounded = (low > -_LARGEST_BOUND) & (high < _LARGEST_BOUND) & (high > low)
        low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
        centre, scale = low / 2 + high / 2, 2 / (high - low)
        self.dims = len(space.shape)
        for name, value in (("centre", centre), ("scale", scale)):
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)
        self.register_buffer("bounded", torch.from_numpy(bounded), persistent=False)
        self.layers = nn.Sequential(nn.Linear(len(low), width), nn.GELU(), nn.Linear(width, width))
        self.flops = 2 * (len(low) + width) * width
        self.kept_floats = 2 * width

    def forward(self, observation: Tensor) -> Tensor:
        """Numbers [..., *space.shape] -> [..., D]."""
        values = observation.flatten(-self.dims) if self.dims else observation.unsqueeze(-1)
        values = (values.to(self.centre.dtype) - self.centre) * self.scale
        values = torch.where(self.bounded, values, values.sign() * values.abs().log1p())
        return cast(Tensor, self.layers(values))


class DictEncoder(Encoder):
    """The sum of one encoder a key, over the square root of their number, so that its size does not
    grow with it.

    Args:
        space: keys to spaces that have an encoder.
        width: D.
        images: which encoder frames have.
    """

    def __init__(self, space: spaces.Dict, width: int, images: Images) -> None:
        super().__init__()
        # Keys may hold dots or clash with a module's own names, hence the list beside the names.
        self.names = tuple(space.spaces)
        parts = [
            make_encoder(part, width, images=images, name=name)
            for name, part in space.spaces.items()
        ]
        self.encoders = nn.ModuleList(parts)
        self.flops = sum(part.flops for part in parts)
        self.kept_floats = sum(part.kept_floats for part in parts)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """One tensor a key -> [..., D]."""
        parts = [
            encode(observation[n]) for n, encode in zip(self.names, self.encoders, strict=True)
        ]
        return cast(Tensor, sum(parts) / math.sqrt(len(parts)))


def make_encoder(
    space: gymnasium.Space[Any],
    width: int,
    *,
    images: Images = "patch",
    name: str = "the observation",
) -> Encoder:
    """The encoder of a space.

    Args:
        space: Discrete, MultiDiscrete, Box, or a Dict of these.
        width: D.
        images: which encoder frames have.
        name: what to call it in an error.

    Raises:
        UsageError: there is no encoder for this space; names the wrapper that makes one fit.
    """
    make: Callable[[Any, int], Encoder] | None = None
    if isinstance(space, spaces.Discrete):
        make = DiscreteEncoder
    elif isinstance(space, spaces.MultiDiscrete):
        make = MultiDiscreteEncoder
    elif isinstance(space, spaces.Box):
        make = _IMAGES[images] if is_image(space) else VectorEncoder
    elif isinstance(space, spaces.Dict) and space.spaces:
        return DictEncoder(space, width, images)
    if make is None:
        raise UsageError(
            f"there is no encoder for {name}, a {type(space).__name__} space. Discrete, "
            "MultiDiscrete, Box and Dict of these have one; gymnasium.wrappers.FlattenObservation "
            "turns most others into a Box, gymnasium.wrappers.TransformObservation any."
        )
    return make(space, width)


def is_image(space: spaces.Box) -> bool:
    """Whether a Box holds frames: bytes in two dimensions, or three of which one counts
    channels."""
    return space.dtype == np.uint8 and len(space.shape) in (2, 3) and min(space.shape[:2]) > 0
