"""From tensors to launches: allocates, takes strides and tiles, starts the kernels.

Plain functions, without autograd, that also run on `meta` tensors, where nothing is launched but a
compiler may look on. Nothing here waits for the device.

B batch rows, Q queries, T keys, H query heads, G key heads (H a multiple of G), D head width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.choice import arch
from adbench_kernels.configs import Tile, tile
from adbench_kernels.devices import LAUNCH_OPTIONS, launching_on
from adbench_kernels.interval_attention.triton.backward import (
    attention_dkdv,
    attention_dq,
    attention_spans,
)
from adbench_kernels.interval_attention.triton.forward import attention_forward
from adbench_kernels.interval_attention.triton.short import attention_short_backward

SHORT, SHORT_WIDTH = 128, 64
"""Keys a row and head width, up to which one program makes all three gradients: wider ones, summed
for 128 keys, do not fit a GPU's registers."""

CACHE_BYTES = 16 << 20
"""What programs that run side by side may share: under half of the L2 cache of an A100 or H100."""

_SPAN_BLOCKS = 128  # key blocks a program searches for
_MAX_OFFSET = 2**31 - 1
_MAX_ROWS = 256  # of any tile


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kv_start: Tensor | None,
    width: int,
    query_offset: int,
    query_stride: int,
    scale: float,
    *,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention and its lse.

    Args:
        q: float32, float16 or bfloat16 [B, Q, H, D], D at most 128; read in place where its last
            stride is 1, as k and v.
        k: [B, T, G, D], same type.
        v: [B, T, G, D], same type.
        kv_start: first key that a query sees, int32 [B, Q], any strides; none: `width` alone says.
        width: a query sees at most its own position and `width - 1` before it.
        query_offset: position of query 0 among the keys; of a part of the keys, positions may lie
            before the first of them (below 0) and after the last.
        query_stride: positions between queries.
        scale: multiplies the scores.
        out: where to write the output, its last stride 1; none: a new tensor.

    Returns:
        out [B, Q, H, D], contiguous if it is new, in q's dtype, and lse [B, H, Q], natural log,
        float32.
    """
    batch, queries, heads, head_dim = q.shape
    keys, key_heads = k.shape[1:3]
    out = _target("out", out, q)
    lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
    if lse.numel() == 0:
        return out, lse
    q, k, v, scale, _ = _operands(q, k, v, scale)
    block = _tile("attention_forward", q, keys)
    blocks = math.ceil(queries / block.block_m)
    with launching_on(q.device):
        attention_forward[(blocks * batch * heads,)](
            q, k, v, kv_start, out, lse,
            *_strides(q), *_strides(k), *_strides(v), *_start_strides(kv_start), *_strides(out),
            scale * math.log2(math.e), batch * heads, _together(k), heads, queries, keys, width,
            query_offset,
            QUERY_STRIDE=query_stride, GROUP=heads // key_heads, D=head_dim,
            BLOCK_D=_padded(head_dim), **_options(block),
        )  # fmt: skip
    return out, lse


def backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    kv_start: Tensor | None,
    width: int,
    query_offset: int,
    query_stride: int,
    scale: float,
    *,
    dq: Tensor | None = None,
    dk: Tensor | None = None,
    dv: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `forward`, from its output and lse, or those of a whole it was a part of.

    Args:
        grad_out: [B, Q, H, D], q's type.
        q: as `forward`.
        k: as `forward`.
        v: as `forward`.
        out: [B, Q, H, D], q's type.
        lse: float32 [B, H, Q].
        kv_start: as `forward`.
        width: as `forward`.
        query_offset: as `forward`.
        query_stride: as `forward`.
        scale: as `forward`.
        dq: where to write the gradient of q, its last stride 1, for instance a part of a packed
            gradient; none: a new tensor. Every element is written.
        dk: the same, of k.
        dv: the same, of v.

    Returns:
        dq [B, Q, H, D], dk [B, T, G, D], dv [B, T, G, D], in q's dtype.
    """
    dq, dk, dv = _target("dq", dq, q), _target("dk", dk, k), _target("dv", dv, v)
    if dq.numel() == 0:
        return dq, dk.zero_(), dv.zero_()
    q, k, v, scale, turned = _operands(q, k, v, scale)
    given = (_rows(grad_out), q, k, v, _rows(out), lse.contiguous(), kv_start)
    geometry = (width, query_offset, query_stride, scale)
    with launching_on(q.device):
        if k.shape[1] <= SHORT and k.shape[3] <= SHORT_WIDTH:
            _short(*given, *geometry, dq, dk, dv)
        else:
            _long(*given, *geometry, dq, dk, dv)
    if turned:
        dq.neg_()
    return dq, dk, dv


def _short(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
    kv_start: Tensor | None, width: int, query_offset: int, query_stride: int, scale: float,
    dq: Tensor, dk: Tensor, dv: Tensor,
) -> None:  # fmt: skip
    batch, queries, heads, head_dim = q.shape
    keys, key_heads = k.shape[1:3]
    block = _tile("attention_short_backward", q, keys)
    attention_short_backward[(batch * key_heads,)](
        grad_out, q, k, v, out, lse, kv_start, dq, dk, dv,
        *_strides(grad_out), *_strides(q), *_strides(k), *_strides(v), *_strides(out),
        *_start_strides(kv_start), *_strides(dq), *_strides(dk), *_strides(dv),
        scale, scale * math.log2(math.e), key_heads, queries, keys, width, query_offset,
        QUERY_STRIDE=query_stride, GROUP=heads // key_heads, D=head_dim,
        BLOCK_D=_padded(head_dim), **_options(short_tile(block, keys)),
    )  # fmt: skip


def _long(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
    kv_start: Tensor | None, width: int, query_offset: int, query_stride: int, scale: float,
    dq: Tensor, dk: Tensor, dv: Tensor,
) -> None:  # fmt: skip
    batch, queries, heads, head_dim = q.shape
    keys, key_heads = k.shape[1:3]
    starts = _start_strides(kv_start)
    scales = (scale, scale * math.log2(math.e))
    shape: dict[str, Any] = {
        "QUERY_STRIDE": query_stride, "GROUP": heads // key_heads,
        "D": head_dim, "BLOCK_D": _padded(head_dim),
    }  # fmt: skip
    lse2, delta = torch.empty(2, *lse.shape, dtype=torch.float32, device=q.device).unbind(0)
    block = _tile("attention_dq", q, keys)
    attention_dq[(math.ceil(queries / block.block_m) * batch * heads,)](
        grad_out, q, k, v, out, lse, kv_start, dq, lse2, delta,
        *_strides(grad_out), *_strides(q), *_strides(k), *_strides(v), *_strides(out),
        *starts, *_strides(dq),
        *scales, batch * heads, _together(k), heads, queries, keys, width, query_offset,
        **shape, **_options(block),
    )  # fmt: skip
    block = _tile("attention_dkdv", q, keys)
    blocks = math.ceil(keys / block.block_n)
    spans = None if kv_start is None else _spans(kv_start, keys, blocks, block.block_n)
    attention_dkdv[(blocks * batch * key_heads,)](
        grad_out, q, k, v, lse2, delta, kv_start, spans, dk, dv,
        *_strides(grad_out), *_strides(q), *_strides(k), *_strides(v),
        *starts, *_strides(dk), *_strides(dv),
        *scales, batch * key_heads, _together(q), key_heads, queries, keys, width, query_offset,
        **shape, **_options(block),
    )  # fmt: skip


def _spans(kv_start: Tensor, keys: int, blocks: int, block_n: int) -> Tensor:
    """Which queries see something of each block of keys: found on the device, once a batch row."""
    batch, queries = kv_start.shape
    spans = torch.empty(batch, blocks, 2, dtype=torch.int32, device=kv_start.device)
    chunks = math.ceil(blocks / _SPAN_BLOCKS)
    attention_spans[(batch * chunks,)](
        kv_start, spans, *kv_start.stride(), chunks, blocks, queries, keys, queries.bit_length(),
        BLOCK_N=block_n, BLOCK=_SPAN_BLOCKS, num_warps=4, num_stages=1, **LAUNCH_OPTIONS,
    )  # fmt: skip
    return spans


def short_tile(block: Tile, keys: int) -> Tile:
    """The tile of a row whose keys fill no more than half of it: half the keys, half the warps."""
    while keys <= block.block_n // 2 and block.block_n > 16:
        block = block._replace(
            block_m=min(block.block_m, max(block.block_n // 2, 16)),
            block_n=block.block_n // 2,
            num_warps=max(block.num_warps // 2, 4),
        )
    return block._replace(block_n=max(block.block_n, _padded(keys)))


def _operands(
    q: Tensor, k: Tensor, v: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor, float, bool]:
    """Inputs as the kernels take them: rows in one piece, a scale that is not negative."""
    # The kernels scale the largest score, which a negative factor would make the smallest.
    turned = scale < 0
    return _rows(-q if turned else q), _rows(k), _rows(v), abs(scale), turned


def _rows(x: Tensor) -> Tensor:
    """The same tensor where a kernel can address it, else a contiguous copy."""
    fits = x.stride(3) == 1 and x.stride(1) * _MAX_ROWS <= _MAX_OFFSET
    return x if fits else x.contiguous()


def _target(name: str, given: Tensor | None, like: Tensor) -> Tensor:
    if given is None:
        return torch.empty(like.shape, dtype=like.dtype, device=like.device)
    if given.shape != like.shape or given.stride(3) != 1 or given.device != like.device:
        raise ValueError(
            f"{name}: must be {list(like.shape)} on {like.device} with last stride 1; "
            f"got {list(given.shape)} on {given.device} with strides {given.stride()}"
        )
    return given


def _strides(x: Tensor) -> tuple[int, ...]:
    return x.stride()[:3]


def _start_strides(kv_start: Tensor | None) -> tuple[int, ...]:
    return (0, 0) if kv_start is None else kv_start.stride()


def _padded(width: int) -> int:
    """The next power of two, at least 16: what a matrix instruction takes."""
    return max(16, 1 << (width - 1).bit_length())


def _tile(kernel: str, q: Tensor, keys: int) -> Tile:
    return tile(
        kernel,
        arch=arch(q.device),
        head_dim=q.shape[3],
        length=keys,
        dtype_bytes=q.element_size(),
    )


def _options(block: Tile) -> dict[str, Any]:
    return {
        "BLOCK_M": block.block_m,
        "BLOCK_N": block.block_n,
        "num_warps": block.num_warps,
        "num_stages": block.num_stages,
        **LAUNCH_OPTIONS,
    }


def _together(shared: Tensor) -> int:
    """Heads whose two shared tensors (keys and values, or queries and gradients) fit the cache."""
    return max(
        1, CACHE_BYTES // max(1, 2 * shared.shape[1] * shared.shape[3] * shared.element_size())
    )
