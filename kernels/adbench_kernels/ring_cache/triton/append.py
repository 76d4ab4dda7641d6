"""The append kernel: the new keys and values of a lane go into their slots, keys turned on the way.

B lanes, n new tokens, C slots, G key heads, D head width. A program has a block of the n * G rows
of one lane.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_turned(p_x, o_x, p_turns, o_turns, m_row, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Rows of x, [rows, BLOCK_D], in x's type; turned where there are turns [B, n, 2, D].

    Args:
        p_x: x.
        o_x: where each row begins, int64 [rows].
        p_turns: rotary turns, or none.
        o_turns: where each row's token's turns begin, int64 [rows].
        m_row: which rows there are, bool [rows].
        D: head width.
        BLOCK_D: the power of two that holds it.
    """
    o_d = tl.arange(0, BLOCK_D)
    m_x = m_row[:, None] & (o_d[None, :] < D)
    # [rows, BLOCK_D]
    b_x = tl.load(p_x + o_x[:, None] + o_d[None, :], mask=m_x, other=0.0)
    if p_turns is not None:
        # The other number of each pair lies beside it: 0 and 1, 2 and 3, ...
        b_other = tl.load(p_x + o_x[:, None] + (o_d ^ 1)[None, :], mask=m_x, other=0.0)
        p_turn = p_turns + o_turns[:, None] + o_d[None, :]
        # [rows, BLOCK_D] each; in float32, and rounded once, as `rotate` does
        b_cos = tl.load(p_turn, mask=m_x, other=0.0).to(tl.float32)
        b_sin = tl.load(p_turn + D, mask=m_x, other=0.0).to(tl.float32)
        b_turned = b_x.to(tl.float32) * b_cos + b_other.to(tl.float32) * b_sin
        b_x = b_turned.to(p_x.dtype.element_ty)
    return b_x


@triton.jit(do_not_specialize=["capacity"])
def ring_append(
    p_k, p_v, p_turns, p_keys, p_values, p_length, p_count,
    stride_kb, stride_kn, stride_kg, stride_vb, stride_vn, stride_vg, capacity,
    NEW: tl.constexpr, KEY_HEADS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Write the real ones of k, v [B, n, G, D] into keys, values [B, G, C, D]."""
    lane = tl.program_id(0).to(tl.int64)
    count = tl.load(p_count + lane)
    first = tl.load(p_length + lane) - count  # the first new token's number since the reset
    row = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    o_n, o_g = (row // KEY_HEADS).to(tl.int64), (row % KEY_HEADS).to(tl.int64)
    m_row = (row < NEW * KEY_HEADS) & (o_n < count)

    o_turns = (lane * NEW + o_n) * (2 * D)
    o_k = lane * stride_kb + o_n * stride_kn + o_g * stride_kg
    o_v = lane * stride_vb + o_n * stride_vn + o_g * stride_vg
    # [BLOCK_M, BLOCK_D] each
    b_k = load_turned(p_k, o_k, p_turns, o_turns, m_row, D, BLOCK_D)
    b_v = load_turned(p_v, o_v, None, o_turns, m_row, D, BLOCK_D)

    o_d = tl.arange(0, BLOCK_D)
    m_out = m_row[:, None] & (o_d[None, :] < D)
    o_slot = ((lane * KEY_HEADS + o_g) * capacity + (first + o_n) % capacity) * D
    o_out = o_slot[:, None] + o_d[None, :]
    tl.store(p_keys + o_out, b_k.to(p_keys.dtype.element_ty), mask=m_out)
    tl.store(p_values + o_out, b_v.to(p_values.dtype.element_ty), mask=m_out)
