"""Many small actor-critic networks at once: weights, forward and backward.

M learners, R rows a learner, F features, W hidden width, C choices (actions), P parameters of one
learner. A learner's weights lie side by side in one row of [M, P], so that an optimiser is a
handful of operations; a learner's result does not depend on the learners beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from adbench.source.layers import Array, Layer

# A policy that begins near uniform: the first actions are exploration, not an accident of weights.
_POLICY_HEAD_SCALE = 0.01


@dataclass(frozen=True)
class Layout:
    """A network of rectifiers with two heads, and where its weights lie in a learner's row.

    Attributes:
        sizes: F, W, ..., W, C + 1: the last column of the output is the value.
    """

    sizes: tuple[int, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers, the first one first."""
        layers: list[Layer] = []
        last = len(self.sizes) - 1
        for depth in range(1, len(self.sizes)):
            at = layers[-1].end if layers else 0
            layers.append(Layer(at, self.sizes[depth - 1], self.sizes[depth], head=depth == last))
        return tuple(layers)

    @property
    def num_parameters(self) -> int:
        """P."""
        return self.layers[-1].end

    def initial(self, keys: Sequence[Array]) -> Tensor:
        """Fresh weights, a learner for each Philox key, float32 [M, P].

        Uniform in +-1/sqrt(fan_in), as PyTorch's linear layers; biases are zero.
        """
        parameters = torch.zeros(len(keys), self.num_parameters)
        for row, key in zip(parameters.numpy(), keys, strict=True):
            draws = np.random.Generator(np.random.Philox(key=key))
            for layer in self.layers:
                size = layer.fan_in * layer.fan_out
                uniform = draws.random(size, dtype=np.float32)
                row[layer.at : layer.at + size] = (2 * uniform - 1) / np.sqrt(layer.fan_in)
        head, _ = self.layers[-1].weights(parameters)
        head[..., :-1] *= _POLICY_HEAD_SCALE
        return parameters

    def forward(self, parameters: Tensor, features: Tensor) -> list[Tensor]:
        """What each layer puts out, the features first.

        Args:
            parameters: [M, P].
            features: [M, R, F].

        Returns:
            [M, R, F], [M, R, W], ..., and logits and value side by side, [M, R, C + 1].
        """
        outputs = [features]
        for layer in self.layers:
            outputs.append(layer.forward(parameters, outputs[-1]))
        return outputs

    def backward(self, parameters: Tensor, outputs: Sequence[Tensor], grad: Tensor) -> Tensor:
        """Gradient of the parameters, [M, P], given that of the last output, [M, R, C + 1].

        Args:
            parameters: [M, P].
            outputs: as `forward` gave them.
            grad: [M, R, C + 1].
        """
        gradient = torch.empty_like(parameters)
        for depth in range(len(self.layers) - 1, -1, -1):
            grad = self.layers[depth].backward(
                parameters, outputs[depth], grad, gradient, rectified=depth > 0
            )
        return gradient
