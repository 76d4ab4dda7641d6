"""What the attention kernels share: which program does what, which keys a tile has, and its loads.

Offsets inside a tile are 32-bit; the row where a tile begins is 64-bit before it is multiplied by a
stride, so tensors may hold more than 2^31 elements.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place(blocks, pairs, together):
    """(block, pair) of this program, a pair being one head of one row.

    Programs start in order. `together` pairs run side by side, so that what their blocks share
    stays in the L2 cache, and of these every pair's block 0 comes before any block 1.
    """
    first = tl.program_id(0) // (blocks * together) * together
    rest = tl.program_id(0) % (blocks * together)
    size = tl.minimum(pairs - first, together)
    return rest // size, first + rest % size


@triton.jit
def load_rows(
    p_rows, o_row, stride, limit, MASKED: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Rows of one head, [rows, BLOCK_D]; zeros past the width, and (masked) from row `limit` on."""
    o_d = tl.arange(0, BLOCK_D)
    p_block = p_rows + o_row[:, None] * stride + o_d[None, :]
    if MASKED:
        m_block = o_row[:, None] < limit
        if D < BLOCK_D:
            m_block = m_block & (o_d[None, :] < D)
        b_rows = tl.load(p_block, mask=m_block, other=0.0)
    elif D < BLOCK_D:
        b_rows = tl.load(p_block, mask=o_d[None, :] < D, other=0.0)
    else:
        b_rows = tl.load(p_block)
    return b_rows


@triton.jit
def store_rows(p_rows, b_rows, o_row, stride, limit, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """Write rows below `limit`, up to the width, in the target's type."""
    o_d = tl.arange(0, BLOCK_D)
    m_block = o_row[:, None] < limit
    if D < BLOCK_D:
        m_block = m_block & (o_d[None, :] < D)
    p_block = p_rows + o_row[:, None] * stride + o_d[None, :]
    tl.store(p_block, b_rows.to(p_rows.dtype.element_ty), mask=m_block)


@triton.jit
def start_of(p_starts, query, m_query, stride, position, width):
    """First key that a query (or each of a block) sees: the window's, or a later one if told."""
    start = tl.maximum(position - width + 1, 0)
    if p_starts is not None:
        start = tl.maximum(start, tl.load(p_starts + query * stride, mask=m_query, other=0))
    return start


@triton.jit
def key_tiles(
    p_starts, first, last, stride, width, query_offset, num_keys,
    QUERY_STRIDE: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Tiles of keys that the queries first..last need, as (edge, inside, diagonal, end).

    In [edge, inside) some query's start may lie, in [inside, diagonal) every query sees every key,
    and in [diagonal, end) some query's own position, or the end of the keys, may lie. Starts never
    decrease. Positions may lie before the first key and after the last.
    """
    near = query_offset + first * QUERY_STRIDE
    far = query_offset + last * QUERY_STRIDE
    # Numerators are kept from below 0, where division rounds another way.
    end = tl.cdiv(tl.minimum(tl.maximum(far + 1, 0), num_keys), BLOCK_N)
    edge = start_of(p_starts, first, True, stride, near, width) // BLOCK_N
    edge = tl.minimum(edge, end)
    inside = tl.cdiv(start_of(p_starts, last, True, stride, far, width), BLOCK_N)
    inside = tl.minimum(tl.maximum(inside, edge), end)
    diagonal = tl.minimum(tl.maximum(near + 1, 0), num_keys) // BLOCK_N
    diagonal = tl.maximum(diagonal, inside)
    return edge, inside, diagonal, end
