"""One layer of many small networks at once, forward and backward.

M learners, R rows a learner, I inputs, O outputs, P parameters of one learner. A layer's weight
[I, O] and bias [O] lie one after the other in a learner's row of [M, P].

On a CPU these are compiled loops, not PyTorch's batched products: what those give for one learner
depends, in its last bits, on how many learners there are and where in memory it lies, and a bit
decides an action sooner or later. These loops add up in one order, and skip the zeros of one-hot
inputs and rectified units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
    """Where one layer lies in a learner's row.

    Attributes:
        at: its first parameter.
        fan_in: I.
        fan_out: O.
        head: whether it is the last one, which is narrow: its weight lies output by output, so
            that the loops inside are over the wide side. A head does not rectify.
    """

    at: int
    fan_in: int
    fan_out: int
    head: bool = False

    @property
    def end(self) -> int:
        """The first parameter after it."""
        return self.at + (self.fan_in + 1) * self.fan_out

    def weights(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Views of weight [M, I, O] and bias [M, 1, O]."""
        middle = self.at + self.fan_in * self.fan_out
        flat, bias = parameters[:, self.at : middle], parameters[:, middle : self.end]
        if self.head:
            weight = flat.view(-1, self.fan_out, self.fan_in).mT
        else:
            weight = flat.view(-1, self.fan_in, self.fan_out)
        return weight, bias.view(-1, 1, self.fan_out)

    def forward(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """inputs @ weight + bias, [M, R, O]; but in a head, what is negative becomes 0.

        Args:
            parameters: [M, P].
            inputs: [M, R, I].
        """
        if parameters.device.type != "cpu":
            return self.define_forward(parameters, inputs)
        outputs = inputs.new_empty((*inputs.shape[:2], self.fan_out))
        loop = _forward_head if self.head else _forward
        loop(parameters.numpy(), self.at, inputs.contiguous().numpy(), outputs.numpy())
        return outputs

    def backward(
        self,
        parameters: Tensor,
        inputs: Tensor,
        grad: Tensor,
        gradient: Tensor,
        *,
        rectified: bool,
    ) -> Tensor:
        """Write this layer's part of the gradient, and hand back that of its inputs, [M, R, I].

        Args:
            parameters: [M, P].
            inputs: [M, R, I].
            grad: of its outputs before any rectifying, [M, R, O].
            gradient: of the parameters, [M, P]; this layer's columns are written.
            rectified: whether the inputs are a hidden layer's: no gradient passes where they are 0.
                Else they are features, nobody wants their gradient, and it may be 0.
        """
        if parameters.device.type != "cpu":
            return self.define_backward(parameters, inputs, grad, gradient, rectified=rectified)
        grad_inputs = torch.zeros_like(inputs)
        loop = _backward_head if self.head else _backward
        loop(
            parameters.numpy(),
            self.at,
            inputs.contiguous().numpy(),
            grad.contiguous().numpy(),
            gradient.numpy(),
            grad_inputs.numpy(),
            rectified,
        )
        return grad_inputs

    def define_forward(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """What `forward` is, in PyTorch; on GPUs it is what runs."""
        weight, bias = self.weights(parameters)
        outputs = torch.baddbmm(bias, inputs, weight)
        return outputs if self.head else outputs.relu_()

    def define_backward(
        self,
        parameters: Tensor,
        inputs: Tensor,
        grad: Tensor,
        gradient: Tensor,
        *,
        rectified: bool,
    ) -> Tensor:
        """What `backward` is, in PyTorch; on GPUs it is what runs."""
        weight, bias = self.weights(gradient)
        weight.copy_(torch.bmm(inputs.mT, grad))
        bias.copy_(grad.sum(dim=1, keepdim=True))
        if not rectified:
            return torch.zeros_like(inputs)
        return torch.bmm(grad, self.weights(parameters)[0].mT).mul_(inputs > 0)


# Sums may be regrouped into vector lanes, and products fused into them: the same way for every
# learner, because the grouping depends on a loop's length alone.
_FAST = {"reassoc", "contract", "nsz"}

# Rows that share one pass over the weights, and fit the fastest cache with them.
_BLOCK_ROWS = 16


@njit(cache=True, nogil=True, fastmath=_FAST)
def _forward(parameters: Array, at: int, inputs: Array, outputs: Array) -> None:
    learners, rows, fan_in = inputs.shape
    fan_out = outputs.shape[2]
    middle = at + fan_in * fan_out
    for learner in range(learners):
        weight = parameters[learner, at:middle].reshape(fan_in, fan_out)
        bias = parameters[learner, middle : middle + fan_out]
        for first in range(0, rows, _BLOCK_ROWS):
            block = range(first, min(first + _BLOCK_ROWS, rows))
            for row in block:
                for unit in range(fan_out):
                    outputs[learner, row, unit] = bias[unit]
            for entry in range(fan_in):
                for row in block:
                    value = inputs[learner, row, entry]
                    if value != 0:
                        for unit in range(fan_out):
                            outputs[learner, row, unit] += value * weight[entry, unit]
            for row in block:
                for unit in range(fan_out):
                    outputs[learner, row, unit] = max(outputs[learner, row, unit], 0)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _backward(
    parameters: Array,
    at: int,
    inputs: Array,
    grad: Array,
    gradient: Array,
    grad_inputs: Array,
    rectified: bool,
) -> None:
    learners, rows, fan_in = inputs.shape
    fan_out = grad.shape[2]
    middle = at + fan_in * fan_out
    for learner in range(learners):
        weight = parameters[learner, at:middle].reshape(fan_in, fan_out)
        gradient[learner, at : middle + fan_out] = 0
        by_weight = gradient[learner, at:middle].reshape(fan_in, fan_out)
        by_bias = gradient[learner, middle : middle + fan_out]
        for row in range(rows):
            for unit in range(fan_out):
                by_bias[unit] += grad[learner, row, unit]
        for first in range(0, rows, _BLOCK_ROWS):
            block = range(first, min(first + _BLOCK_ROWS, rows))
            for entry in range(fan_in):
                for row in block:
                    value = inputs[learner, row, entry]
                    if value == 0:
                        continue
                    above = grad[learner, row]
                    for unit in range(fan_out):
                        by_weight[entry, unit] += value * above[unit]
                    if rectified:
                        total = above[0] * weight[entry, 0]
                        for unit in range(1, fan_out):
                            total += above[unit] * weight[entry, unit]
                        grad_inputs[learner, row, entry] = total


@njit(cache=True, nogil=True, fastmath=_FAST)
def _forward_head(parameters: Array, at: int, inputs: Array, outputs: Array) -> None:
    learners, rows, fan_in = inputs.shape
    fan_out = outputs.shape[2]
    middle = at + fan_in * fan_out
    for learner in range(learners):
        weight = parameters[learner, at:middle].reshape(fan_out, fan_in)
        for row in range(rows):
            below = inputs[learner, row]
            for unit in range(fan_out):
                total = parameters[learner, middle + unit]
                for entry in range(fan_in):
                    total += below[entry] * weight[unit, entry]
                outputs[learner, row, unit] = total


@njit(cache=True, nogil=True, fastmath=_FAST)
def _backward_head(
    parameters: Array,
    at: int,
    inputs: Array,
    grad: Array,
    gradient: Array,
    grad_inputs: Array,
    rectified: bool,
) -> None:
    learners, rows, fan_in = inputs.shape
    fan_out = grad.shape[2]
    middle = at + fan_in * fan_out
    for learner in range(learners):
        weight = parameters[learner, at:middle].reshape(fan_out, fan_in)
        gradient[learner, at : middle + fan_out] = 0
        by_weight = gradient[learner, at:middle].reshape(fan_out, fan_in)
        for row in range(rows):
            below = inputs[learner, row]
            by_input = grad_inputs[learner, row]
            for unit in range(fan_out):
                above = grad[learner, row, unit]
                gradient[learner, middle + unit] += above
                for entry in range(fan_in):
                    by_weight[unit, entry] += above * below[entry]
                    by_input[entry] += above * weight[unit, entry]
            if rectified:
                for entry in range(fan_in):
                    if below[entry] == 0:
                        by_input[entry] = 0
