"""Frames to vectors as in the paper (Laskin et al. 2022, table 3): three blocks of convolutions.

    block: 5x5 convolution to 128 channels, stride 2 -> batch normalisation -> ReLU -> the largest
           of 2x2, stride 2 -> dropout 0.2
    then one linear layer to 256 numbers

At 64x64 it takes about forty times as long as the patch encoder. How 256 numbers enter a stream
that is 64 wide the paper does not say; here one more linear layer takes them there. N frames, Y X C
rows, columns and channels, D width.
"""

from __future__ import annotations

from typing import cast

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.model.encoder import Encoder, FrameLayout
from adbench.model.image import MEAN, STD

_BLOCKS, _CHANNELS, _KERNEL, _OUT = 3, 128, 5, 256
_DECAY, _EPSILON, _DROPOUT = 0.999, 1e-5, 0.2


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose running averages count from their first batch.

    They begin at mean 0 and variance 1, of which 0.999^t is left after t batches; that share is
    taken out when they are used. Without it a model of a hundred updates would be evaluated with
    what it was made with.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, Y, X] -> the same, by the batch in training, by the averages otherwise."""
        if self.training:
            return super().forward(input)
        mean, variance, batches = self.running_mean, self.running_var, self.num_batches_tracked
        assert mean is not None and variance is not None and batches is not None
        left = torch.pow(torch.full_like(mean, _DECAY), batches)
        seen = torch.where(batches > 0, 1 - left, 1.0)
        return F.batch_norm(
            input,
            mean / seen,
            torch.where(batches > 0, (variance - left) / seen, variance),
            self.weight,
            self.bias,
            eps=self.eps,
        )


class PaperImageEncoder(Encoder):
    """Three blocks of convolutions; see the head of this module.

    Frames may be [Y, X], [Y, X, C] or [C, Y, X], of any size.

    Args:
        space: a uint8 Box.
        width: D.
    """

    is_costly = True

    def __init__(self, space: spaces.Box, width: int) -> None:
        super().__init__()
        self.layout = FrameLayout.of(space)
        channels, rows, columns = self.layout.channels, self.layout.rows, self.layout.columns
        products = numbers = 0
        blocks: list[nn.Module] = []
        for _ in range(_BLOCKS):
            blocks += [
                nn.Conv2d(channels, _CHANNELS, _KERNEL, stride=2, padding=_KERNEL // 2),
                BatchNorm(_CHANNELS, eps=_EPSILON, momentum=1 - _DECAY),
                nn.ReLU(),
                nn.MaxPool2d(2, stride=2, ceil_mode=True),
                nn.Dropout(_DROPOUT),
            ]
            rows, columns = -(-rows // 2), -(-columns // 2)
            products += rows * columns * _KERNEL**2 * channels * _CHANNELS
            numbers += 3 * rows * columns * _CHANNELS  # convolved, normalised, rectified
            channels, rows, columns = _CHANNELS, -(-rows // 2), -(-columns // 2)
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(_CHANNELS * rows * columns, _OUT)
        self.to_stream = nn.Linear(_OUT, width)
        self.flops = 2 * (products + self.out.in_features * _OUT + _OUT * width)
        self.kept_floats = numbers

    def forward(self, observation: Tensor) -> Tensor:
        """uint8 [..., Y, X, C] (or as the space has it) -> [..., D]."""
        frames, lead = self.layout.flat(observation)
        x = frames.permute(0, 3, 1, 2).to(self.out.weight.dtype)
        x = self.blocks((x / 255.0 - MEAN) / STD)
        return cast(Tensor, self.to_stream(self.out(x.flatten(1))).view(*lead, -1))
