"""What attention should give, head by head, and how wrong an implementation may be.

A result's error is the norm of its difference from the exact one over the norm of the exact one.
The same mathematics written plainly in the inputs' own dtype has such an error too, and an
implementation is allowed twice that: 16-bit inputs are not better than their last digit, and any
order of sums is as good as another. Exact is float32 for 16-bit inputs (2^-24 against 2^-9 and
2^-11) and float64 otherwise.

Q queries, T keys, D head width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.on_gpu.cases import WrongResultError

ALLOWED = 2.0
"""Times the error of plain arithmetic in the inputs' dtype."""
FLOAT32_ERROR = 1e-5
"""Allowed where plain arithmetic happens to be exact: a hundred roundings of 2^-24."""
SCORES_AT_ONCE = 1 << 26


class Head(NamedTuple):
    """One head of one row: inputs, or outcomes."""

    q: Tensor
    k: Tensor
    v: Tensor
    grad: Tensor


class Result(NamedTuple):
    """What attention and its gradients give for a head."""

    out: Tensor
    dq: Tensor
    dk: Tensor
    dv: Tensor


def exact_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which a result counts as exact."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else torch.float64


def attend(head: Head, start: Tensor, position: Tensor, scale: float, dtype: torch.dtype) -> Result:
    """Interval-causal attention of a head and its gradients, all arithmetic in one dtype.

    Args:
        head: [Q, D], [T, D], [T, D], [Q, D].
        start: first visible key of each query, [Q].
        position: last visible key of each query, [Q].
        scale: multiplies the scores.
        dtype: in which everything is computed.
    """
    q, k, v, grad = (x.to(dtype) for x in head)
    outs, dqs = [], []
    dk, dv = (torch.zeros_like(x, dtype=exact_dtype(dtype)) for x in (k, v))
    key = torch.arange(k.shape[0], device=k.device)
    rows = max(1, SCORES_AT_ONCE // k.shape[0])
    for first in range(0, q.shape[0], rows):
        some = slice(first, first + rows)
        seen = (key >= start[some, None]) & (key <= position[some, None])
        scores = ((q[some] @ k.T) * scale).masked_fill(~seen, -torch.inf)
        weights = scores.softmax(1).nan_to_num(0.0)  # a query that sees nothing gives 0
        out = weights @ v
        inner = (grad[some] * out).sum(1, keepdim=True)
        slopes = weights * (grad[some] @ v.T - inner)
        outs.append(out)
        dqs.append((slopes @ k) * scale)
        dk += (slopes.T @ q[some]) * scale
        dv += weights.T @ grad[some]
    return Result(torch.cat(outs), torch.cat(dqs), dk, dv)


def errors(
    found: Sequence[Tensor], exact: Sequence[Tensor], plain: Sequence[Tensor], names: Sequence[str]
) -> Mapping[str, float]:
    """The worst error of a result, and how it compares with plain arithmetic.

    Args:
        found: what is to be judged.
        exact: what it should be.
        plain: the same mathematics in the inputs' dtype.
        names: of the tensors.

    Returns:
        error: the worst of them; error_of_plain: plain arithmetic's of that tensor.

    Raises:
        WrongResultError: one is more than `ALLOWED` times as wrong as plain arithmetic, or not
            finite.
    """
    worst = {"error": 0.0, "error_of_plain": 0.0}
    for x, right, other, name in zip(found, exact, plain, names, strict=True):
        error, of_plain = relative(x, right), relative(other, right)
        allowed = max(ALLOWED * of_plain, FLOAT32_ERROR)
        if not error <= allowed:
            raise WrongResultError(f"{name} is off by {error:.3g}; {allowed:.3g} is allowed")
        if error >= worst["error"]:
            worst = {"error": error, "error_of_plain": of_plain}
    return worst


def relative(x: Tensor, right: Tensor) -> float:
    """Norm of the difference over the norm; NaN where something is not finite."""
    if not bool(torch.isfinite(x).all()):
        return float("nan")
    x, wide = x.detach(), right.detach().double()
    norm = wide.norm().clamp_min(1e-30)
    return float((x.double() - wide).norm() / norm)
