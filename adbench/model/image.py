"""Frames to vectors: uint8 patches projected without a float image in memory, then a small stack of
convolutions.

N frames, Y X C rows, columns and channels, P patch size, D width.
"""

from __future__ import annotations

from typing import cast

from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from adbench_kernels import patch_embed

# A frame of bytes is brought to mean 0 and about unit spread.
_MEAN, _STD = 0.5, 0.25
_MOST_CHANNELS = 16
_GRID_WHERE_CONVOLUTIONS_END = 4


class ImageEncoder(nn.Module):
    """Patch embedding, 3x3 convolutions that halve the grid down to about 4 x 4, then one linear
    layer.

    Frames may be [Y, X], [Y, X, C] or [C, Y, X]; sizes that the patch does not divide are padded
    with zeros.

    Args:
        space: a uint8 Box.
        width: D.
    """

    def __init__(self, space: spaces.Box, width: int) -> None:
        super().__init__()
        shape = tuple(space.shape)
        self.dims = len(shape)
        # Channels first is told by its small first and large last dimension (PyTorch-style
        # wrappers).
        self.channels_first = self.dims == 3 and shape[0] <= _MOST_CHANNELS < shape[2]
        if self.dims == 2:
            rows, columns, channels = *shape, 1
        elif self.channels_first:
            channels, rows, columns = shape
        else:
            rows, columns, channels = shape
        self.patch = 8 if min(rows, columns) >= 64 else 4 if min(rows, columns) >= 16 else 2
        self.padding = (-columns % self.patch, -rows % self.patch)
        self.mean, self.std = (_MEAN,) * channels, (_STD,) * channels
        self.grid = (
            (rows + self.padding[1]) // self.patch,
            (columns + self.padding[0]) // self.patch,
        )
        self.patches = nn.Linear(self.patch * self.patch * channels, width)
        self.convolutions = nn.ModuleList()
        grid = self.grid
        while max(grid) > _GRID_WHERE_CONVOLUTIONS_END:
            self.convolutions.append(nn.Conv2d(width, width, kernel_size=3, stride=2, padding=1))
            grid = (-(-grid[0] // 2), -(-grid[1] // 2))
        self.out = nn.Linear(width * grid[0] * grid[1], width)

    def forward(self, observation: Tensor) -> Tensor:
        """uint8 [..., Y, X, C] (or as the space has it) -> [..., D]."""
        lead = observation.shape[: observation.dim() - self.dims]
        frames = observation.reshape(-1, *observation.shape[observation.dim() - self.dims :])
        if self.dims == 2:
            frames = frames.unsqueeze(-1)
        elif self.channels_first:
            frames = frames.permute(0, 2, 3, 1)
        if any(self.padding):
            frames = F.pad(frames, (0, 0, 0, self.padding[0], 0, self.padding[1]))
        x = patch_embed(
            frames.contiguous(),
            self.patches.weight,
            self.patches.bias,
            patch=self.patch,
            mean=self.mean,
            std=self.std,
        )
        # [N, D, Y', X'] without a copy, and in the order that convolutions on GPUs are fastest in.
        x = x.view(len(x), *self.grid, -1).permute(0, 3, 1, 2)
        for convolution in self.convolutions:
            x = convolution(F.gelu(x))
        x = self.out(F.gelu(x).flatten(1))
        return cast(Tensor, x.view(*lead, -1))
