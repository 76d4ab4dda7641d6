"""Causal attention of packed queries, keys and values with rotary positions, in one pass.

B rows, T tokens, Q queries, H heads, D head width, W window. `reference.py` is the definition.
Packed input saves the copies between a projection and attention; turning on the way in saves the
reads and writes that rotary positions cost on their own (`kernel.py` says where that pays).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, fastest, installed, require, runs_triton
from adbench_kernels.interval_attention import Intervals, attention
from adbench_kernels.interval_attention.positions import check_among_keys
from adbench_kernels.rotary_attention import launch, reference
from adbench_kernels.rotary_attention.fused import rotary_attention_triton, turn_triton
from adbench_kernels.rotary_attention.library import rotary_attention_cpu
from adbench_kernels.rotary_attention.turns import rotary_turns, rotate

__all__ = ["rotary_attention", "rotary_turns", "rotate", "strided_rotary_attention"]

_LANES = 16
_OF_ATTENTION = ("blocked", "sdpa-math", "sdpa-efficient", "sdpa-flash", "sdpa-cudnn")
_PROVIDED = dict.fromkeys(("reference", "numba", "triton", *_OF_ATTENTION))
_PROVIDED_STRIDED = dict.fromkeys(("reference", "triton", *_OF_ATTENTION))


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
            `attention` knows, after turning; "auto" takes what was measured to be fastest.
            Another name runs that or raises.

    Returns:
        [B, T, H, D] in qkv's dtype.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    _check(qkv, turns, window, parts=3)
    heads, width = qkv.shape[2] // 3, qkv.shape[3]
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    if 0 in qkv.shape:
        return qkv[:, :, :heads].clone()
    vector = qkv.device.type == "cpu" and qkv.dtype == torch.float32 and width % _LANES == 0
    fits = {"numba": vector and not dropout, "triton": _triton_fits(qkv) and not dropout}
    name: Implementation = implementation
    if implementation == "auto":
        can = {"numba": installed("numba"), "triton": runs_triton(qkv.device)}
        available = [n for n in fits if fits[n] and can[n]]
        if available:
            mask = "causal" if window is None or window >= qkv.shape[1] else "window"
            name = _fastest(qkv, mask, available)
    else:
        require(name, op="rotary_attention", provided=_PROVIDED, device=qkv.device)
        if not fits.get(name, True):
            raise ValueError(_misfit(name, qkv, dropout))
    if name == "reference":
        return reference.rotary_attention(qkv, turns, window, factor, dropout)
    if name == "numba":
        span = qkv.shape[1] if window is None else min(window, qkv.shape[1])
        out: Tensor = rotary_attention_cpu(qkv, turns, span, factor)[0]
        return out
    if name == "triton":
        return _triton(qkv, None, turns, window, 0, 1, factor)
    # Queries and keys are turned together: one pass over memory instead of two.
    q, k = _turned(qkv[:, :, : 2 * heads], turns).chunk(2, 2)
    v = qkv[:, :, 2 * heads :]
    return _attend(q, k, v, window, 0, 1, factor, dropout, name)


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
    _check(kv, turns, window, parts=2)
    batch, length, heads, width = *kv.shape[:2], kv.shape[2] // 2, kv.shape[3]
    if q.ndim != 4 or (q.shape[0], q.shape[2], q.shape[3]) != (batch, heads, width):
        raise ValueError(
            f"q: must be [B={batch}, Q, H={heads}, D={width}], as kv has it; got {list(q.shape)}"
        )
    if q.dtype != kv.dtype or q.device != kv.device:
        raise ValueError(
            f"q: must be {kv.dtype} on {kv.device}, as kv; got {q.dtype} on {q.device}"
        )
    check_among_keys(q.shape[1], length, query_offset, query_stride)
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    if 0 in q.shape:
        return q.clone()
    fits = _triton_fits(kv) and not dropout
    name: Implementation = implementation
    if implementation == "auto":
        if fits and runs_triton(kv.device):
            name = _fastest(kv, "strided", ["triton"])
    else:
        require(name, op="strided_rotary_attention", provided=_PROVIDED_STRIDED, device=kv.device)
        if name == "triton" and not fits:
            raise ValueError(_misfit(name, kv, dropout))
    if name == "triton":
        return _triton(kv, q, turns, window, query_offset, query_stride, factor)
    last = query_offset + (q.shape[1] - 1) * query_stride
    asked = turns[query_offset : last + 1 : query_stride]
    turn = rotate if name == "reference" else _turned
    q, k, v = turn(q, asked), turn(kv[:, :, :heads], turns), kv[:, :, heads:]
    return _attend(q, k, v, window, query_offset, query_stride, factor, dropout, name)


def _triton(
    packed: Tensor,
    queries: Tensor | None,
    turns: Tensor,
    window: int | None,
    query_offset: int,
    query_stride: int,
    scale: float,
) -> Tensor:
    length = packed.shape[1]
    span = length if window is None else min(window, length)
    out: Tensor = rotary_attention_triton(
        packed, queries, turns, span, query_offset, query_stride, scale
    )[0]
    return out


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window: int | None,
    query_offset: int,
    query_stride: int,
    scale: float,
    dropout: float,
    implementation: Implementation,
) -> Tensor:
    return attention(
        q,
        k,
        v,
        intervals=None if window is None else Intervals.window(window),
        query_offset=query_offset,
        query_stride=query_stride,
        scale=scale,
        dropout=dropout,
        implementation=implementation,
    )


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """`rotate`, on a GPU in one pass."""
    if x.device.type == "cuda" and runs_triton(x.device) and x.dtype in launch.DTYPES:
        out: Tensor = turn_triton(x, turns, False)
        return out
    return rotate(x, turns)


def _triton_fits(x: Tensor) -> bool:
    return x.dtype in launch.DTYPES and x.shape[3] <= launch.WIDEST


def _fastest(x: Tensor, mask: str, available: list[str]) -> Implementation:
    chosen = fastest(
        "rotary_attention",
        device=x.device,
        head_dim=x.shape[3],
        length=x.shape[1],
        mask=mask,
        available=available,
    )
    return cast(Implementation, chosen.name)


def _misfit(name: str, x: Tensor, dropout: float) -> str:
    takes = {
        "numba": f"float32 on the CPU, head widths that are multiples of {_LANES}",
        "triton": f"float32, bfloat16 and float16, head widths up to {launch.WIDEST}",
    }[name]
    return (
        f"implementation: {name!r} takes {takes} and no dropout; got {x.dtype} on {x.device}, "
        f"width {x.shape[3]}, dropout {dropout}"
    )


def _check(packed: Tensor, turns: Tensor, window: int | None, *, parts: int) -> None:
    name = {3: "qkv", 2: "kv"}[parts]
    shape = packed.shape
    if packed.ndim != 4 or shape[2] % parts or shape[3] % 2 or 0 in shape[2:]:
        raise ValueError(
            f"{name}: must be [B, T, {parts} H, D], H and D not 0, D even; got {list(shape)}"
        )
    if not packed.is_floating_point():
        raise ValueError(f"{name}: must be floating; got {packed.dtype}")
    expected = (shape[1], 2, shape[3])
    # Half-precision sines would tell no two neighbours apart after a few hundred positions.
    dtype = torch.promote_types(packed.dtype, torch.float32)
    if turns.shape != expected or turns.dtype != dtype or turns.device != packed.device:
        raise ValueError(
            f"turns: must be {dtype} {list(expected)} on {packed.device}; "
            f"got {turns.dtype} {list(turns.shape)} on {turns.device}"
        )
    if window is not None and window < 1:
        raise ValueError(f"window: holds at least the query itself; got {window}")
