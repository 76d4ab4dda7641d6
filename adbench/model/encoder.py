"""What observation encoders share: a function [..., observation] -> [..., D], and what it costs.

Y X C rows, columns and channels of a frame, N frames, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from gymnasium import spaces
from torch import Tensor, nn

_MOST_CHANNELS = 16


class Encoder(nn.Module):
    """Base of observation encoders.

    Attributes:
        flops: operations on one observation, a multiplication and an addition counted as two;
            matrix products and convolutions alone.
        kept_floats: numbers of one observation that training keeps until the backward pass.
        is_costly: whether padding is worth leaving out.
    """

    flops: int = 0
    kept_floats: int = 0
    is_costly: bool = False


@dataclass(frozen=True)
class FrameLayout:
    """How the frames of a space lie in memory.

    Attributes:
        rows: Y.
        columns: X.
        channels: C.
        dims: axes of one frame: 2 or 3.
        channels_first: [C, Y, X], as PyTorch-style wrappers have it.
    """

    rows: int
    columns: int
    channels: int
    dims: int
    channels_first: bool

    @classmethod
    def of(cls, space: spaces.Box) -> FrameLayout:
        """The layout of a uint8 Box [Y, X], [Y, X, C] or [C, Y, X]; the last is told by its small
        first and large last axis."""
        shape = tuple(space.shape)
        if len(shape) == 2:
            return cls(shape[0], shape[1], 1, dims=2, channels_first=False)
        if shape[0] <= _MOST_CHANNELS < shape[2]:
            return cls(shape[1], shape[2], shape[0], dims=3, channels_first=True)
        return cls(shape[0], shape[1], shape[2], dims=3, channels_first=False)

    def flat(self, observation: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Frames [N, Y, X, C], and the axes that stood before a frame's."""
        lead = tuple(observation.shape[: observation.dim() - self.dims])
        frames = observation.reshape(-1, *observation.shape[len(lead) :])
        if self.dims == 2:
            frames = frames.unsqueeze(-1)
        elif self.channels_first:
            frames = frames.permute(0, 2, 3, 1)
        return frames, lead
