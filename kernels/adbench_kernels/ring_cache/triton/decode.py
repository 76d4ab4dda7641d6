"""The decode kernel: the newest tokens of a lane attend to the last W, their cache read once.

A program has one part of the tokens that one key head of one lane shows. Its queries are all n new
tokens of all R query heads that share the key head: they fill the rows of one matrix product, so
keys and values are read once for all of them (once for every BLOCK_M rows, if there are more).
Parts are of equal size whatever else is in the batch, so a lane's outcome does not depend on its
neighbours, bit for bit.

B lanes, n new tokens, C slots, H query heads, G key heads (H = G * R), D head width, W window, S
parts. Tokens are numbered from the oldest that any of the queries sees: they lie in slots from
`start` on, around the ring's end at most once, because no more than W + n - 1 <= C are seen.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from adbench_kernels.ring_cache.triton.append import load_turned


@triton.jit(do_not_specialize=["capacity", "window", "part_tokens"])
def ring_decode(
    p_q, p_turns, p_keys, p_values, p_length, p_count, p_out, p_lse,
    stride_qb, stride_qn, stride_qh, scale_log2, capacity, window, part_tokens,
    NEW: tl.constexpr, KEY_HEADS: tl.constexpr, GROUP: tl.constexpr,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Output [B, n, H, D]; or, where there is `p_lse`, this part's output and log-sum-exp.

    Those are float32 [B * G, S, n * R, D] and [B * G, S, n * R], the latter in base 2.
    """
    unit = tl.program_id(0).to(tl.int64)
    lane, g = unit // KEY_HEADS, unit % KEY_HEADS
    length, count = tl.load(p_length + lane), tl.load(p_count + lane)
    first = length - count  # the first new token's number since the reset
    oldest = tl.maximum(first - window + 1, 0)
    start = (oldest % capacity).to(tl.int32)
    part = tl.program_id(1)
    low = part * part_tokens
    high = tl.minimum(low + part_tokens, (length - oldest).to(tl.int32))
    high = tl.where(count > 0, high, low)  # who waits reads nothing

    row = tl.program_id(2) * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n, o_r = row // GROUP, row % GROUP
    m_row = (row < NEW * GROUP) & (o_n < count)
    o_newest = (first - oldest).to(tl.int32) + o_n  # each query's own token
    o_q = lane * stride_qb + o_n.to(tl.int64) * stride_qn + (g * GROUP + o_r) * stride_qh
    # [BLOCK_M, BLOCK_D]
    b_q = load_turned(p_q, o_q, p_turns, (lane * NEW + o_n) * (2 * D), m_row, D, BLOCK_D)

    o_d = tl.arange(0, BLOCK_D)
    p_keys += unit * capacity * D
    p_values += unit * capacity * D
    # Running peak, sum and output in float32: 16 bits would lose the small ones of many weights.
    b_peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    b_sum = tl.zeros([BLOCK_M], tl.float32)
    b_acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for at in range(low, high, BLOCK_N):
        o_token = at + tl.arange(0, BLOCK_N)
        o_slot = start + o_token
        o_slot = tl.where(o_slot < capacity, o_slot, o_slot - capacity).to(tl.int64)
        # What nobody sees is not read: a slot never written may hold anything.
        m_kv = (o_token < high)[:, None] & (o_d[None, :] < D)
        o_kv = o_slot[:, None] * D + o_d[None, :]
        # [BLOCK_N, BLOCK_D]
        b_k = tl.load(p_keys + o_kv, mask=m_kv, other=0.0)
        b_s = tl.dot(b_q, tl.trans(b_k), input_precision="ieee") * scale_log2
        # 0 <= age < window, in one comparison: a negative age is a large unsigned number. Parts are
        # whole blocks, so past `high` there are only tokens that are too new for everybody.
        b_age = o_newest[:, None] - o_token[None, :]
        m_seen = b_age.to(tl.uint32, bitcast=True) < window.to(tl.uint32)
        b_s = tl.where(m_seen, b_s, float("-inf"))
        b_new = tl.maximum(b_peak, tl.max(b_s, 1))
        # A query that has seen nothing yet: -inf - -inf would be NaN.
        b_shift = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_p = tl.exp2(b_s - b_shift[:, None])
        b_fade = tl.exp2(b_peak - b_shift)
        b_sum = b_sum * b_fade + tl.sum(b_p, 1)
        b_peak = b_new
        # [BLOCK_N, BLOCK_D]
        b_v = tl.load(p_values + o_kv, mask=m_kv, other=0.0)
        b_acc = tl.dot(b_p.to(b_v.dtype), b_v, b_acc * b_fade[:, None], input_precision="ieee")

    m_row_out = row < NEW * GROUP
    m_out = m_row_out[:, None] & (o_d[None, :] < D)
    b_none = (b_sum == 0.0) | (o_n >= count)  # saw nothing of this part, or is not real
    b_sum = tl.where(b_sum == 0.0, 1.0, b_sum)
    b_out = tl.where(b_none[:, None], 0.0, b_acc / b_sum[:, None])
    if p_lse is not None:
        o_row = (unit * tl.num_programs(1) + part) * (NEW * GROUP) + row
        b_lse = tl.where(b_none, float("-inf"), b_peak + tl.log2(b_sum))
        tl.store(p_lse + o_row, b_lse, mask=m_row_out)
        tl.store(p_out + o_row[:, None] * D + o_d[None, :], b_out, mask=m_out)
    else:
        heads = KEY_HEADS * GROUP
        o_row = (lane * NEW + o_n) * heads + g * GROUP + o_r
        b_out = b_out.to(p_out.dtype.element_ty)
        tl.store(p_out + o_row[:, None] * D + o_d[None, :], b_out, mask=m_out)
