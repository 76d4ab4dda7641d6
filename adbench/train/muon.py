"""Muon (Jordan et al. 2024): steps along the orthogonalised momentum of matrices.

The step is scaled to AdamW's size (Liu et al. 2025, arXiv 2502.16982), so one learning rate serves
both. The definition is `torch.optim.Muon`; this one orthogonalises all matrices of a shape at once
and in float32, because a CPU spends its time on calls where matrices are small, and multiplies
bfloat16 slowly.

N matrices of a shape, R rows, C columns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Of the quintic whose iteration drives singular values towards 1, and its length.
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5
_WIDE = 1.5
"""Columns a row above which the iteration on Gram matrices takes fewer multiplications: 2 C + 17 R
against 10 C + 5 R, times R R."""

_SMALLEST_NORM = 1e-7
_ADAMW_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        matrices: parameters of two dimensions.
        lr: learning rate.
        weight_decay: share of the learning rate by which weights shrink.
        momentum: decay of the momentum.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, defaults)
        assert all(p.dim() == 2 for group in self.param_groups for p in group["params"])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step along the gradients that there are; a closure is not called."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    way = self._momentum(parameter, group["momentum"])
                    wide = way if way.shape[0] <= way.shape[1] else way.mT
                    rows, columns = wide.shape
                    alike[rows, columns].append((parameter, wide))
            for (_, columns), members in alike.items():
                ways_NRC = orthogonalise(torch.stack([wide for _, wide in members]))
                step = group["lr"] * _ADAMW_RMS * math.sqrt(columns)
                for (parameter, _), way in zip(members, ways_NRC, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    same_side = way if parameter.shape == way.shape else way.mT
                    parameter.add_(same_side, alpha=-step)

    def _momentum(self, parameter: nn.Parameter, decay: float) -> Tensor:
        assert parameter.grad is not None
        memory = self.state[parameter]
        if not memory:
            memory["momentum_buffer"] = torch.zeros_like(parameter)
        memory["momentum_buffer"].lerp_(parameter.grad, 1 - decay)
        return parameter.grad.lerp(memory["momentum_buffer"], decay)


def orthogonalise(wide_NRC: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values of about 1 (0.7 to 1.2).

    Args:
        wide_NRC: [N, R, C], R <= C.
    """
    norms: Tensor = torch.linalg.matrix_norm(wide_NRC, keepdim=True)
    x_NRC = wide_NRC / norms.clamp(min=_SMALLEST_NORM)
    rows, columns = x_NRC.shape[-2:]
    if columns > _WIDE * rows:
        return _whitener(x_NRC @ x_NRC.mT) @ x_NRC
    for _ in range(_ITERATIONS):
        factor_NRR = _factor(x_NRC @ x_NRC.mT)
        x_NRC = factor_NRR @ x_NRC
    return x_NRC


def _factor(gram_NRR: Tensor) -> Tensor:
    """p(g) = a + b g + c g g, which takes x to its next iterate p(x x') x."""
    a, b, c = _COEFFICIENTS
    factor_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
    factor_NRR.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor_NRR


def _whitener(gram_NRR: Tensor) -> Tensor:
    """The product of all iterations' factors, from the first Gram matrix alone: x being multiplied
    by p(g), the Gram matrix becomes p g p, and products of R x R are cheaper than of R x C."""
    product_NRR = factor_NRR = _factor(gram_NRR)
    for _ in range(_ITERATIONS - 1):
        gram_NRR = factor_NRR @ gram_NRR @ factor_NRR
        factor_NRR = _factor(gram_NRR)
        product_NRR = factor_NRR @ product_NRR
    return product_NRR
