"""Adam for many learners at once, as a pure function.

M learners, P parameters each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor

from adbench.source.layers import Array


@dataclass(frozen=True)
class AdamState:
    """Moments of the gradients so far.

    Attributes:
        mean: float32 [M, P].
        square: float32 [M, P].
        updates: how many there were.
    """

    mean: Tensor
    square: Tensor
    updates: int

    @classmethod
    def fresh(cls, parameters: Tensor) -> AdamState:
        """Before the first update."""
        return cls(torch.zeros_like(parameters), torch.zeros_like(parameters), 0)


def adam(
    parameters: Tensor,
    gradient: Tensor,
    state: AdamState,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Tensor, AdamState]:
    """One step of Adam (Kingma and Ba 2015, algorithm 1).

    Args:
        parameters: [M, P].
        gradient: of the loss, [M, P].
        state: as the last step left it.
        learning_rate: step size.
        beta1: decay of the first moment.
        beta2: decay of the second.
        epsilon: added to the root of the second.
    """
    if parameters.device.type != "cpu":
        return define_adam(
            parameters,
            gradient,
            state,
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
        )
    updates = state.updates + 1
    moved, mean, square = (torch.empty_like(parameters) for _ in range(3))
    _adam(
        _flat(parameters),
        _flat(gradient),
        _flat(state.mean),
        _flat(state.square),
        _flat(moved),
        _flat(mean),
        _flat(square),
        learning_rate / (1 - beta1**updates),
        1 - beta2**updates,
        beta1,
        beta2,
        epsilon,
    )
    return moved, AdamState(mean, square, updates)


def define_adam(
    parameters: Tensor,
    gradient: Tensor,
    state: AdamState,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> tuple[Tensor, AdamState]:
    """What `adam` is, in PyTorch; on GPUs it is what runs."""
    updates = state.updates + 1
    mean = torch.lerp(state.mean, gradient, 1 - beta1)
    square = torch.lerp(state.square, gradient.square(), 1 - beta2)
    scale = (square / (1 - beta2**updates)).sqrt_().add_(epsilon)
    step = learning_rate / (1 - beta1**updates)
    moved = torch.addcdiv(parameters, mean, scale, value=-step)
    return moved, AdamState(mean, square, updates)


def _flat(values: Tensor) -> Array:
    flat: Array = values.contiguous().numpy().ravel()
    return flat


@njit(cache=True, nogil=True, fastmath={"contract"})
def _adam(
    parameters: Array,
    gradient: Array,
    old_mean: Array,
    old_square: Array,
    moved: Array,
    mean: Array,
    square: Array,
    step: float,
    bias: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    """One pass over memory, where a chain of tensor operations makes eight."""
    # In the arrays' own precision: a float64 in the loop would halve its width.
    number = parameters.dtype.type
    keep1, take1, keep2, take2 = number(beta1), number(1 - beta1), number(beta2), number(1 - beta2)
    rate, whole, least = number(step), number(1 / bias), number(epsilon)
    for at in range(parameters.shape[0]):
        first = keep1 * old_mean[at] + take1 * gradient[at]
        second = keep2 * old_square[at] + take2 * gradient[at] * gradient[at]
        mean[at], square[at] = first, second
        moved[at] = parameters[at] - rate * first / (np.sqrt(second * whole) + least)
