"""A convolutional network a learner, for many learners at once: frames to action values.

M learners, R frames a learner, Y X C rows, columns and channels of a frame, A actions, P parameters
of one learner. A learner's weights lie in one row of [M, P].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.source.layers import Array


@dataclass(frozen=True)
class Torso:
    """Sections of a 3x3 convolution, a 3x3 max-pool that halves, and one residual block; then a
    hidden layer and a value an action.

    The paper gives channels, kernels, strides and pooling (Laskin et al. 2022, table 5). Blocks a
    section (one, of two convolutions), the hidden layer and its width are ours.

    Attributes:
        frame: rows, columns, channels.
        channels: of each section.
        hidden: width of the hidden layer.
        actions: A.
    """

    frame: tuple[int, int, int]
    channels: tuple[int, ...]
    hidden: int
    actions: int

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of weights and biases, in the order in which they lie in a row."""
        rows, columns, fan_in = self.frame
        shapes: list[tuple[int, ...]] = []
        for channels in self.channels:
            for inputs in (fan_in, channels, channels):
                shapes += [(channels, inputs, 3, 3), (channels,)]
            rows, columns, fan_in = -(-rows // 2), -(-columns // 2), channels
        shapes += [(self.hidden, rows * columns * fan_in), (self.hidden,)]
        return (*shapes, (self.actions, self.hidden), (self.actions,))

    @property
    def num_parameters(self) -> int:
        """P."""
        return sum(math.prod(shape) for shape in self.shapes)

    def initial(self, keys: Sequence[Array]) -> Tensor:
        """Fresh weights, a learner for each Philox key, float32 [M, P]: uniform in +-1/sqrt(fan_in)
        as PyTorch's layers, biases zero."""
        parameters = torch.zeros(len(keys), self.num_parameters)
        for row, key in zip(parameters, keys, strict=True):
            draws = np.random.Generator(np.random.Philox(key=key))
            for weight in self._parts(row):
                if weight.ndim > 1:
                    uniform = draws.random(tuple(weight.shape), dtype=np.float32)
                    weight.copy_(torch.from_numpy(2 * uniform - 1) / math.sqrt(weight[0].numel()))
        return parameters

    def values(self, parameters: Tensor, frames: Tensor) -> Tensor:
        """Action values, float32 [M, R, A].

        On a CPU learners go one after the other: what a batched convolution gives for one of them
        depends, in its last bits, on how many there are. Elsewhere they are groups of one.

        Args:
            parameters: [M, P].
            frames: uint8 [M, R, Y, X, C].
        """
        if frames.device.type == "cpu":
            pairs = zip(parameters, frames, strict=True)
            return torch.stack([self._values(row, theirs) for row, theirs in pairs])
        return torch.vmap(self._values)(parameters, frames)

    def _values(self, row: Tensor, frames: Tensor) -> Tensor:
        """Action values of one learner, [R, A]; parameters [P], frames uint8 [R, Y, X, C]."""
        parts = iter(self._parts(row))
        x = frames.permute(0, 3, 1, 2).float() / 255.0
        for _ in self.channels:
            x = F.conv2d(x, next(parts), next(parts), padding=1)
            x = F.max_pool2d(x, 3, 2, padding=1)
            deeper = F.conv2d(x.relu(), next(parts), next(parts), padding=1)
            x = x + F.conv2d(deeper.relu(), next(parts), next(parts), padding=1)
        x = F.linear(x.relu().flatten(1), next(parts), next(parts)).relu()
        return F.linear(x, next(parts), next(parts))

    def _parts(self, row: Tensor) -> list[Tensor]:
        sizes = [math.prod(shape) for shape in self.shapes]
        return [
            part.view(shape)
            for part, shape in zip(torch.split(row, sizes), self.shapes, strict=True)
        ]
