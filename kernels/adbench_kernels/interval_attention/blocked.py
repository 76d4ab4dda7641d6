"""Interval-causal attention in blocks of plain matrix products: what a CPU is fast at.

A block is one head of a few batch rows, a run of S of its queries and all the keys that any of them
sees. Its scores are made, used and forgotten while they are in cache, forward and backward: no
matrix of Q * T is ever in memory, and next to nothing outside the band is computed. Sums run in a
fixed order.

B batch rows, Q queries, T keys, H query heads, G key heads (H = G * R), D head width; in a block
N of the B rows, S of the Q queries, L of the T keys.
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
BLOCK_SCORES = 1 << 19
"""Scores of a block, N * S * L: 2 MB, which stay in a CPU's second or last-level cache."""

LOG2_E = math.log2(math.e)
# exp2 and log2 compile to short vector code everywhere, exp and log do not: scores, and the lse
# inside this module, are in base 2.


@dataclass(frozen=True)
class _Block:
    rows: slice  # of B
    queries: slice  # of Q
    keys: slice  # of T
    bias: Tensor  # 0 where a query sees a key, -inf elsewhere: [S, L] or [N, S, L]
    may_be_blind: bool  # some query may see no key


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
    batch, queries, heads, _width = q.shape
    dtype = _compute_dtype(q)
    q, k, v, out_dtype = q.to(dtype), k.to(dtype), v.to(dtype), q.dtype
    out = torch.empty(q.shape, dtype=dtype, device=q.device)
    lse_BHQ = torch.empty(batch, heads, queries, dtype=dtype, device=q.device)
    scores = _Workspace(q)
    for block in _blocks(q, k, kv_start, width, query_offset, query_stride):
        for head, key_head in _head_pairs(q, k):
            q_NSD, k_NLD = q[block.rows, block.queries, head], k[block.rows, block.keys, key_head]
            p_NSL = _scores(q_NSD, k_NLD, block, scale, scores)
            peak_NS1 = p_NSL.amax(-1, keepdim=True)
            if block.may_be_blind:  # -inf - -inf is NaN
                peak_NS1.clamp_(min=torch.finfo(dtype).min)
            p_NSL.sub_(peak_NS1).exp2_()
            total_NS1 = p_NSL.sum(-1, keepdim=True)
            lse_BHQ[block.rows, head, block.queries] = (peak_NS1 + total_NS1.log2())[..., 0]
            if block.may_be_blind:
                total_NS1.clamp_(min=torch.finfo(dtype).tiny)
            o_NSD = torch.bmm(p_NSL, v[block.rows, block.keys, key_head])
            torch.div(o_NSD, total_NS1, out=out[block.rows, block.queries, head])
    return out.to(out_dtype), lse_BHQ.div_(LOG2_E)


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
    """Gradients of `forward`, from its output and lse (`kernels/README.md`).

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
    batch, keys, key_heads, head_width = k.shape
    dtype = _compute_dtype(q)
    delta_BHQ = (grad_out.to(dtype) * out.to(dtype)).sum(-1).mT.contiguous()
    q, k, v, grad_out, out_dtype = *(x.to(dtype) for x in (q, k, v, grad_out)), q.dtype
    # A query that sees nothing has lse -inf; any finite shift gives it weights of 0.
    lse_BHQ = (lse.to(dtype) * LOG2_E).masked_fill_(lse.isneginf(), 0.0)
    dq = torch.empty(q.shape, dtype=dtype, device=q.device)
    # Key-major while they are summed: adding a run of keys is then one stretch of memory.
    dk_GBTD = torch.zeros(key_heads, batch, keys, head_width, dtype=dtype, device=q.device)
    dv_GBTD = torch.zeros_like(dk_GBTD)
    weights, slopes, sums = _Workspace(q), _Workspace(q), _Workspace(q)
    for block in _blocks(q, k, kv_start, width, query_offset, query_stride):
        for head, key_head in _head_pairs(q, k):
            queries_here = (block.rows, block.queries, head)
            q_NSD, g_NSD = q[queries_here], grad_out[queries_here]
            k_NLD, v_NLD = (x[block.rows, block.keys, key_head] for x in (k, v))
            p_NSL = _scores(q_NSD, k_NLD, block, scale, weights)
            p_NSL.sub_(lse_BHQ[block.rows, head, block.queries, None]).exp2_()
            sum_NLD = torch.bmm(p_NSL.mT, g_NSD, out=sums.view(k_NLD.shape))
            dv_GBTD[key_head, block.rows, block.keys].add_(sum_NLD)
            ds_NSL = torch.bmm(g_NSD, v_NLD.mT, out=slopes.view(p_NSL.shape))
            ds_NSL.sub_(delta_BHQ[block.rows, head, block.queries, None]).mul_(p_NSL)
            sum_NLD = torch.bmm(ds_NSL.mT, q_NSD, out=sums.view(k_NLD.shape))
            dk_GBTD[key_head, block.rows, block.keys].add_(sum_NLD)
            torch.mul(torch.bmm(ds_NSL, k_NLD), scale, out=dq[queries_here])
    dk = dk_GBTD.mul_(scale).permute(1, 2, 0, 3).to(out_dtype).contiguous()
    dv = dv_GBTD.permute(1, 2, 0, 3).to(out_dtype).contiguous()
    return dq.to(out_dtype), dk, dv


class _Workspace:
    """Memory that the blocks of one call take turns in: fresh pages cost as much as the work."""

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def view(self, shape: torch.Size) -> Tensor:
        """Uninitialised memory of a shape, valid until the next call."""
        if self._memory.numel() < shape.numel():
            self._memory = self._memory.new_empty(shape.numel())
        return self._memory[: shape.numel()].view(shape)


def _scores(
    q_NSD: Tensor, k_NLD: Tensor, block: _Block, scale: float, workspace: _Workspace
) -> Tensor:
    shape = torch.Size((*q_NSD.shape[:2], k_NLD.shape[1]))
    return torch.baddbmm(
        block.bias, q_NSD, k_NLD.mT, alpha=scale * LOG2_E, out=workspace.view(shape)
    )


def _compute_dtype(q: Tensor) -> torch.dtype:
    return torch.float64 if q.dtype == torch.float64 else torch.float32


def _head_pairs(q: Tensor, k: Tensor) -> Iterator[tuple[int, int]]:
    groups = q.shape[2] // k.shape[2]
    return ((head, head // groups) for head in range(q.shape[2]))


def _blocks(
    q: Tensor, k: Tensor, kv_start: Tensor | None, width: int, offset: int, stride: int
) -> Iterator[_Block]:
    (batch, queries), keys = q.shape[:2], k.shape[1]
    if batch == 0:
        return
    for first in range(0, queries, BLOCK_QUERIES):
        last = min(queries, first + BLOCK_QUERIES)
        position = offset + (last - 1) * stride  # of the last query
        stop = min(position + 1, keys)
        start = min(max(0, offset + first * stride - width + 1), stop - 1)
        may_be_blind = kv_start is not None or position - width + 1 >= keys
        most_rows = max(1, BLOCK_SCORES // ((last - first) * (stop - start)))
        rows = math.ceil(batch / math.ceil(batch / most_rows))  # evenly
        for row in range(0, batch, rows):
            here, at = slice(row, min(batch, row + rows)), slice(first, last)
            begins = None if kv_start is None else kv_start[here, at]
            from_key = start
            if begins is not None and begins.device.type == "cpu":
                # On a GPU this would wait for the device; there the block is a little larger.
                from_key = min(max(start, int(begins[:, 0].min())), stop - 1)
            geometry = (last - first, stop - from_key, offset + first * stride - from_key)
            bias = _band_bias(*geometry, width, stride, q.dtype, str(q.device))
            if begins is not None:
                key = torch.arange(from_key, stop, device=q.device)
                bias = bias.masked_fill(key < begins[:, :, None], -torch.inf)
            yield _Block(here, at, slice(from_key, stop), bias, may_be_blind)


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
