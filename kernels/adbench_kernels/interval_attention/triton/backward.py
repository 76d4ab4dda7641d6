"""The backward kernels: `attention_dq` walks over keys, `attention_dkdv` over queries.

Weights are made again from the log-sum-exp, tile by tile (`kernels/README.md` has the mathematics).
Each gradient is summed by one program in a fixed order: no atomics, the same bits in every run.
Sums are float32: a key of a long row collects a term from every query after it.

`attention_dq` runs first and leaves what `attention_dkdv` reads of each query: its log-sum-exp in
base 2, and delta, the dot product of the output and its gradient.

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
def prepare(b_grad, b_out, b_lse):
    """Of a block of queries: log-sum-exp in base 2, and delta; both [BLOCK_M]."""
    # A query that sees nothing anywhere: exp2(x - inf) is the weight of 0 that it needs.
    b_lse2 = tl.where(b_lse == float("-inf"), float("inf"), b_lse * 1.4426950408889634)
    return b_lse2, tl.sum(b_grad.to(tl.float32) * b_out.to(tl.float32), 1)


@triton.jit
def _query_step(
    b_q, b_grad, b_lse2, b_delta, b_dq, p_k, p_v, first, stride_kt, stride_vt, num_keys,
    b_start, b_end, scale_log2,
    MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """What one tile of keys adds to dq."""
    o_n = tl.arange(0, BLOCK_N)
    row = tl.cast(first, tl.int64)
    left = num_keys - first
    # [BLOCK_N, BLOCK_D], both
    b_k = load_rows(p_k + row * stride_kt, o_n, stride_kt, left, MASKED, D, BLOCK_D)
    b_v = load_rows(p_v + row * stride_vt, o_n, stride_vt, left, MASKED, D, BLOCK_D)
    b_s = tl.dot(b_q, tl.trans(b_k), input_precision="ieee")  # [BLOCK_M, BLOCK_N]
    b_p = tl.exp2(b_s * scale_log2 - b_lse2[:, None])
    if MASKED:
        o_key = (first + o_n)[None, :]
        m_seen = (o_key >= b_start[:, None]) & (o_key <= b_end[:, None])
        b_p = tl.where(m_seen, b_p, 0.0)
    b_dp = tl.dot(b_grad, tl.trans(b_v), input_precision="ieee")
    b_ds = b_p * (b_dp - b_delta[:, None])
    return tl.dot(b_ds.to(b_k.dtype), b_k, b_dq, input_precision="ieee")


@triton.jit(
    do_not_specialize=[
        "pairs", "together", "heads", "num_queries", "num_keys", "width", "query_offset",
    ]
)  # fmt: skip
def attention_dq(
    p_grad, p_q, p_k, p_v, p_out, p_lse, p_starts, p_dq, p_lse2, p_delta,
    stride_gb, stride_gt, stride_gh, stride_qb, stride_qt, stride_qh,
    stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_ob, stride_ot, stride_oh, stride_sb, stride_st, stride_db, stride_dt, stride_dh,
    scale, scale_log2, pairs, together, heads, num_queries, num_keys, width, query_offset,
    QUERY_STRIDE: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gradient of the queries [B, Q, H, D]; lse2 and delta, float32 [B, H, Q]."""
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
    left = num_queries - first
    # [BLOCK_M, BLOCK_D], all three
    p_q += row * stride_qb + head * stride_qh + first_row * stride_qt
    b_q = load_rows(p_q, o_m, stride_qt, left, True, D, BLOCK_D)
    p_grad += row * stride_gb + head * stride_gh + first_row * stride_gt
    b_grad = load_rows(p_grad, o_m, stride_gt, left, True, D, BLOCK_D)
    p_out += row * stride_ob + head * stride_oh + first_row * stride_ot
    b_out = load_rows(p_out, o_m, stride_ot, left, True, D, BLOCK_D)

    o_stat = pair.to(tl.int64) * num_queries + first + o_m
    b_lse = tl.load(p_lse + o_stat, mask=m_query, other=float("-inf"))
    b_lse2, b_delta = prepare(b_grad, b_out, b_lse)
    tl.store(p_lse2 + o_stat, b_lse2, mask=m_query)
    tl.store(p_delta + o_stat, b_delta, mask=m_query)

    b_dq = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    last = tl.minimum(first + BLOCK_M, num_queries) - 1
    edge, inside, diagonal, end = key_tiles(
        p_starts, first, last, stride_st, width, query_offset, num_keys, QUERY_STRIDE, BLOCK_N
    )
    for i in range(0, inside - edge + end - diagonal):
        tile = tl.where(i < inside - edge, edge + i, diagonal + i - (inside - edge))
        b_dq = _query_step(
            b_q, b_grad, b_lse2, b_delta, b_dq, p_k, p_v, tile * BLOCK_N, stride_kt, stride_vt,
            num_keys, b_start, b_end, scale_log2, True, D, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    for tile in range(inside, diagonal):
        b_dq = _query_step(
            b_q, b_grad, b_lse2, b_delta, b_dq, p_k, p_v, tile * BLOCK_N, stride_kt, stride_vt,
            num_keys, b_start, b_end, scale_log2, False, D, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    p_dq += row * stride_db + head * stride_dh + first_row * stride_dt
    store_rows(p_dq, b_dq * scale, o_m, stride_dt, left, D, BLOCK_D)


@triton.jit
def _key_step(
    b_k, b_v, b_dk, b_dv, p_q, p_grad, p_lse2, p_delta, p_starts, first, stop,
    stride_qt, stride_gt, stride_st, o_key, width, query_offset, scale_log2,
    MASKED: tl.constexpr, QUERY_STRIDE: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
):  # fmt: skip
    """What the queries first .. first + BLOCK_M - 1, those below `stop`, add to dk and dv."""
    o_m = tl.arange(0, BLOCK_M)
    row = tl.cast(first, tl.int64)
    o_query = first + o_m
    # [BLOCK_M, BLOCK_D], both
    b_q = load_rows(p_q + row * stride_qt, o_m, stride_qt, stop - first, MASKED, D, BLOCK_D)
    b_grad = load_rows(p_grad + row * stride_gt, o_m, stride_gt, stop - first, MASKED, D, BLOCK_D)
    if MASKED:
        m_query = o_query < stop
        # exp2(x - inf): queries that are not there have weights of 0
        b_lse2 = tl.load(p_lse2 + o_query, mask=m_query, other=float("inf"))
        b_delta = tl.load(p_delta + o_query, mask=m_query, other=0.0)
    else:
        b_lse2 = tl.load(p_lse2 + o_query)
        b_delta = tl.load(p_delta + o_query)
    b_s = tl.dot(b_k, tl.trans(b_q), input_precision="ieee")  # [BLOCK_N, BLOCK_M]
    b_p = tl.exp2(b_s * scale_log2 - b_lse2[None, :])
    if MASKED:
        o_position = query_offset + o_query * QUERY_STRIDE
        b_start = start_of(p_starts, o_query, m_query, stride_st, o_position, width)
        m_seen = (o_key[:, None] <= o_position[None, :]) & (o_key[:, None] >= b_start[None, :])
        b_p = tl.where(m_seen, b_p, 0.0)
    b_dv = tl.dot(b_p.to(b_grad.dtype), b_grad, b_dv, input_precision="ieee")
    b_dp = tl.dot(b_v, tl.trans(b_grad), input_precision="ieee")
    b_ds = b_p * (b_dp - b_delta[None, :])
    b_dk = tl.dot(b_ds.to(b_q.dtype), b_q, b_dk, input_precision="ieee")
    return b_dk, b_dv


@triton.jit(
    do_not_specialize=[
        "pairs", "together", "key_heads", "num_queries", "num_keys", "width", "query_offset",
    ]
)  # fmt: skip
def attention_dkdv(
    p_grad, p_q, p_k, p_v, p_lse2, p_delta, p_starts, p_spans, p_dk, p_dv,
    stride_gb, stride_gt, stride_gh, stride_qb, stride_qt, stride_qh,
    stride_kb, stride_kt, stride_kh, stride_vb, stride_vt, stride_vh,
    stride_sb, stride_st, stride_xb, stride_xt, stride_xh, stride_yb, stride_yt, stride_yh,
    scale, scale_log2, pairs, together, key_heads, num_queries, num_keys, width, query_offset,
    QUERY_STRIDE: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Gradients of keys (strides x) and values (strides y), [B, T, G, D]; GROUP = H / G."""
    blocks = tl.cdiv(num_keys, BLOCK_N)
    block, pair = place(blocks, pairs, together)  # early keys are seen most: they start first
    row, head = (pair // key_heads).to(tl.int64), (pair % key_heads).to(tl.int64)
    first = block * BLOCK_N
    first_row = first.to(tl.int64)
    left = num_keys - first
    o_n = tl.arange(0, BLOCK_N)
    # [BLOCK_N, BLOCK_D], both
    p_k += row * stride_kb + head * stride_kh + first_row * stride_kt
    b_k = load_rows(p_k, o_n, stride_kt, left, True, D, BLOCK_D)
    p_v += row * stride_vb + head * stride_vh + first_row * stride_vt
    b_v = load_rows(p_v, o_n, stride_vt, left, True, D, BLOCK_D)
    b_dk = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    b_dv = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)

    # Queries low .. high - 1 see some key of the block; of these, whole .. fade - 1 see them all.
    # Numerators are kept from below 0, where division rounds another way.
    last = tl.minimum(first + BLOCK_N, num_keys) - 1
    low = tl.maximum(first - query_offset + QUERY_STRIDE - 1, 0) // QUERY_STRIDE
    whole = tl.maximum(last - query_offset + QUERY_STRIDE - 1, 0) // QUERY_STRIDE
    high = tl.maximum(last + width - 1 - query_offset + QUERY_STRIDE, 0) // QUERY_STRIDE
    fade = tl.maximum(first + width - 1 - query_offset + QUERY_STRIDE, 0) // QUERY_STRIDE
    high, fade = tl.minimum(high, num_queries), tl.minimum(fade, num_queries)
    if p_starts is not None:
        p_starts += row * stride_sb
        p_spans += (row * blocks + block) * 2
        fade = tl.minimum(fade, tl.load(p_spans))
        high = tl.minimum(high, tl.load(p_spans + 1))
    low = tl.minimum(low, high)
    whole = tl.minimum(tl.maximum(whole, low), high)
    inside = tl.maximum(fade - whole, 0) // BLOCK_M
    edge = tl.cdiv(whole - low, BLOCK_M)
    rest = whole + inside * BLOCK_M
    tail = tl.cdiv(high - rest, BLOCK_M)

    for member in range(0, GROUP):
        head_q = head * GROUP + member
        p_qh = p_q + row * stride_qb + head_q * stride_qh
        p_gh = p_grad + row * stride_gb + head_q * stride_gh
        o_stat = (row * key_heads * GROUP + head_q) * num_queries
        # Both ends in one loop: the masked body is there once. Loads ahead of two loops inside a
        # third would take more registers than there are.
        for i in tl.range(0, edge + tail, num_stages=1):
            begin = tl.where(i < edge, low + i * BLOCK_M, rest + (i - edge) * BLOCK_M)
            stop = tl.where(i < edge, whole, high)
            b_dk, b_dv = _key_step(
                b_k, b_v, b_dk, b_dv, p_qh, p_gh, p_lse2 + o_stat, p_delta + o_stat, p_starts,
                begin, stop, stride_qt, stride_gt, stride_st, first + o_n, width, query_offset,
                scale_log2, True, QUERY_STRIDE, D, BLOCK_D, BLOCK_M,
            )  # fmt: skip
        for i in range(0, inside):
            b_dk, b_dv = _key_step(
                b_k, b_v, b_dk, b_dv, p_qh, p_gh, p_lse2 + o_stat, p_delta + o_stat, p_starts,
                whole + i * BLOCK_M, rest, stride_qt, stride_gt, stride_st, first + o_n, width,
                query_offset, scale_log2, False, QUERY_STRIDE, D, BLOCK_D, BLOCK_M,
            )  # fmt: skip

    p_dk += row * stride_xb + head * stride_xh + first_row * stride_xt
    store_rows(p_dk, b_dk * scale, o_n, stride_xt, left, D, BLOCK_D)
    p_dv += row * stride_yb + head * stride_yh + first_row * stride_yt
    store_rows(p_dv, b_dv, o_n, stride_yt, left, D, BLOCK_D)


@triton.jit(do_not_specialize=["chunks", "blocks", "num_queries", "num_keys", "steps"])
def attention_spans(
    p_starts, p_spans, stride_sb, stride_st, chunks, blocks, num_queries, num_keys, steps,
    BLOCK_N: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Queries that start at or before the first, and the last, key of each block: [B, blocks, 2].

    Starts never decrease, so each count is a binary search, `steps` halvings long.
    """
    row = (tl.program_id(0) // chunks).to(tl.int64)
    o_block = tl.program_id(0) % chunks * BLOCK + tl.arange(0, BLOCK)
    p_starts += row * stride_sb
    first = o_block * BLOCK_N
    for end in tl.static_range(2):
        key = first
        if end == 1:
            key = tl.minimum(first + BLOCK_N, num_keys) - 1
        b_low = tl.zeros([BLOCK], tl.int32)
        b_high = b_low + num_queries
        for _ in range(0, steps):
            b_middle = (b_low + b_high) // 2
            m_open = b_low < b_high
            # A row of starts may be longer than 2^31 elements.
            b_start = tl.load(p_starts + b_middle.to(tl.int64) * stride_st, mask=m_open, other=0)
            m_above = b_start <= key
            b_low = tl.where(m_open & m_above, b_middle + 1, b_low)
            b_high = tl.where(m_open & ~m_above, b_middle, b_high)
        tl.store(p_spans + (row * blocks + o_block) * 2 + end, b_low, mask=o_block < blocks)
