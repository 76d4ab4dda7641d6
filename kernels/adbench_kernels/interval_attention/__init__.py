"""Interval-causal attention: checks its arguments, then runs the implementation that was chosen.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor

from adbench_kernels.arguments import check_dropout, scale_of
from adbench_kernels.choice import Implementation, fastest, require
from adbench_kernels.interval_attention import reference, requests, sdpa
from adbench_kernels.interval_attention.intervals import Intervals
from adbench_kernels.interval_attention.library import OPERATORS
from adbench_kernels.interval_attention.span import Span

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
            and v, which may be parts of one packed projection); B, Q, T may be 0.
        k: [B, T, G, D], same dtype and device; H is a multiple of G.
        v: [B, T, G, D].
        intervals: which keys a query sees; none: causal.
        query_offset: position of query 0 among the keys. Where those are a part of a row, queries
            may sit after the last of them; those before the first see nothing: leave them out.
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
    span = requests.check(q, k, v, intervals, query_offset, query_stride)
    check_dropout(dropout)
    factor = scale_of(scale, q.shape[3])
    if implementation == "auto":
        serving = requests.serving(
            q, k, v, plain=span.plain, dropout=dropout, return_lse=return_lse
        )
        name = _fastest("attention", q, k, span, serving)
    else:
        name = implementation
        require(name, op="attention", provided=_FORWARD, device=q.device)
        requests.check_support(
            name, q, k, v, plain=span.plain, dropout=dropout, return_lse=return_lse
        )
    if q.numel() == 0 or k.numel() == 0:
        out, lse = _nothing(q, k, v)
    elif name == "reference":
        out, lse = reference.attention(q, k, v, span.visible(q), factor, dropout)
        lse = lse.detach().to(_lse_dtype(q))
    elif name in OPERATORS:
        requests.refuse_tangents(name, q, k, v)
        out, lse = OPERATORS[name][0](q, k, v, *span.for_kernels(q), factor)
    else:
        asked = sdpa.backends(name, or_others=implementation == "auto")
        return sdpa.attention(q, k, v, span, scale=factor, dropout=dropout, asked=asked)
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

    Keys may be a part of a row whose out and lse are known (context parallelism): dk and dv are
    then those of this part, and dq is what it adds.

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
    span = requests.check(q, k, v, intervals, query_offset, query_stride)
    requests.check_backward(grad_out, out, lse, q)
    factor = scale_of(scale, q.shape[3])
    if implementation == "auto":
        serving = requests.serving(q, k, v, plain=False, return_lse=True)
        name = _fastest("attention_backward", q, k, span, serving)
    else:
        name = implementation
        require(name, op="attention_backward", provided=_BACKWARD, device=q.device)
        requests.check_support(name, q, k, v, plain=span.plain)
    if q.numel() == 0 or k.numel() == 0:
        return torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    if name == "reference":
        visible = span.visible(q)
        return reference.attention_backward(grad_out, q, k, v, out, lse, visible, factor)
    with torch.no_grad():
        dq, dk, dv = OPERATORS[name][1](grad_out, q, k, v, out, lse, *span.for_kernels(q), factor)
    return dq, dk, dv


def _nothing(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Out and lse where there are no queries or no keys; every input has a gradient of zero."""
    never = torch.zeros((), dtype=torch.bool, device=q.device)
    out = torch.where(never, q, 0 * (k.sum() + v.sum()))
    lse = torch.full((q.shape[0], q.shape[2], q.shape[1]), -torch.inf, device=q.device)
    return out, lse.to(_lse_dtype(q))


def _lse_dtype(q: Tensor) -> torch.dtype:
    return torch.promote_types(q.dtype, torch.float32)


def _fastest(op: str, q: Tensor, k: Tensor, span: Span, available: tuple[str, ...]) -> str:
    return fastest(
        op,
        device=q.device,
        head_dim=q.shape[3],
        length=k.shape[1],
        mask=span.kind,
        available=available,
    ).name
