"""What a call of attention asks for: refused where it makes no sense, described where it does.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.arguments import check_floating, check_tensor, refuse_forward_mode
from adbench_kernels.choice import runs_triton
from adbench_kernels.interval_attention import sdpa
from adbench_kernels.interval_attention.intervals import Intervals
from adbench_kernels.interval_attention.positions import check_length, check_positions
from adbench_kernels.interval_attention.span import Span

NARROW = ("sdpa-flash", "sdpa-cudnn")
"""Back ends of SDPA that take 16-bit inputs alone on a GPU."""

TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TRITON_WIDTH = 128
"""Head widths that the Triton kernels hold on chip; those between powers of two are padded."""


def check(
    q: Tensor, k: Tensor, v: Tensor, intervals: Intervals | None, offset: int, stride: int
) -> Span:
    """Refuse what no implementation could compute; intervals none: causal.

    Raises:
        ValueError: names the argument.
    """
    check_floating("q", q)
    if q.ndim != 4 or 0 in q.shape[2:]:
        raise ValueError(f"q: must be [B, Q, H, D], H and D not 0; got {list(q.shape)}")
    for name, x in (("k", k), ("v", v)):
        check_tensor(name, x)
        if x.ndim != 4 or x.shape[0] != q.shape[0] or x.shape[3] != q.shape[3]:
            raise ValueError(
                f"{name}: must be [B={q.shape[0]}, T, G, D={q.shape[3]}]; got {list(x.shape)}"
            )
        check_like_q(name, x, q)
    if k.shape != v.shape:
        raise ValueError(f"v: must have k's shape {list(k.shape)}; got {list(v.shape)}")
    if k.shape[2] == 0 or q.shape[2] % k.shape[2]:
        raise ValueError(f"k: {k.shape[2]} key heads do not divide {q.shape[2]} query heads")
    check_length("k", k.shape[1])
    offset, stride = check_positions(q.shape[1], offset, stride)
    where = (q.shape[1], k.shape[1], offset, stride)
    if intervals is None:
        return Span(Intervals.causal(), *where)
    if not isinstance(intervals, Intervals):
        raise ValueError(f"intervals: must be Intervals or none; got a {type(intervals).__name__}")
    intervals.starts(q.shape[0], *where)
    if intervals.kv_start is not None and intervals.kv_start.device != q.device:
        raise ValueError(
            f"intervals: on {intervals.kv_start.device}, but q is on {q.device}; move the ids first"
        )
    return Span(intervals, *where)


def check_backward(grad_out: Tensor, out: Tensor, lse: Tensor, q: Tensor) -> None:
    """Refuse what does not belong to the output of q.

    Raises:
        ValueError: names the argument.
    """
    check_tensor("lse", lse)
    for name, value in (("grad_out", grad_out), ("out", out)):
        check_tensor(name, value)
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
    name: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    plain: bool,
    dropout: float = 0.0,
    return_lse: bool = False,
) -> None:
    """Refuse what this implementation, and no other, lacks.

    Args:
        name: of the implementation.
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        plain: the mask is plainly causal.
        dropout: probability.
        return_lse: the lse is wanted too.

    Raises:
        ValueError: names the argument.
    """
    if name in NARROW and q.device.type == "cuda" and q.element_size() != 2:
        raise ValueError(f"q: {name!r} takes float16 and bfloat16 on a GPU; got {q.dtype}")
    if name == "sdpa-flash" and q.device.type == "cuda" and not plain:
        raise ValueError(
            "implementation: 'sdpa-flash' knows no mask on a GPU but the plainly causal one; use "
            "'auto', 'triton' or 'sdpa-cudnn'"
        )
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
    found: list[str] = []
    if runs_triton(q.device) and not dropout and _fits_triton(q, k, v):
        found.append("triton")
    if not return_lse:
        found.append("sdpa")  # the back end that torch prefers
        if plain:
            found += named_backends(q)
    found.append("reference" if dropout else "blocked")
    return tuple(found)


def named_backends(q: Tensor) -> tuple[str, ...]:
    """Back ends of SDPA that torch may have for plainly causal queries q [B, Q, H, D] on a GPU.

    It may still refuse one, for reasons of its own (a batch of 2^16 rows, one key, a dropout that
    is no sixteenth): who was not asked for by name then needs another to fall through to.
    """
    if q.device.type != "cuda":
        return ()
    narrow = q.element_size() == 2 and q.shape[3] % 8 == 0
    return ("sdpa-efficient", *NARROW) if narrow else ("sdpa-efficient",)


def refuse_tangents(name: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse forward mode where the operators would drop it; those of torch say so themselves.

    Raises:
        RuntimeError: some input carries a tangent.
    """
    if name in ("blocked", "triton"):
        refuse_forward_mode("attention", name, q, k, v)


def _fits_triton(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        q.dtype in TRITON_DTYPES
        and q.shape[3] <= TRITON_WIDTH
        and all(_has_whole_rows(x) for x in (q, k, v))
    )


def _has_whole_rows(x: Tensor) -> bool:
    return x.stride(3) == 1 or x.shape[3] == 1 or x.numel() == 0


def cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What torch.autocast does to the inputs of its own attention; nothing where it is off."""
    first = tensors[0]
    device = first.device.type if isinstance(first, Tensor) else ""
    if device not in ("cpu", "cuda") or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(x.to(dtype) if _is_cast(x) and x.device == first.device else x for x in tensors)


def _is_cast(x: Tensor) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
