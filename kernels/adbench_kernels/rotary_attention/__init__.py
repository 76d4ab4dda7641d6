"""Causal attention of packed queries, keys and values with rotary positions, in one pass.

B rows, T tokens, H heads, D head width, W window. `reference.py` is the definition. Packed input
saves the copies between a projection and attention; turning on the way in saves the reads and
writes that rotary positions cost on their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, installed, require
from adbench_kernels.interval_attention import Intervals, attention
from adbench_kernels.rotary_attention import reference
from adbench_kernels.rotary_attention.library import rotary_attention_cpu
from adbench_kernels.rotary_attention.turns import rotary_turns, rotate

__all__ = ["rotary_attention", "rotary_turns", "rotate"]

_LANES = 16
_OF_ATTENTION = ("blocked", "sdpa-math", "sdpa-efficient", "sdpa-flash", "sdpa-cudnn")
_PROVIDED = dict.fromkeys(("reference", "numba", *_OF_ATTENTION))


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
        dropout: probability with which an attention weight is dropped ("numba" has none).
        implementation: "auto" takes "numba" for float32 on the CPU where D is a multiple of 16,
            else `rotate` and then what `attention` takes. Another name runs that or raises.

    Returns:
        [B, T, H, D] in qkv's dtype.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    _check(qkv, turns, window)
    width = qkv.shape[3]
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    fits = qkv.device.type == "cpu" and qkv.dtype == torch.float32 and width % _LANES == 0
    if implementation == "auto":
        if fits and dropout == 0.0 and installed("numba"):
            return _vector(qkv, turns, window, factor)
        return _composed(qkv, turns, window, factor, dropout, implementation)
    require(implementation, op="rotary_attention", provided=_PROVIDED, device=qkv.device)
    if implementation == "reference":
        return reference.rotary_attention(qkv, turns, window, factor, dropout)
    if implementation != "numba":
        return _composed(qkv, turns, window, factor, dropout, implementation)
    if not fits or dropout:
        raise ValueError(
            f"implementation: 'numba' takes float32 on the CPU, head widths that are multiples of "
            f"{_LANES} and no dropout; got {qkv.dtype} on {qkv.device}, width {width}, dropout "
            f"{dropout}"
        )
    return _vector(qkv, turns, window, factor)


def _vector(qkv: Tensor, turns: Tensor, window: int | None, scale: float) -> Tensor:
    length = qkv.shape[1]
    span = length if window is None else min(window, length)
    out: Tensor = rotary_attention_cpu(qkv, turns, span, scale)[0]
    return out


def _composed(
    qkv: Tensor,
    turns: Tensor,
    window: int | None,
    scale: float,
    dropout: float,
    implementation: Implementation,
) -> Tensor:
    heads = qkv.shape[2] // 3
    # Queries and keys are turned together: one pass over memory instead of two.
    q, k = rotate(qkv[:, :, : 2 * heads], turns).chunk(2, 2)
    return attention(
        q,
        k,
        qkv[:, :, 2 * heads :],
        intervals=None if window is None else Intervals.window(window),
        scale=scale,
        dropout=dropout,
        implementation=implementation,
    )


def _check(qkv: Tensor, turns: Tensor, window: int | None) -> None:
    if qkv.ndim != 4 or qkv.shape[2] % 3 or qkv.shape[3] % 2 or 0 in qkv.shape:
        raise ValueError(
            f"qkv: must be [B, T, 3 H, D], D even, none of them 0; got {list(qkv.shape)}"
        )
    if not qkv.is_floating_point():
        raise ValueError(f"qkv: must be floating; got {qkv.dtype}")
    expected = (qkv.shape[1], 2, qkv.shape[3])
    # Half-precision sines would tell no two neighbours apart after a few hundred positions.
    dtype = torch.promote_types(qkv.dtype, torch.float32)
    if turns.shape != expected or turns.dtype != dtype or turns.device != qkv.device:
        raise ValueError(
            f"turns: must be {dtype} {list(expected)} on {qkv.device}; "
            f"got {turns.dtype} {list(turns.shape)} on {turns.device}"
        )
    if window is not None and window < 1:
        raise ValueError(f"window: holds at least the query itself; got {window}")
