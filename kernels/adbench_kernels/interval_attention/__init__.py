"""Interval-causal attention: checks its arguments, then runs the implementation that was chosen.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, fastest, require
from adbench_kernels.interval_attention import reference, requests, sdpa
from adbench_kernels.interval_attention.intervals import Intervals
from adbench_kernels.interval_attention.library import OPERATORS

__all__ = ["Intervals", "attention", "attention_backward"]

_BACKWARD = dict.fromkeys(("reference", *OPERATORS))
_FORWARD = dict.fromkeys((*_BACKWARD, *sdpa.BACKENDS))


@overload
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    intervals: Intervals | None = None,
    query_offset: int = 0,
    query_stride: int = 1,
    scale: float | None = None,
    dropout: float = 0.0,
    return_lse: Literal[False] = False,
    implementation: Implementation = "auto",
) -> Tensor: ...
@overload
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    intervals: Intervals | None = None,
    query_offset: int = 0,
    query_stride: int = 1,
    scale: float | None = None,
    dropout: float = 0.0,
    return_lse: Literal[True],
    implementation: Implementation = "auto",
) -> tuple[Tensor, Tensor]: ...
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    intervals: Intervals | None = None,
    query_offset: int = 0,
    query_stride: int = 1,
    scale: float | None = None,
    dropout: float = 0.0,
    return_lse: bool = False,
    implementation: Implementation = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Softmax attention in which a query sees one interval of keys that ends at itself.

    A query that sees nothing gives 0, lse -inf, gradient 0. Under torch.autocast inputs are cast
    as those of torch's own attention are.

    Args:
        q: floating [B, Q, H, D], any strides ("triton": D at most 128, a last stride of 1, in q, k
            and v, which may be parts of one packed projection); B, Q may be 0.
        k: [B, T, G, D], same dtype and device; H is a multiple of G.
        v: [B, T, G, D].
        intervals: which keys a query sees; none: causal.
        query_offset: position of query 0 among the keys.
        query_stride: positions between queries.
        scale: multiplies the scores; none: 1 / sqrt(D).
        dropout: probability with which an attention weight is dropped; the rest grow by
            1 / (1 - dropout). Draws from torch's global generator. "blocked" and "triton" have
            none.
        return_lse: return the log-sum-exp too (not differentiable); SDPA has none.
        implementation: "auto" takes what was measured to be fastest among those that have what is
            asked for: on the CPU torch's SDPA for plain causal attention and "blocked" for every
            other mask; on a GPU what `adbench kernels` prints. Another name runs that or raises.

    Returns:
        out [B, Q, H, D] in q's dtype; with `return_lse` also lse [B, H, Q], natural log, float32
        (float64 for float64 inputs).

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    q, k, v = requests.cast(q, k, v)
    intervals = requests.check(q, k, v, intervals, query_offset, query_stride)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: must be in [0, 1); got {dropout}")
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    if implementation == "auto":
        mask = requests.mask_kind(intervals, k.shape[1], query_offset, query_stride)
        serving = requests.serving(
            q, k, v, plain=mask == "causal", dropout=dropout, return_lse=return_lse
        )
        name = _fastest("attention", q, k, mask, serving)
    else:
        name = implementation
        require(name, op="attention", provided=_FORWARD, device=q.device)
        requests.check_support(name, q, k, v, dropout=dropout, return_lse=return_lse)
    if q.numel() == 0:
        # Nothing to compute, but the keys of a batch still have a gradient: zero.
        out = q + 0 * (k.sum() + v.sum())
        lse = out.detach()[..., 0].transpose(1, 2)
        lse = lse.to(torch.promote_types(q.dtype, torch.float32))
    elif name == "reference":
        visible = _visible(q, k, intervals, query_offset, query_stride)
        out, lse = reference.attention(q, k, v, visible, factor, dropout)
        lse = lse.detach().to(torch.promote_types(q.dtype, torch.float32))
    elif name in OPERATORS:
        span = _span(q, k, intervals, query_offset, query_stride)
        out, lse = OPERATORS[name][0](q, k, v, *span, factor)
    else:
        return sdpa.attention(
            q,
            k,
            v,
            intervals,
            query_offset=query_offset,
            query_stride=query_stride,
            scale=factor,
            dropout=dropout,
            backend=sdpa.BACKENDS.get(name),
        )
    return (out, lse) if return_lse else out


def attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    *,
    intervals: Intervals | None = None,
    query_offset: int = 0,
    query_stride: int = 1,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `attention`, from its output and lse, for those who keep their own tape.

    Args:
        grad_out: [B, Q, H, D].
        q: as given to `attention`.
        k: as given to `attention`.
        v: as given to `attention`.
        out: what it returned, or the whole of which it was a part.
        lse: what it returned, or that of the whole.
        intervals: as given to `attention`.
        query_offset: as given to `attention`.
        query_stride: as given to `attention`.
        scale: as given to `attention`.
        implementation: "reference", "blocked", "triton", or "auto": on the CPU "blocked", on a GPU
            what `adbench kernels` prints.

    Returns:
        dq [B, Q, H, D], dk [B, T, G, D], dv [B, T, G, D].

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    intervals = requests.check(q, k, v, intervals, query_offset, query_stride)
    requests.check_backward(grad_out, out, lse, q)
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    if implementation == "auto":
        mask = requests.mask_kind(intervals, k.shape[1], query_offset, query_stride)
        serving = requests.serving(q, k, v, plain=False, return_lse=True)
        name = _fastest("attention_backward", q, k, mask, serving)
    else:
        name = implementation
        require(name, op="attention_backward", provided=_BACKWARD, device=q.device)
        requests.check_support(name, q, k, v)
    if q.numel() == 0:
        return torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    if name == "reference":
        visible = _visible(q, k, intervals, query_offset, query_stride)
        return reference.attention_backward(grad_out, q, k, v, out, lse, visible, factor)
    span = _span(q, k, intervals, query_offset, query_stride)
    with torch.no_grad():
        dq, dk, dv = OPERATORS[name][1](grad_out, q, k, v, out, lse, *span, factor)
    return dq, dk, dv


def _fastest(op: str, q: Tensor, k: Tensor, mask: str, available: tuple[str, ...]) -> str:
    return fastest(
        op,
        device=q.device,
        head_dim=q.shape[3],
        length=k.shape[1],
        mask=mask,
        available=available,
    ).name


def _visible(q: Tensor, k: Tensor, intervals: Intervals, offset: int, stride: int) -> Tensor:
    return intervals.visible(
        q.shape[0],
        q.shape[1],
        k.shape[1],
        query_offset=offset,
        query_stride=stride,
        device=q.device,
    )


def _span(
    q: Tensor, k: Tensor, intervals: Intervals, offset: int, stride: int
) -> tuple[Tensor | None, int, int, int]:
    starts = intervals.starts(q.shape[0], q.shape[1], k.shape[1], offset, stride)
    width = requests.EVERYTHING
    if intervals.width is not None:
        width = min(intervals.width, requests.EVERYTHING)
    return starts, width, offset, stride
