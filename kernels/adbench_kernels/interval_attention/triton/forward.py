"""The forward kernel: one program has a block of queries of one head and walks over their keys.

Softmax is taken as it goes (Milakov and Gimelshein 2018; Dao et al. 2022), in base 2, in float32:
a sum of thousands of weights would lose their low bits in 16. Tiles that every query of the block
sees whole, nearly all of a long row, are spared the mask.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from adbench_kernels.interval_attention.triton.tiles import (
    key_tiles,
    load_rows,
    place,
    start_of,
    store_rows,
)


@triton.jit
def _attend(
    b_q, b_peak, b_sum, b_acc, p_k, p_v, first, stride_kt, stride_vt, num_keys,
    b_start, b_end, scale_log2,
    MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Take one tile of keys into the running peak, sum and output of the block's queries."""
    o_n = tl.arange(0, BLOCK_N)
    row = tl.cast(first, tl.int64)
    # [BLOCK_N, BLOCK_D]
    b_k = load_rows(p_k + row * stride_kt, o_n, stride_kt, num_keys - first, MASKED, D, BLOCK_D)
    b_s = tl.dot(b_q, tl.trans(b_k), input_precision="ieee")  # [BLOCK_M, BLOCK_N]
    if MASKED:
        o_key = (first + o_n)[None, :]
        m_seen = (o_key >= b_start[:, None]) & (o_key <= b_end[:, None])
        b_s = tl.where(m_seen, b_s * scale_log2, float("-inf"))
        b_new = tl.maximum(b_peak, tl.max(b_s, 1))
        # A query that has seen nothing yet: -inf - -inf would be NaN.
        b_shift = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_p = tl.exp2(b_s - b_shift[:, None])
        b_fade = tl.exp2(b_peak - b_shift)
    else:
        b_new = tl.maximum(b_peak, tl.max(b_s, 1) * scale_log2)
        b_p = tl.exp2(b_s * scale_log2 - b_new[:, None])
        b_fade = tl.exp2(b_peak - b_new)
    b_sum = b_sum * b_fade + tl.sum(b_p, 1)
    # [BLOCK_N, BLOCK_D]
    b_v = load_rows(p_v + row * stride_vt, o_n, stride_vt, num_keys - first, MASKED, D, BLOCK_D)
    b_acc = tl.dot(b_p.to(b_v.dtype), b_v, b_acc * b_fade[:, None], input_precision="ieee")
    return b_new, b_sum, b_acc


# Lengths come in every size: a kernel for each that 16 divides, or that is 1, would be compiled.
@triton.jit(
    do_not_specialize=[
        "pairs", "together", "heads", "num_queries", "num_keys", "width", "query_offset",
    ]
)  # fmt: skip
def attention_forward(
    p_q, p_k, p_v, p_starts, p_out, p_lse,
    stride_qb, stride_qt, stride_qh, stride_kb, stride_kt, stride_kh,
    stride_vb, stride_vt, stride_vh, stride_sb, stride_st, stride_ob, stride_ot, stride_oh,
    scale_log2, pairs, together, heads, num_queries, num_keys, width, query_offset,
    QUERY_STRIDE: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Output [B, Q, H, D] and natural log-sum-exp float32 [B, H, Q]; GROUP = H / G."""
    blocks = tl.cdiv(num_queries, BLOCK_M)
    block, pair = place(blocks, pairs, together)
    first = (blocks - 1 - block) * BLOCK_M  # the last queries see most: they start first
    row, head = (pair // heads).to(tl.int64), (pair % heads).to(tl.int64)
    p_k += row * stride_kb + head // GROUP * stride_kh
    p_v += row * stride_vb + head // GROUP * stride_vh
    if p_starts is not None:
        p_starts += row * stride_sb

    o_m = tl.arange(0, BLOCK_M)
    o_query = first + o_m
    o_position = query_offset + o_query * QUERY_STRIDE
    m_query = o_query < num_queries
    # First and last key that each query sees.
    b_start = start_of(p_starts, o_query, m_query, stride_st, o_position, width)
    b_end = tl.minimum(o_position, num_keys - 1)
    first_row = first.to(tl.int64)
    # [BLOCK_M, BLOCK_D]
    p_q += row * stride_qb + head * stride_qh + first_row * stride_qt
    b_q = load_rows(p_q, o_m, stride_qt, num_queries - first, True, D, BLOCK_D)
    b_peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    b_sum = tl.zeros([BLOCK_M], tl.float32)
    b_acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)

    last = tl.minimum(first + BLOCK_M, num_queries) - 1
    edge, inside, diagonal, end = key_tiles(
        p_starts, first, last, stride_st, width, query_offset, num_keys, QUERY_STRIDE, BLOCK_N
    )
    # Both ends in one loop: the masked body is there once.
    for i in range(0, inside - edge + end - diagonal):
        tile = tl.where(i < inside - edge, edge + i, diagonal + i - (inside - edge))
        b_peak, b_sum, b_acc = _attend(
            b_q, b_peak, b_sum, b_acc, p_k, p_v, tile * BLOCK_N, stride_kt, stride_vt, num_keys,
            b_start, b_end, scale_log2, True, D, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    for tile in range(inside, diagonal):
        b_peak, b_sum, b_acc = _attend(
            b_q, b_peak, b_sum, b_acc, p_k, p_v, tile * BLOCK_N, stride_kt, stride_vt, num_keys,
            b_start, b_end, scale_log2, False, D, BLOCK_D, BLOCK_N,
        )  # fmt: skip

    m_saw = b_sum > 0.0
    b_sum = tl.where(m_saw, b_sum, 1.0)
    b_out = b_acc / b_sum[:, None]
    p_out += row * stride_ob + head * stride_oh + first_row * stride_ot
    store_rows(p_out, b_out, o_m, stride_ot, num_queries - first, D, BLOCK_D)
    # log2 to natural; a query that saw nothing has none.
    b_lse = tl.where(m_saw, (b_peak + tl.log2(b_sum)) * 0.6931471805599453, float("-inf"))
    p_lse += pair.to(tl.int64) * num_queries + first
    tl.store(p_lse + o_m, b_lse, mask=m_query)
