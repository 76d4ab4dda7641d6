"""The backward of short rows: one program has every key of one head and makes all three gradients.

What two kernels would read and compute twice is read and computed once; thousands of short
sequences fill the machine without splitting any of them.

B batch rows, Q queries, T keys (at most BLOCK_N), H query heads, G key heads, D head width.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from adbench_kernels.interval_attention.triton.backward import prepare
from adbench_kernels.interval_attention.triton.tiles import load_rows, start_of, store_rows


@triton.jit(
    do_not_specialize=["key_heads", "num_queries", "num_keys", "width", "query_offset"],
)
def attention_short_backward(
    p_grad, p_q, p_k, p_v, p_out, p_lse, p_starts, p_dq, p_dk, p_dv,
    stride_gb, stride_gt, stride_gh, stride_qb, stride_qt, stride_qh,
    stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_ob, stride_ot, stride_oh, stride_sb, stride_st, stride_db, stride_dt, stride_dh,
    stride_xb, stride_xt, stride_xh, stride_yb, stride_yt, stride_yh,
    scale, scale_log2, key_heads, num_queries, num_keys, width, query_offset,
    QUERY_STRIDE: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dq (strides d) [B, Q, H, D]; dk (strides x), dv (strides y) [B, T, G, D]; GROUP = H / G."""
    pair = tl.program_id(0)
    row, head = (pair // key_heads).to(tl.int64), (pair % key_heads).to(tl.int64)
    o_key = tl.arange(0, BLOCK_N)
    # [BLOCK_N, BLOCK_D], both
    p_k += row * stride_kb + head * stride_kh
    b_k = load_rows(p_k, o_key, stride_kt, num_keys, True, D, BLOCK_D)
    p_v += row * stride_vb + head * stride_vh
    b_v = load_rows(p_v, o_key, stride_vt, num_keys, True, D, BLOCK_D)
    b_dk = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    b_dv = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    if p_starts is not None:
        p_starts += row * stride_sb

    for member in range(0, GROUP):
        head_q = head * GROUP + member
        p_qh = p_q + row * stride_qb + head_q * stride_qh
        p_gh = p_grad + row * stride_gb + head_q * stride_gh
        p_oh = p_out + row * stride_ob + head_q * stride_oh
        p_dh = p_dq + row * stride_db + head_q * stride_dh
        o_stat = (row * key_heads * GROUP + head_q) * num_queries
        for first in range(0, num_queries, BLOCK_M):
            o_query = first + tl.arange(0, BLOCK_M)
            m_query = o_query < num_queries
            # [BLOCK_M, BLOCK_D], all three
            b_q = load_rows(p_qh, o_query, stride_qt, num_queries, True, D, BLOCK_D)
            b_grad = load_rows(p_gh, o_query, stride_gt, num_queries, True, D, BLOCK_D)
            b_out = load_rows(p_oh, o_query, stride_ot, num_queries, True, D, BLOCK_D)
            b_lse = tl.load(p_lse + o_stat + o_query, mask=m_query, other=float("-inf"))
            b_lse2, b_delta = prepare(b_grad, b_out, b_lse)
            o_position = query_offset + o_query * QUERY_STRIDE
            b_start = start_of(p_starts, o_query, m_query, stride_st, o_position, width)
            b_end = tl.minimum(o_position, num_keys - 1)
            m_seen = (o_key[:, None] >= b_start[None, :]) & (o_key[:, None] <= b_end[None, :])
            # Keys by queries: dk and dv then take the weights as they are, dq alone turns them.
            b_s = tl.dot(b_k, tl.trans(b_q), input_precision="ieee")  # [BLOCK_N, BLOCK_M]
            b_p = tl.where(m_seen, tl.exp2(b_s * scale_log2 - b_lse2[None, :]), 0.0)
            b_dv = tl.dot(b_p.to(b_grad.dtype), b_grad, b_dv, input_precision="ieee")
            b_dp = tl.dot(b_v, tl.trans(b_grad), input_precision="ieee")
            b_ds = (b_p * (b_dp - b_delta[None, :])).to(b_q.dtype)
            b_dk = tl.dot(b_ds, b_q, b_dk, input_precision="ieee")
            b_dq = tl.dot(tl.trans(b_ds), b_k, input_precision="ieee")
            store_rows(p_dh, b_dq * scale, o_query, stride_dt, num_queries, D, BLOCK_D)

    p_dk += row * stride_xb + head * stride_xh
    store_rows(p_dk, b_dk * scale, o_key, stride_xt, num_keys, D, BLOCK_D)
    p_dv += row * stride_yb + head * stride_yh
    store_rows(p_dv, b_dv, o_key, stride_yt, num_keys, D, BLOCK_D)
