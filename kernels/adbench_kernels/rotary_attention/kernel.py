"""Turning queries and keys by their positions in Triton, one read and one write.

B rows, T tokens, H heads, D head width. Pairs of neighbours are turned:
(a, b) -> (a cos - b sin, b cos + a sin).

Why a pass of its own and not inside attention: a block of keys is loaded by every block of queries
that sees it, and in the backward pass a block of queries by every block of keys. Turning on load
would be done again each time, in kernels that at D <= 32 wait for exponentials and issue slots, not
for memory. A pass forward and one backward move 4 tensors of the queries' size each, attention
moves 12 at least, and past a few hundred tokens its arithmetic outweighs both. Rows that fit one
block load everything once: only there would turning on load save the pass and repeat nothing.
"""

# What is called here are Triton's functions; their arguments are pointers and blocks, not Python's.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def turn(
    p_x, p_turns, p_y, tokens, heads,
    stride_xb, stride_xt, stride_xh, stride_yb, stride_yt, stride_yh, stride_tt,
    BACK: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """y of one block of tokens and heads of one row; y may be x.

    Args:
        p_x: [B, T, H, D], last stride 1.
        p_turns: cosines, then sines with the pairs' signs, float32 [T, 2, D].
        p_y: [B, T, H, D], last stride 1.
        BACK: turn the other way, which is also the derivative.
        BLOCK_D: D or more, a power of two.
    """
    blocks = tl.cdiv(tokens, BLOCK_M)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    o_t = tl.program_id(0) % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    o_h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    o_d = tl.arange(0, BLOCK_D)
    o_pair = tl.arange(0, BLOCK_D // 2)
    m_t = o_t < tokens
    o_t = o_t.to(tl.int64)
    m_x = (m_t[:, None] & (o_h < heads)[None, :])[:, :, None] & (o_d < D)[None, None, :]
    o_x = (o_t[:, None] * stride_xt + o_h[None, :] * stride_xh)[:, :, None] + o_d[None, None, :]
    # [BLOCK_M, BLOCK_H, BLOCK_D]
    b_x = tl.load(p_x + row * stride_xb + o_x, mask=m_x, other=0.0).to(tl.float32)
    b_a, b_b = tl.split(tl.reshape(b_x, [BLOCK_M, BLOCK_H, BLOCK_D // 2, 2]))
    # [BLOCK_M, BLOCK_D / 2]; the sine that has no minus is the odd one. float32: sines of 16 bits
    # could not tell neighbours apart after a few hundred positions.
    m_turn = m_t[:, None] & (2 * o_pair < D)[None, :]
    p_turn = p_turns + o_t[:, None] * stride_tt + 2 * o_pair[None, :]
    b_cos = tl.load(p_turn, mask=m_turn, other=0.0)[:, None, :]
    b_sin = tl.load(p_turn + D + 1, mask=m_turn, other=0.0)[:, None, :]
    if BACK:
        b_sin = -b_sin
    b_pairs = tl.join(b_a * b_cos - b_b * b_sin, b_b * b_cos + b_a * b_sin)
    b_y = tl.reshape(b_pairs, [BLOCK_M, BLOCK_H, BLOCK_D])
    o_y = (o_t[:, None] * stride_yt + o_h[None, :] * stride_yh)[:, :, None] + o_d[None, None, :]
    tl.store(p_y + row * stride_yb + o_y, b_y.to(p_y.dtype.element_ty), mask=m_x)
