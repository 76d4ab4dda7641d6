"""Causal attention of packed queries, keys and values with rotary positions, in one pass.

B rows, T tokens, Q queries, H heads, D head width, W window. `reference.py` is the definition.
Packed input saves the copies between a projection and attention; turning on the way in saves the
reads and writes that rotary positions cost on their own (`kernel.py` says where that pays).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from adbench_kernels.arguments import (
    check_dropout,
    check_floating,
    check_tensor,
    refuse_forward_mode,
    scale_of,
    whole,
)
from adbench_kernels.choice import Implementation, fastest, installed, require, runs_triton
from adbench_kernels.interval_attention import Intervals, attention, requests, sdpa
from adbench_kernels.interval_attention.positions import LONGEST, check_among_keys
from adbench_kernels.interval_attention.span import Span
from adbench_kernels.rotary_attention import launch, reference
from adbench_kernels.rotary_attention.fused import rotary_attention_triton, turn_triton
from adbench_kernels.rotary_attention.library import rotary_attention_cpu
from adbench_kernels.rotary_attention.turns import rotary_turns, rotate

__all__ = ["rotary_attention", "rotary_turns", "rotate", "strided_rotary_attention"]

_LANES = 16
_OF_ATTENTION = ("blocked", *sdpa.BACKENDS)
_PROVIDED = dict.fromkeys(("reference", "numba", "triton", *_OF_ATTENTION))
_PROVIDED_STRIDED = dict.fromkeys(("reference", "triton", *_OF_ATTENTION))

COMPOSED = "attention"
"""What "auto" takes where no kernel does both: turning, then what `attention` takes."""


def rotary_attention(
    qkv: Tensor,
    turns: Tensor,
    *,
    window: int | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    implementation: Implementation = "auto",
) -> Tensor:
    """Causal attention of rows onto themselves; queries and keys are turned by their positions.

    Under torch.autocast qkv is cast as the inputs of torch's own attention are.

    Args:
        qkv: queries, keys, values of H heads each, in this order: floating [B, T, 3 H, D].
        turns: of `rotary_turns`, for the T tokens, [T, 2, D], float32 (float64 where qkv is); not
            differentiated.
        window: W: a query sees itself and the W - 1 tokens before it; none: all before it.
        scale: multiplies the scores; none: 1 / sqrt(D).
        dropout: probability with which an attention weight is dropped ("numba" and "triton" have
            none).
        implementation: "numba", for float32 on the CPU where D is a multiple of 16; "triton", for
            float32, bfloat16 and float16 on GPUs where D is at most 128; "reference"; a name that
            `attention` knows, after turning ("sdpa-..." take every mask that they take there);
            "auto" takes what was measured to be fastest. Another name runs that or raises.

    Returns:
        [B, T, H, D] in qkv's dtype.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    (qkv,) = requests.cast(qkv)
    window = _check(qkv, turns, window, parts=3)
    check_dropout(dropout)
    heads, width = qkv.shape[2] // 3, qkv.shape[3]
    call = _Call(window, 0, 1, scale_of(scale, width), dropout)
    vector = qkv.device.type == "cpu" and qkv.dtype == torch.float32 and width % _LANES == 0
    fits = {"numba": vector and not dropout, "triton": _triton_fits(qkv) and not dropout}
    name: str = implementation
    if implementation == "auto":
        can = {"numba": installed("numba"), "triton": runs_triton(qkv.device)}
        available = [n for n in fits if fits[n] and can[n]]
        mask = "causal" if window is None or window >= qkv.shape[1] else "window"
        if mask == "causal":
            available += requests.named_backends(qkv)
        name = _fastest(qkv, mask, available)
    else:
        require(name, op="rotary_attention", provided=_PROVIDED, device=qkv.device)
        if not fits.get(name, True):
            raise ValueError(_misfit(name, qkv, dropout))
    if 0 in qkv.shape:
        return qkv[:, :, :heads].clone()
    if name == "reference":
        return reference.rotary_attention(qkv, turns, window, call.scale, dropout)
    if name in fits:
        refuse_forward_mode("rotary_attention", name, qkv)
    if name == "numba":
        span = qkv.shape[1] if window is None else min(window, qkv.shape[1])
        out: Tensor = rotary_attention_cpu(qkv, turns, span, call.scale)[0]
        return out
    if name == "triton":
        return _triton(qkv, None, turns, call)
    # Queries and keys are turned together: one pass over memory instead of two.
    queries_and_keys, v = torch.split(qkv, [2 * heads, heads], 2)
    q, k = _turned(queries_and_keys, turns).chunk(2, 2)
    return _attend(q, k, v, call, name, or_others=implementation == "auto")


def strided_rotary_attention(
    q: Tensor,
    kv: Tensor,
    turns: Tensor,
    *,
    query_offset: int,
    query_stride: int,
    window: int | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    implementation: Implementation = "auto",
) -> Tensor:
    """As `rotary_attention`, but only some tokens ask: those at offset, offset + stride, ...

    Args:
        q: their queries, floating [B, Q, H, D].
        kv: keys and values of all tokens, H heads each, in this order, [B, T, 2 H, D]; q's type.
        turns: for the T tokens; as for `rotary_attention`.
        query_offset: token that asks first.
        query_stride: tokens from one that asks to the next.
        window: as for `rotary_attention`.
        scale: as for `rotary_attention`.
        dropout: as for `rotary_attention`.
        implementation: as for `rotary_attention`, without "numba".

    Returns:
        [B, Q, H, D] in q's dtype.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    kv, q = requests.cast(kv, q)
    window = _check(kv, turns, window, parts=2)
    check_dropout(dropout)
    check_tensor("q", q)
    batch, length, heads, width = *kv.shape[:2], kv.shape[2] // 2, kv.shape[3]
    if q.ndim != 4 or (q.shape[0], q.shape[2], q.shape[3]) != (batch, heads, width):
        raise ValueError(
            f"q: must be [B={batch}, Q, H={heads}, D={width}], as kv has it; got {list(q.shape)}"
        )
    if q.dtype != kv.dtype or q.device != kv.device:
        raise ValueError(
            f"q: must be {kv.dtype} on {kv.device}, as kv; got {q.dtype} on {q.device}"
        )
    offset, stride = check_among_keys(q.shape[1], length, query_offset, query_stride)
    call = _Call(window, offset, stride, scale_of(scale, width), dropout)
    fits = _triton_fits(kv) and not dropout
    name: str = implementation
    if implementation == "auto":
        available = ["triton"] if fits and runs_triton(kv.device) else []
        name = _fastest(kv, "strided", available)
    else:
        require(name, op="strided_rotary_attention", provided=_PROVIDED_STRIDED, device=kv.device)
        if name == "triton" and not fits:
            raise ValueError(_misfit(name, kv, dropout))
    if 0 in q.shape:
        return q + 0 * kv.sum()  # nobody asks, but the tokens still have a gradient: zero
    if name == "triton":
        refuse_forward_mode("strided_rotary_attention", name, q, kv)
        return _triton(kv, q, turns, call)
    last = offset + (q.shape[1] - 1) * stride
    asked = turns[offset : last + 1 : stride]
    turn = rotate if name == "reference" else _turned
    q, k, v = turn(q, asked), turn(kv[:, :, :heads], turns), kv[:, :, heads:]
    return _attend(q, k, v, call, name, or_others=implementation == "auto")


class _Call(NamedTuple):
    """How queries and keys meet; checked."""

    window: int | None
    query_offset: int
    query_stride: int
    scale: float
    dropout: float


def _triton(packed: Tensor, queries: Tensor | None, turns: Tensor, call: _Call) -> Tensor:
    length = packed.shape[1]
    span = length if call.window is None else min(call.window, length)
    where = (call.query_offset, call.query_stride)
    out: Tensor = rotary_attention_triton(packed, queries, turns, span, *where, call.scale)[0]
    return out


def _attend(q: Tensor, k: Tensor, v: Tensor, call: _Call, name: str, *, or_others: bool) -> Tensor:
    """Attention of what was turned; `or_others`: by whom does not matter in the end."""
    intervals = Intervals.causal() if call.window is None else Intervals.window(call.window)
    if name in sdpa.BACKENDS and or_others:
        span = Span(intervals, q.shape[1], k.shape[1], call.query_offset, call.query_stride)
        asked = sdpa.backends(name, or_others=True)
        return sdpa.attention(q, k, v, span, scale=call.scale, dropout=call.dropout, asked=asked)
    return attention(
        q,
        k,
        v,
        intervals=intervals,
        query_offset=call.query_offset,
        query_stride=call.query_stride,
        scale=call.scale,
        dropout=call.dropout,
        implementation="auto" if name == COMPOSED else cast(Implementation, name),
    )


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """`rotate`, on a GPU in one pass."""
    if x.device.type == "cuda" and runs_triton(x.device) and _triton_fits(x):
        refuse_forward_mode("rotary_attention", "turn_triton", x)
        out: Tensor = turn_triton(x, turns, False)
        return out
    return rotate(x, turns)


def _triton_fits(x: Tensor) -> bool:
    return x.dtype in launch.DTYPES and x.shape[3] <= launch.WIDEST


def _fastest(x: Tensor, mask: str, available: list[str]) -> str:
    return fastest(
        "rotary_attention",
        device=x.device,
        head_dim=x.shape[3],
        length=x.shape[1],
        mask=mask,
        available=[*available, COMPOSED],
    ).name


def _misfit(name: str, x: Tensor, dropout: float) -> str:
    takes = {
        "numba": f"float32 on the CPU, head widths that are multiples of {_LANES}",
        "triton": f"float32, bfloat16 and float16, head widths up to {launch.WIDEST}",
    }[name]
    return (
        f"implementation: {name!r} takes {takes} and no dropout; got {x.dtype} on {x.device}, "
        f"width {x.shape[3]}, dropout {dropout}"
    )


def _check(packed: Tensor, turns: Tensor, window: Any, *, parts: int) -> int | None:
    """Refuse what no implementation could compute; the window, checked."""
    name = {3: "qkv", 2: "kv"}[parts]
    check_floating(name, packed)
    check_tensor("turns", turns)
    shape = packed.shape
    if packed.ndim != 4 or shape[2] % parts or shape[3] % 2 or 0 in shape[2:]:
        raise ValueError(
            f"{name}: must be [B, T, {parts} H, D], H and D not 0, D even; got {list(shape)}"
        )
    expected = (shape[1], 2, shape[3])
    # Half-precision sines would tell no two neighbours apart after a few hundred positions.
    dtype = torch.promote_types(packed.dtype, torch.float32)
    if turns.shape != expected or turns.dtype != dtype or turns.device != packed.device:
        raise ValueError(
            f"turns: must be {dtype} {list(expected)} on {packed.device}; "
            f"got {turns.dtype} {list(turns.shape)} on {turns.device}"
        )
    return None if window is None else min(whole("window", window, least=1), LONGEST)
