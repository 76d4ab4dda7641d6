"""Interval-causal attention in blocks of plain matrix products: what a CPU is fast at.

A block is a run of S queries of a few batch rows, with all the keys that any of them sees. Its
scores are made, used and forgotten while they are in cache, forward and backward, so no matrix of
Q * T is ever in memory and nothing outside the band is computed. Sums run in a fixed order.

B batch rows, Q queries, T keys, H query heads, G key heads, R = H / G, D head width; in a block
N = (rows in it) * G, S queries, L keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

BLOCK_QUERIES = 64
"""S. Fewer make the matrix products too thin; more compute too much outside the band."""
BLOCK_SCORES = 1 << 20
"""Scores of a block, N * R * S * L: two arrays of 4 MB, which stay in a CPU's last-level cache."""

LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class _Block:
    rows: slice  # of B
    queries: slice  # of Q
    keys: slice  # of T
    bias: Tensor  # 0 where a query sees a key, -inf elsewhere: [S, L] or [N, 1, S, L]


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kv_start: Tensor | None,
    width: int,
    query_offset: int,
    query_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attention and its lse.

    Args:
        q: [B, Q, H, D], any strides.
        k: [B, T, G, D].
        v: [B, T, G, D].
        kv_start: first key that a query sees, int32 [B, Q]; none: `width` alone says.
        width: a query sees at most its own position and `width - 1` before it.
        query_offset: position of query 0 among the keys.
        query_stride: positions between queries.
        scale: multiplies the scores.

    Returns:
        out [B, Q, H, D], contiguous, in q's dtype, and lse [B, H, Q], natural log, float32
        (float64 for float64 inputs).
    """
    batch, queries, heads, head_width = q.shape
    key_heads = k.shape[2]
    groups = heads // key_heads
    dtype = _compute_dtype(q)
    # exp2 is what CPUs and GPUs have an instruction sequence for: scores are taken in base 2.
    q_BGRQD = _query_heads(q, key_heads, dtype, factor=scale * LOG2_E)
    k_BGTD, v_BGTD = _key_heads(k, dtype), _key_heads(v, dtype)
    out = q.new_empty(batch, queries, heads, head_width)
    out_BGRQD = out.view(batch, queries, key_heads, groups, head_width).permute(0, 2, 3, 1, 4)
    lse_BGRQ = torch.empty(batch, key_heads, groups, queries, dtype=dtype, device=q.device)
    may_see_nothing = kv_start is not None
    for block in _blocks(q, k, kv_start, width, query_offset, query_stride):
        q_NMD = _block_queries(q_BGRQD, block)
        k_NLD = k_BGTD[block.rows, :, block.keys].flatten(0, 1)
        v_NLD = v_BGTD[block.rows, :, block.keys].flatten(0, 1)
        p_NML = torch.bmm(q_NMD, k_NLD.mT)
        _grouped(p_NML, groups).add_(block.bias)
        peak_NM1 = p_NML.amax(-1, keepdim=True)
        if may_see_nothing:
            peak_NM1.clamp_(min=torch.finfo(dtype).min)  # -inf - -inf would be NaN
        p_NML.sub_(peak_NM1).exp2_()
        total_NM1 = p_NML.sum(-1, keepdim=True)
        o_NMD = torch.bmm(p_NML, v_NLD)
        if may_see_nothing:
            o_NMD.div_(total_NM1.clamp(min=torch.finfo(dtype).tiny))
        else:
            o_NMD.div_(total_NM1)
        target_BGRSD = out_BGRQD[block.rows, :, :, block.queries]
        target_BGRSD.copy_(o_NMD.view(target_BGRSD.shape))
        target_BGRS = lse_BGRQ[block.rows, :, :, block.queries]
        target_BGRS.copy_((peak_NM1 + total_NM1.log2()).view(target_BGRS.shape))
    return out, lse_BGRQ.view(batch, heads, queries).div_(LOG2_E)


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `forward` by its output and lse.

    Args:
        grad_out: [B, Q, H, D].
        q: as `forward`.
        k: as `forward`.
        v: as `forward`.
        out: what `forward` gave.
        lse: what `forward` gave.
        kv_start: as `forward`.
        width: as `forward`.
        query_offset: as `forward`.
        query_stride: as `forward`.
        scale: as `forward`.

    Returns:
        dq [B, Q, H, D], dk [B, T, G, D], dv [B, T, G, D], contiguous, in q's dtype.
    """
    batch, queries, heads, head_width = q.shape
    key_heads = k.shape[2]
    groups = heads // key_heads
    dtype = _compute_dtype(q)
    q_BGRQD = _query_heads(q, key_heads, dtype, factor=scale * LOG2_E)
    g_BGRQD = _query_heads(grad_out, key_heads, dtype, factor=1.0)
    k_BGTD, v_BGTD = _key_heads(k, dtype), _key_heads(v, dtype)
    delta_BQH = (grad_out.to(dtype) * out.to(dtype)).sum(-1)
    delta_BGRQ = delta_BQH.mT.reshape(batch, key_heads, groups, queries)
    # A query that sees nothing has lse -inf; any finite shift gives it weights of 0.
    lse_BGRQ = (lse.to(dtype) * LOG2_E).view(batch, key_heads, groups, queries)
    lse_BGRQ = lse_BGRQ.masked_fill(lse_BGRQ.isneginf(), 0.0)
    dq = q.new_empty(batch, queries, heads, head_width)
    dq_BGRQD = dq.view(batch, queries, key_heads, groups, head_width).permute(0, 2, 3, 1, 4)
    dk_BGTD, dv_BGTD = torch.zeros_like(k_BGTD), torch.zeros_like(v_BGTD)
    for block in _blocks(q, k, kv_start, width, query_offset, query_stride):
        q_NMD, g_NMD = _block_queries(q_BGRQD, block), _block_queries(g_BGRQD, block)
        k_NLD = k_BGTD[block.rows, :, block.keys].flatten(0, 1)
        v_NLD = v_BGTD[block.rows, :, block.keys].flatten(0, 1)
        here = (block.rows, slice(None), slice(None), block.queries)
        p_NML = torch.bmm(q_NMD, k_NLD.mT)
        _grouped(p_NML, groups).add_(block.bias)
        p_NML.sub_(lse_BGRQ[here].reshape(len(q_NMD), -1, 1)).exp2_()
        ds_NML = torch.bmm(g_NMD, v_NLD.mT)
        ds_NML.sub_(delta_BGRQ[here].reshape(len(q_NMD), -1, 1)).mul_(p_NML)
        target_BGRSD = dq_BGRQD[here]
        target_BGRSD.copy_(torch.bmm(ds_NML, k_NLD).mul_(scale).view(target_BGRSD.shape))
        dk_BGTD[block.rows, :, block.keys].flatten(0, 1).baddbmm_(ds_NML.mT, q_NMD)
        dv_BGTD[block.rows, :, block.keys].flatten(0, 1).baddbmm_(p_NML.mT, g_NMD)
    # dk was summed over queries that already carry scale * log2(e).
    dk = dk_BGTD.transpose(1, 2).div(LOG2_E).to(k.dtype)
    return dq, dk.contiguous(), dv_BGTD.transpose(1, 2).to(v.dtype).contiguous()


def _compute_dtype(q: Tensor) -> torch.dtype:
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def _query_heads(x: Tensor, key_heads: int, dtype: torch.dtype, *, factor: float) -> Tensor:
    batch, queries, heads, width = x.shape
    x_BQGRD = x.reshape(batch, queries, key_heads, heads // key_heads, width)
    return x_BQGRD.permute(0, 2, 3, 1, 4).to(dtype).mul(factor).contiguous()


def _key_heads(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.transpose(1, 2).to(dtype).contiguous()


def _block_queries(x_BGRQD: Tensor, block: _Block) -> Tensor:
    return x_BGRQD[block.rows, :, :, block.queries].flatten(2, 3).flatten(0, 1)


def _grouped(p_NML: Tensor, groups: int) -> Tensor:
    return p_NML.view(p_NML.shape[0], groups, -1, p_NML.shape[2])


def _blocks(
    q: Tensor, k: Tensor, kv_start: Tensor | None, width: int, offset: int, stride: int
) -> Iterator[_Block]:
    batch, queries, heads = q.shape[:3]
    key_heads = k.shape[2]
    dtype = _compute_dtype(q)
    for first in range(0, queries, BLOCK_QUERIES):
        last = min(queries, first + BLOCK_QUERIES)
        stop = offset + (last - 1) * stride + 1
        start = max(0, offset + first * stride - width + 1)
        rows = max(1, BLOCK_SCORES // (heads * (last - first) * (stop - start)))
        for row in range(0, batch, rows):
            here = slice(row, min(batch, row + rows))
            at, back = slice(first, last), offset + first * stride
            if kv_start is None:
                bias = _band_bias(
                    last - first, stop - start, back - start, width, stride, dtype, str(q.device)
                )
                yield _Block(here, at, slice(start, stop), bias)
                continue
            begins = kv_start[here, at]
            from_key = start
            if begins.device.type == "cpu":  # elsewhere the loop would wait for the device
                from_key = min(max(start, int(begins[:, 0].min())), stop - 1)
            key = torch.arange(from_key, stop, device=q.device)
            position = back + stride * torch.arange(last - first, device=q.device)[:, None]
            seen_BSL = (key <= position) & (key > position - width) & (key >= begins[..., None])
            bias_BSL = torch.zeros(seen_BSL.shape, dtype=dtype, device=q.device)
            bias_BSL.masked_fill_(~seen_BSL, -torch.inf)
            bias_N1SL = bias_BSL.repeat_interleave(key_heads, dim=0)[:, None]
            yield _Block(here, at, slice(from_key, stop), bias_N1SL)


@lru_cache(maxsize=64)
def _band_bias(
    queries: int, keys: int, back: int, width: int, stride: int, dtype: torch.dtype, device: str
) -> Tensor:
    """0 inside the band and -inf outside, [queries, keys]; query 0 sits at key `back`."""
    position = back + stride * torch.arange(queries, device=device)[:, None]
    key = torch.arange(keys, device=device)
    seen = (key <= position) & (key > position - width)
    bias = torch.zeros(seen.shape, dtype=dtype, device=device)
    return bias.masked_fill_(~seen, -torch.inf)
