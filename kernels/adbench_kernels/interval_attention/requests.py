"""What a call of attention asks for: refused where it makes no sense, described where it does.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.choice import runs_triton
from adbench_kernels.interval_attention import sdpa
from adbench_kernels.interval_attention.intervals import Intervals, check_positions

EVERYTHING = 1 << 30
"""Width of a window that shows everything: longer than any row, whatever its length."""

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TRITON_WIDTH = 128
"""Head widths that the Triton kernels hold on chip; those between powers of two are padded."""


def check(
    q: Tensor, k: Tensor, v: Tensor, intervals: Intervals | None, offset: int, stride: int
) -> Intervals:
    """Refuse what no implementation could compute; intervals none: causal.

    Raises:
        ValueError: names the argument.
    """
    if q.ndim != 4 or 0 in q.shape[2:]:
        raise ValueError(f"q: must be [B, Q, H, D], H and D not 0; got {list(q.shape)}")
    if not q.is_floating_point():
        raise ValueError(f"q: must be floating; got {q.dtype}")
    for name, x in (("k", k), ("v", v)):
        if x.ndim != 4 or x.shape[0] != q.shape[0] or x.shape[3] != q.shape[3]:
            raise ValueError(
                f"{name}: must be [B={q.shape[0]}, T, G, D={q.shape[3]}]; got {list(x.shape)}"
            )
        check_like_q(name, x, q)
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


def check_backward(grad_out: Tensor, out: Tensor, lse: Tensor, q: Tensor) -> None:
    """Refuse what does not belong to the output of q.

    Raises:
        ValueError: names the argument.
    """
    for name, value in (("grad_out", grad_out), ("out", out)):
        if value.shape != q.shape:
            raise ValueError(f"{name}: must be {list(q.shape)}, as q; got {list(value.shape)}")
        check_like_q(name, value, q)
    expected = (q.shape[0], q.shape[2], q.shape[1])
    dtype = torch.promote_types(q.dtype, torch.float32)
    if lse.shape != expected or lse.dtype != dtype or lse.device != q.device:
        raise ValueError(
            f"lse: must be {dtype} [B, H, Q] = {list(expected)} on {q.device}; "
            f"got {lse.dtype} {list(lse.shape)} on {lse.device}"
        )


def check_like_q(name: str, x: Tensor, q: Tensor) -> None:
    """Refuse another dtype or device than q's.

    Raises:
        ValueError: names the argument.
    """
    if x.dtype != q.dtype or x.device != q.device:
        raise ValueError(
            f"{name}: must be {q.dtype} on {q.device}, as q; got {x.dtype} on {x.device}"
        )


def check_support(
    name: str, q: Tensor, k: Tensor, v: Tensor, *, dropout: float = 0.0, return_lse: bool = False
) -> None:
    """Refuse what this implementation, and no other, lacks.

    Raises:
        ValueError: names the argument.
    """
    if name in ("blocked", "triton") and dropout:
        raise ValueError(f"dropout: {name!r} has none; use 'auto', 'reference' or an 'sdpa-' one")
    if name in sdpa.BACKENDS and return_lse:
        raise ValueError(
            "return_lse: SDPA gives none; use 'auto', 'reference', 'blocked' or 'triton'"
        )
    if name != "triton":
        return
    if q.dtype not in TRITON_DTYPES:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in TRITON_DTYPES)
        raise ValueError(f"q: 'triton' takes {known}; got {q.dtype}")
    if q.shape[3] > TRITON_WIDTH:
        raise ValueError(f"q: 'triton' takes head widths D up to {TRITON_WIDTH}; got {q.shape[3]}")
    for argument, x in (("q", q), ("k", k), ("v", v)):
        if not _has_whole_rows(x):
            raise ValueError(
                f"{argument}: 'triton' reads rows in place, which takes a last stride of 1; "
                f"got strides {x.stride()}. Give it {argument}.contiguous()"
            )


def mask_kind(intervals: Intervals, num_keys: int, offset: int, stride: int) -> str:
    """One of `adbench_kernels.choice.MASKS`."""
    if sdpa.is_plain_causal(intervals, num_keys, offset, stride):
        return "causal"
    if stride != 1:
        return "strided"
    if intervals.kv_start is not None:
        return "interval"
    return "strided" if intervals.width is None or intervals.width >= num_keys else "window"


def serving(
    q: Tensor, k: Tensor, v: Tensor, *, plain: bool, dropout: float = 0.0, return_lse: bool = False
) -> tuple[str, ...]:
    """What can serve a call on its device, for "auto" to choose from.

    Args:
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        plain: the mask is plainly causal.
        dropout: probability.
        return_lse: the lse is wanted too.
    """
    found = []
    if runs_triton(q.device) and not dropout and _fits_triton(q, k, v):
        found.append("triton")
    if not return_lse:
        found.append("sdpa")  # the backend that torch prefers
        if q.device.type == "cuda" and plain:
            found.append("sdpa-efficient")
            if q.element_size() == 2 and q.shape[3] % 8 == 0:
                found += ["sdpa-flash", "sdpa-cudnn"]
    found.append("reference" if dropout else "blocked")
    return tuple(found)


def _fits_triton(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        q.dtype in TRITON_DTYPES
        and q.shape[3] <= TRITON_WIDTH
        and all(_has_whole_rows(x) for x in (q, k, v))
    )


def _has_whole_rows(x: Tensor) -> bool:
    return x.stride(3) == 1 or x.shape[3] == 1 or x.numel() == 0


def cast(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What torch.autocast does to the inputs of its own attention; nothing where it is off."""
    device = q.device.type
    if device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return q, k, v
    dtype = torch.get_autocast_dtype(device)
    lower = [x.to(dtype) if _is_cast(x) and x.device == q.device else x for x in (q, k, v)]
    return lower[0], lower[1], lower[2]


def _is_cast(x: Tensor) -> bool:
    return x.is_floating_point() and x.dtype != torch.float64
