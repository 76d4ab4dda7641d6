"""Interval-causal attention: checks its arguments, then runs the implementation that was chosen.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, require
from adbench_kernels.interval_attention import reference, sdpa
from adbench_kernels.interval_attention.intervals import Intervals, check_positions
from adbench_kernels.interval_attention.library import (
    attention_blocked,
    attention_blocked_backward,
)

__all__ = ["Intervals", "attention", "attention_backward"]

_FORWARD = {"reference": None, "blocked": None, **sdpa.BACKENDS}
_BACKWARD = {"reference": None, "blocked": None}


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

    A query that sees nothing gives 0, lse -inf, gradient 0.

    Args:
        q: floating [B, Q, H, D], any strides.
        k: [B, T, G, D], same dtype and device; H is a multiple of G.
        v: [B, T, G, D].
        intervals: which keys a query sees; none: causal.
        query_offset: position of query 0 among the keys.
        query_stride: positions between queries.
        scale: multiplies the scores; none: 1 / sqrt(D).
        dropout: probability with which an attention weight is dropped; the rest grow by
            1 / (1 - dropout). Draws from torch's global generator. "blocked" has none.
        return_lse: return the log-sum-exp too (not differentiable); SDPA has none.
        implementation: "auto" takes what was measured to be fastest: on the CPU torch's SDPA for
            plain causal attention and "blocked" for every other mask, on a GPU torch's SDPA; with
            dropout SDPA, with `return_lse` "blocked". Another name runs that or raises.

    Returns:
        out [B, Q, H, D] in q's dtype; with `return_lse` also lse [B, H, Q], natural log, float32
        (float64 for float64 inputs).

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    intervals = _check(q, k, v, intervals, query_offset, query_stride)
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout: must be in [0, 1); got {dropout}")
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    if implementation == "auto":
        plain = sdpa.is_plain_causal(intervals, k.shape[1], query_offset, query_stride)
        name = _fastest(q, plain=plain, dropout=dropout, return_lse=return_lse)
    else:
        name = implementation
        _check_support(q, name, dropout=dropout, return_lse=return_lse)
    if name == "reference":
        visible = _visible(q, k, intervals, query_offset, query_stride)
        out, lse = reference.attention(q, k, v, visible, factor, dropout)
        lse = lse.detach().to(torch.promote_types(q.dtype, torch.float32))
    elif name == "blocked":
        out, lse = attention_blocked(
            q, k, v, *_span(q, k, intervals, query_offset, query_stride), factor
        )
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
        implementation: "reference", "blocked", or "auto", which takes "blocked".

    Returns:
        dq [B, Q, H, D], dk [B, T, G, D], dv [B, T, G, D].

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    intervals = _check(q, k, v, intervals, query_offset, query_stride)
    for name, value in (("grad_out", grad_out), ("out", out)):
        if value.shape != q.shape:
            raise ValueError(f"{name}: must be {list(q.shape)}, as q; got {list(value.shape)}")
    if lse.shape != (q.shape[0], q.shape[2], q.shape[1]):
        expected = [q.shape[0], q.shape[2], q.shape[1]]
        raise ValueError(f"lse: must be [B, H, Q] = {expected}; got {list(lse.shape)}")
    factor = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    name = "blocked" if implementation == "auto" else implementation
    require(name, op="attention_backward", provided=_BACKWARD, device=q.device)
    if name == "reference":
        visible = _visible(q, k, intervals, query_offset, query_stride)
        return reference.attention_backward(grad_out, q, k, v, out, lse, visible, factor)
    span = _span(q, k, intervals, query_offset, query_stride)
    with torch.no_grad():
        dq, dk, dv = attention_blocked_backward(grad_out, q, k, v, out, lse, *span, factor)
    return dq, dk, dv


def _fastest(q: Tensor, *, plain: bool, dropout: float, return_lse: bool) -> str:
    if return_lse:
        return "reference" if dropout else "blocked"
    if dropout or plain or q.device.type != "cpu":
        return "sdpa"  # the backend that torch prefers
    return "blocked"


def _check_support(q: Tensor, implementation: str, *, dropout: float, return_lse: bool) -> None:
    require(implementation, op="attention", provided=_FORWARD, device=q.device)
    if implementation == "blocked" and dropout:
        raise ValueError("dropout: 'blocked' has none; use 'auto', 'reference' or an 'sdpa-' one")
    if implementation in sdpa.BACKENDS and return_lse:
        raise ValueError("return_lse: SDPA gives none; use 'auto', 'reference' or 'blocked'")


def _check(
    q: Tensor, k: Tensor, v: Tensor, intervals: Intervals | None, offset: int, stride: int
) -> Intervals:
    if q.ndim != 4 or 0 in q.shape:
        raise ValueError(f"q: must be [B, Q, H, D], none of them 0; got {list(q.shape)}")
    if not q.is_floating_point():
        raise ValueError(f"q: must be floating; got {q.dtype}")
    for name, x in (("k", k), ("v", v)):
        if x.ndim != 4 or x.shape[0] != q.shape[0] or x.shape[3] != q.shape[3]:
            raise ValueError(
                f"{name}: must be [B={q.shape[0]}, T, G, D={q.shape[3]}]; got {list(x.shape)}"
            )
        if x.dtype != q.dtype or x.device != q.device:
            raise ValueError(
                f"{name}: must be {q.dtype} on {q.device}, as q; got {x.dtype} on {x.device}"
            )
    if k.shape != v.shape:
        raise ValueError(f"v: must have k's shape {list(k.shape)}; got {list(v.shape)}")
    if k.shape[2] == 0 or q.shape[2] % k.shape[2]:
        raise ValueError(f"k: {k.shape[2]} key heads do not divide {q.shape[2]} query heads")
    check_positions(q.shape[1], k.shape[1], offset, stride)
    if intervals is None:
        return Intervals.causal()
    intervals.starts(q.shape[0], q.shape[1], k.shape[1], offset, stride)
    if intervals.kv_start is not None and intervals.kv_start.device != q.device:
        raise ValueError(
            f"intervals: on {intervals.kv_start.device}, but q is on {q.device}; move the ids first"
        )
    return intervals


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
    width = k.shape[1] if intervals.width is None else min(intervals.width, k.shape[1])
    return starts, width, offset, stride
