"""Interval-causal attention through torch's scaled_dot_product_attention.

The band is a mask of Q * T there, except for plain causal attention, which every backend knows.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adbench_kernels.interval_attention.intervals import Intervals

BACKENDS = {
    "sdpa-math": SDPBackend.MATH,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
}


def is_plain_causal(
    intervals: Intervals, num_keys: int, query_offset: int, query_stride: int
) -> bool:
    """Whether query i sits at key i and sees everything up to it: SDPA needs no mask for that."""
    sees_all = intervals.kv_start is None and (intervals.width or num_keys) >= num_keys
    return sees_all and query_offset == 0 and query_stride == 1


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    intervals: Intervals,
    *,
    query_offset: int,
    query_stride: int,
    scale: float,
    dropout: float,
    backend: SDPBackend | None,
) -> Tensor:
    """Attention by one of torch's backends, or (backend none) by the one that torch prefers.

    Args:
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        intervals: which keys a query sees.
        query_offset: position of query 0 among the keys.
        query_stride: positions between queries.
        scale: multiplies the scores.
        dropout: probability with which a weight is dropped.
        backend: the one to use.

    Returns:
        [B, Q, H, D].

    Raises:
        RuntimeError: torch's, when the backend does not support the inputs.
    """
    batch, queries, heads = q.shape[:3]
    keys, key_heads = k.shape[1:3]
    causal = is_plain_causal(intervals, keys, query_offset, query_stride)
    visible = None
    if causal:
        k, v = k[:, :queries], v[:, :queries]  # torch aligns queries with the first keys
    else:
        visible = intervals.visible(
            batch,
            queries,
            keys,
            query_offset=query_offset,
            query_stride=query_stride,
            device=q.device,
        )[:, None]
    if key_heads != heads:  # not every backend knows groups
        k, v = (x.repeat_interleave(heads // key_heads, dim=2) for x in (k, v))
    with nullcontext() if backend is None else sdpa_kernel(backend):
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=visible,
            dropout_p=dropout,
            is_causal=causal,
            scale=scale,
        ).transpose(1, 2)
    if visible is not None and intervals.kv_start is not None:
        # Backends differ in what a query that sees nothing gets; here it is 0, with gradient 0.
        out = torch.where(visible.any(-1).transpose(1, 2)[..., None], out, out.new_zeros(()))
    return out
