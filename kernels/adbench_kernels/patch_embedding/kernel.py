"""Patch embedding in Triton: bytes become numbers in registers, never in memory.

R = N * K patches (rows), I = P * P * C pixels a patch (the inner dimension), E embedding width,
S splits of the rows. With s the largest of the channels' scales 1 / (255 std), r_i the scale of
pixel i over s, m_i = 255 mean, c the byte nearest to the middle of the means:

    y_re = s * sum_i (x_ri - c) w'_ei + shift_e       w'_ei = r_i w_ei
    shift_e = b_e + s * sum_i w'_ei (c - m_i)

A byte less a byte is exact in bfloat16 and float16 (at most 8 bits), so the only rounding before
the sum is that of w'; `shift` is made of the rounded w', so that what rounding does to w' meets
x - m and not x. Where all channels share one std, r is 1 and w' of a 16-bit w is w itself.

A float32 weight enters as three bfloat16 pieces of 8 bits each, which together are its 24 bits:
three tensor-core products at bfloat16 speed, as exact as float32 arithmetic.
"""

# What is called here are Triton's functions; their arguments are pointers and blocks, not Python's.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _bytes_less(b_bytes, centre):
    """float32 of bytes less a byte, exact.

    2^23 with a byte in its lowest bits is 2^23 + byte. That is an `or` and an addition, where a
    conversion from integers runs at a quarter of their rate.
    """
    b_large = (b_bytes.to(tl.uint32) | 0x4B000000).to(tl.float32, bitcast=True)
    return b_large - (8388608.0 + centre)


@triton.jit
def _first_pixels(
    o_row, stride_frame, stride_line,
    PATCHES: tl.constexpr, ACROSS: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr,
    RUN: tl.constexpr,
):  # fmt: skip
    """Where patches begin among the bytes, int64: 2^31 of them are soon passed.

    Divisions are by constants, for which there are short cuts: a frame's size is a model's own.
    """
    o_frame = (o_row // PATCHES).to(tl.int64)
    o_place = o_row % PATCHES
    o_top = (o_place // ACROSS * SIDE).to(tl.int64)
    o_first = o_frame * stride_frame + o_top * stride_line + o_place % ACROSS * LINE
    return tl.multiple_of(o_first, RUN)


@triton.jit
def patch_fold(
    p_weight, p_bias, p_table, p_folded, p_shift,
    embedding, scale,
    stride_weight,
    INNER: tl.constexpr, PIECES: tl.constexpr, HAS_BIAS: tl.constexpr,
    BLOCK_E: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """w' in `PIECES` pieces [PIECES, E, I] and the shift, float32 [E].

    Args:
        p_table: r_i, then c - m_i, float32 [2, I].
        p_bias: [E]; not read without `HAS_BIAS`.
    """
    o_e = tl.program_id(0) * BLOCK_E + tl.arange(0, BLOCK_E)
    m_e = o_e < embedding
    o_e = o_e.to(tl.int64)
    b_shift = tl.zeros([BLOCK_E], tl.float32)  # a sum over I: 16 bits would lose it
    for first in range(0, INNER, BLOCK_K):
        o_k = first + tl.arange(0, BLOCK_K)
        m_k = o_k < INNER
        m = m_e[:, None] & m_k[None, :]
        # [BLOCK_K]
        b_ratio = tl.load(p_table + o_k, mask=m_k, other=0.0)
        b_offset = tl.load(p_table + INNER + o_k, mask=m_k, other=0.0)
        # [BLOCK_E, BLOCK_K]
        b_w = tl.load(p_weight + o_e[:, None] * stride_weight + o_k[None, :], mask=m, other=0.0)
        b_left = b_w.to(tl.float32) * b_ratio[None, :]
        for piece in tl.static_range(PIECES):
            b_piece = b_left.to(p_folded.dtype.element_ty)
            b_left -= b_piece.to(tl.float32)
            b_shift += tl.sum(b_piece.to(tl.float32) * b_offset[None, :], 1)
            o_piece = (piece * embedding + o_e) * INNER
            tl.store(p_folded + o_piece[:, None] + o_k[None, :], b_piece, mask=m)
    b_shift *= scale
    if HAS_BIAS:
        b_shift += tl.load(p_bias + o_e, mask=m_e, other=0.0).to(tl.float32)
    tl.store(p_shift + o_e, b_shift, mask=m_e)


@triton.jit
def patch_project(
    p_frames, p_folded, p_shift, p_out,
    rows, embedding, scale, centre, stride_frame, stride_line,
    PATCHES: tl.constexpr, ACROSS: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr,
    RUN: tl.constexpr, PIECES: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """y of one block of patches and embeddings.

    Args:
        p_frames: uint8; pixels of a line and channels of a pixel lie side by side.
        p_folded: [PIECES, E, I].
        p_shift: float32 [E].
        p_out: [R, E].
        rows: R, below 2^31.
        PATCHES: K, a frame's.
        ACROSS: patches in a frame's width.
        SIDE: P.
        LINE: P * C, bytes of a patch that lie side by side.
        RUN: bytes that can be read at once: it divides LINE, I and every address.
    """
    INNER: tl.constexpr = SIDE * LINE
    # Blocks of the same patches run side by side: what one read is in the cache for the next.
    blocks_n = tl.cdiv(embedding, BLOCK_N)
    o_row = tl.program_id(0) // blocks_n * BLOCK_M + tl.arange(0, BLOCK_M)
    o_e = tl.program_id(0) % blocks_n * BLOCK_N + tl.arange(0, BLOCK_N)
    m_e = o_e < embedding
    # Rows past the end read the last one again: a mask on bytes would split the wide reads.
    o_first = _first_pixels(
        tl.minimum(o_row, rows - 1), stride_frame, stride_line, PATCHES, ACROSS, SIDE, LINE, RUN
    )
    b_sum = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)  # sums of hundreds of products
    for first in range(0, INNER, BLOCK_K):
        o_k = first + tl.arange(0, BLOCK_K)
        o_pixel = o_k // LINE * stride_line + o_k % LINE
        o_pixel = tl.max_contiguous(tl.multiple_of(o_pixel, RUN), RUN)
        p_x = p_frames + o_first[:, None] + o_pixel[None, :]
        # [BLOCK_M, BLOCK_K]
        if INNER % BLOCK_K == 0:
            b_bytes = tl.load(p_x)
        else:
            b_bytes = tl.load(p_x, mask=(o_k < INNER)[None, :], other=0)
        b_x = _bytes_less(b_bytes, centre).to(p_folded.dtype.element_ty)
        for piece in tl.static_range(PIECES):
            p_w = p_folded + ((piece * embedding + o_e) * INNER)[None, :] + o_k[:, None]
            # [BLOCK_K, BLOCK_N]
            b_w = tl.load(p_w, mask=(o_k < INNER)[:, None] & m_e[None, :], other=0.0)
            b_sum = tl.dot(b_x, b_w, b_sum)
    # [BLOCK_N]
    b_shift = tl.load(p_shift + o_e, mask=m_e, other=0.0)
    b_y = b_sum * scale + b_shift[None, :]
    p_y = p_out + o_row.to(tl.int64)[:, None] * embedding + o_e[None, :]
    tl.store(p_y, b_y.to(p_out.dtype.element_ty), mask=(o_row < rows)[:, None] & m_e[None, :])


@triton.jit
def _sum_rows(
    p_grad, p_frames, begin, end, o_e, o_k, m_e, centre, stride_grad, stride_frame, stride_line,
    PATCHES: tl.constexpr, ACROSS: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr,
    RUN: tl.constexpr, PIECES: tl.constexpr, TOTAL: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Over rows `begin` to `end`: sums of dy_re (x_ri - c) and, with `TOTAL`, of dy_re."""
    INNER: tl.constexpr = SIDE * LINE
    o_pixel = o_k // LINE * stride_line + o_k % LINE
    o_pixel = tl.max_contiguous(tl.multiple_of(o_pixel, RUN), RUN)
    b_sum = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)  # sums over thousands of rows
    b_total = tl.zeros([BLOCK_M], tl.float32)
    for first in range(begin, end, BLOCK_K):
        o_row = first + tl.arange(0, BLOCK_K)
        m_row = o_row < end
        # Rows past the end read the last one again, and meet gradients of 0.
        o_first = _first_pixels(
            tl.minimum(o_row, end - 1), stride_frame, stride_line, PATCHES, ACROSS, SIDE, LINE, RUN
        )
        p_x = p_frames + o_first[:, None] + o_pixel[None, :]
        # [BLOCK_K, BLOCK_N]
        if INNER % BLOCK_N == 0:
            b_bytes = tl.load(p_x)
        else:
            b_bytes = tl.load(p_x, mask=(o_k < INNER)[None, :], other=0)
        b_x = _bytes_less(b_bytes, centre)
        p_dy = p_grad + o_row.to(tl.int64)[:, None] * stride_grad + o_e[None, :]
        # [BLOCK_K, BLOCK_M]
        b_dy = tl.load(p_dy, mask=m_row[:, None] & m_e[None, :], other=0.0)
        if TOTAL:
            b_total += tl.sum(b_dy.to(tl.float32), 0)
        if PIECES == 1:
            b_sum = tl.dot(tl.trans(b_dy), b_x.to(b_dy.dtype), b_sum)
        else:
            b_left = b_dy
            for _ in tl.static_range(PIECES):
                b_piece = b_left.to(tl.bfloat16)
                b_left -= b_piece.to(tl.float32)
                b_sum = tl.dot(tl.trans(b_piece), b_x.to(tl.bfloat16), b_sum)
    return b_sum, b_total


@triton.jit
def patch_gradient(
    p_grad, p_frames, p_partial, p_sums,
    rows, rows_a_split, embedding, centre, stride_grad, stride_frame, stride_line,
    PATCHES: tl.constexpr, ACROSS: tl.constexpr, SIDE: tl.constexpr, LINE: tl.constexpr,
    RUN: tl.constexpr, PIECES: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Over the rows of one split: sums of dy_re (x_ri - c), and of dy_re.

    Splits are summed by `patch_finish` in a fixed order. Atomic additions would need no second
    pass, but would come in another order every time.

    Args:
        p_grad: dy, [R, E].
        p_frames: as for `patch_project`.
        p_partial: float32 [S, E, I].
        p_sums: float32 [S, E].
        rows: R.
        rows_a_split: of which `BLOCK_K` at a time are added.
    """
    INNER: tl.constexpr = SIDE * LINE
    blocks_n: tl.constexpr = (INNER + BLOCK_N - 1) // BLOCK_N
    # Blocks of the same split run side by side: each reads what another of them has just read.
    blocks = tl.cdiv(embedding, BLOCK_M) * blocks_n
    split = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    o_e = block // blocks_n * BLOCK_M + tl.arange(0, BLOCK_M)
    o_k = block % blocks_n * BLOCK_N + tl.arange(0, BLOCK_N)
    m_e = o_e < embedding
    begin = split * rows_a_split
    end = tl.minimum(begin + rows_a_split, rows)
    o_out = split.to(tl.int64) * embedding + o_e
    # One block in each row of blocks sums dy. The others need not have it in registers: matrix
    # instructions take it from shared memory.
    if block % blocks_n == 0:
        b_sum, b_total = _sum_rows(
            p_grad, p_frames, begin, end, o_e, o_k, m_e, centre,
            stride_grad, stride_frame, stride_line,
            PATCHES, ACROSS, SIDE, LINE, RUN, PIECES, True, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        tl.store(p_sums + o_out, b_total, mask=m_e)
    else:
        b_sum, b_total = _sum_rows(
            p_grad, p_frames, begin, end, o_e, o_k, m_e, centre,
            stride_grad, stride_frame, stride_line,
            PATCHES, ACROSS, SIDE, LINE, RUN, PIECES, False, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
    p_sum = p_partial + o_out[:, None] * INNER + o_k[None, :]
    tl.store(p_sum, b_sum, mask=m_e[:, None] & (o_k < INNER)[None, :])


@triton.jit
def patch_finish(
    p_partial, p_sums, p_table, p_grad_weight, p_grad_bias,
    splits, embedding, scale,
    INNER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients, splits summed from the first to the last.

    dw_ei = s r_i (sum_r dy_re (x_ri - c) + (c - m_i) sum_r dy_re), db_e = sum_r dy_re.

    Args:
        p_partial: float32 [S, E, I].
        p_sums: float32 [S, E].
        p_table: as for `patch_fold`.
        p_grad_weight: [E, I].
        p_grad_bias: float32 [E].
        splits: S.
    """
    o_at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_at = o_at < embedding * INNER
    o_e, o_k = o_at // INNER, o_at % INNER
    b_sum = tl.zeros([BLOCK], tl.float32)
    b_total = tl.zeros([BLOCK], tl.float32)
    for split in range(splits):
        o_split = tl.cast(split, tl.int64) * embedding
        # [BLOCK]
        b_sum += tl.load(p_partial + o_split * INNER + o_at, mask=m_at, other=0.0)
        b_total += tl.load(p_sums + o_split + o_e, mask=m_at, other=0.0)
    b_ratio = tl.load(p_table + o_k, mask=m_at, other=0.0)
    b_offset = tl.load(p_table + INNER + o_k, mask=m_at, other=0.0)
    b_dw = scale * b_ratio * (b_sum + b_offset * b_total)
    tl.store(p_grad_weight + o_at, b_dw.to(p_grad_weight.dtype.element_ty), mask=m_at)
    tl.store(p_grad_bias + o_e, b_total, mask=m_at & (o_k == 0))
