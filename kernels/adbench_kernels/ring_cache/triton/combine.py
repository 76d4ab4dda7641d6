"""The combine kernel: parts of a softmax become one, in their order, so always the same bits.

B lanes, n new tokens, H query heads, G key heads (H = G * R), D head width, S parts.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["parts"])
def ring_combine(
    p_part, p_lse, p_out, parts,
    NEW: tl.constexpr, KEY_HEADS: tl.constexpr, GROUP: tl.constexpr,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Output [B, n, H, D] of parts [B * G, S, n * R, D] and their log-sum-exps in base 2."""
    unit = tl.program_id(0).to(tl.int64)
    lane, g = unit // KEY_HEADS, unit % KEY_HEADS
    row = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    m_row = row < NEW * GROUP
    o_d = tl.arange(0, BLOCK_D)
    m_out = m_row[:, None] & (o_d[None, :] < D)
    b_peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    b_sum = tl.zeros([BLOCK_M], tl.float32)
    b_acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for part in range(parts):
        o_row = (unit * parts + part) * (NEW * GROUP) + row
        # [BLOCK_M]
        b_lse = tl.load(p_lse + o_row, mask=m_row, other=float("-inf"))
        # [BLOCK_M, BLOCK_D]
        b_part = tl.load(p_part + o_row[:, None] * D + o_d[None, :], mask=m_out, other=0.0)
        b_new = tl.maximum(b_peak, b_lse)
        # A token that saw nothing so far: -inf - -inf would be NaN.
        b_shift = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_fade, b_share = tl.exp2(b_peak - b_shift), tl.exp2(b_lse - b_shift)
        b_sum = b_sum * b_fade + b_share
        b_acc = b_acc * b_fade[:, None] + b_part * b_share[:, None]
        b_peak = b_new
    b_out = b_acc / tl.where(b_sum == 0.0, 1.0, b_sum)[:, None]  # not real: 0
    o_row = (lane * NEW + row // GROUP) * (KEY_HEADS * GROUP) + g * GROUP + row % GROUP
    p_rows = p_out + o_row[:, None] * D + o_d[None, :]
    tl.store(p_rows, b_out.to(p_out.dtype.element_ty), mask=m_out)
