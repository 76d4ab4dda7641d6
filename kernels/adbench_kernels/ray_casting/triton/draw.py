"""Frames, a tile of pixels a program: who is nearest, then its colour.

A surface fills, in each column, the rows between two bounds. For a wall these are its top and
bottom over its depth; for a flat those that the edges of its outline leave (each is a bound that is
linear in the column). So a sample is compared with two numbers of its column, and with the nearest
1 / depth so far. Surfaces whose bounds do not meet the tile are left out, 32 at a time.
"""

# What is called here are Triton's functions; their arguments are pointers and blocks, not Python's.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from adbench_kernels.ray_casting.triton.shade import shade
from adbench_kernels.ray_casting.triton.view import ANYWHERE, NEAREST, RECORD

AT_ONCE = tl.constexpr(32)
"""Surfaces that one integer has bits for."""


@triton.jit
def _meets_tile(p_bounds, first, surfaces, west, east, low, high):
    """A bit for each of the surfaces from `first` on: whether it may cover a pixel of the tile."""
    o_bit = tl.arange(0, AT_ONCE)
    p_k = p_bounds + first + o_bit
    m_k = first + o_bit < surfaces
    # [AT_ONCE] each
    m_met = tl.load(p_k, mask=m_k, other=ANYWHERE) <= east
    m_met = m_met & (tl.load(p_k + surfaces, mask=m_k, other=-ANYWHERE) >= west)
    m_met = m_met & (tl.load(p_k + 2 * surfaces, mask=m_k, other=ANYWHERE) <= high)
    m_met = m_met & (tl.load(p_k + 3 * surfaces, mask=m_k, other=-ANYWHERE) >= low)
    return tl.sum(tl.where(m_met, 1 << o_bit, 0))


@triton.jit
def _lowest_bit(bits):
    """Its number: that power of two's exponent as float32."""
    lowest = (bits & -bits).to(tl.float32)
    return ((lowest.to(tl.int32, bitcast=True) >> 23) & 255) - 127


@triton.jit
def _rows_of_wall(p_record, p_bounds, k, surfaces, b_x, b_q):
    """Lowest and highest row up from the middle, in each column; the former is above the latter
    where there is nothing."""
    m_seen = (b_x >= tl.load(p_bounds + k)) & (b_x <= tl.load(p_bounds + surfaces + k))
    m_seen = m_seen & (b_q > 0.0) & (b_q < NEAREST)
    b_low = tl.where(m_seen, tl.load(p_record + 15) * b_q, ANYWHERE)
    return b_low, tl.load(p_record + 14) * b_q


@triton.jit
def _rows_of_flat(p_record, p_lines, b_x, q2):
    """The same of a flat."""
    at_near_plane = NEAREST / q2
    b_low = tl.zeros_like(b_x) + tl.minimum(at_near_plane, 0.0)
    b_high = tl.zeros_like(b_x) + tl.maximum(at_near_plane, 0.0)
    p_line = p_lines + tl.load(p_record + 15).to(tl.int32) * 4
    # Four edges at a time: what is read does not wait for what is computed.
    for _ in range(0, tl.load(p_record + 14).to(tl.int32), 4):
        for edge in tl.static_range(4):
            p_e = p_line + 4 * edge
            b_low = tl.maximum(b_low, tl.load(p_e) + tl.load(p_e + 1) * b_x)
            b_high = tl.minimum(b_high, tl.load(p_e + 2) + tl.load(p_e + 3) * b_x)
        p_line += 16
    return b_low, b_high


@triton.jit
def _shade_four(
    p_records, o_seen, b_x, b_above, p_texels, p_levels,
    LAST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The mean of four samples, each surface's colour taken once a pixel, from 0 to 255."""
    # [BLOCK_M, BLOCK_N] each
    o_evens, o_odds = tl.split(tl.reshape(o_seen, [BLOCK_M, BLOCK_N, 2, 2]))
    o_0, o_2 = tl.split(o_evens)
    o_1, o_3 = tl.split(o_odds)
    b_red = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    b_green, b_blue = tl.zeros_like(b_red), tl.zeros_like(b_red)
    last = 0
    while last >= 0:
        # The highest number that is left; -1: the pixel has its colour.
        o_k = tl.maximum(tl.maximum(tl.maximum(o_0, o_1), tl.maximum(o_2, o_3)), 0)
        b_r, b_g, b_b = shade(
            p_records + o_k * RECORD, b_x, b_above, p_texels, p_levels, True, LAST
        )
        b_share = tl.where(o_0 == o_k, 0.25, 0.0) + tl.where(o_1 == o_k, 0.25, 0.0)
        b_share += tl.where(o_2 == o_k, 0.25, 0.0) + tl.where(o_3 == o_k, 0.25, 0.0)
        b_red += b_share * b_r
        b_green += b_share * b_g
        b_blue += b_share * b_b
        o_0, o_1 = tl.where(o_0 == o_k, -1, o_0), tl.where(o_1 == o_k, -1, o_1)
        o_2, o_3 = tl.where(o_2 == o_k, -1, o_2), tl.where(o_3 == o_k, -1, o_3)
        o_left = tl.maximum(tl.maximum(o_0, o_1), tl.maximum(o_2, o_3))
        last = tl.max(tl.max(o_left, 1), 0)
    return b_red, b_green, b_blue


@triton.jit
def draw_tiles(
    p_records, p_bounds, p_lines, p_texels, p_levels, p_frames,
    walls, surfaces, edges, height, width, tiles_across, tiles,
    SAMPLES: tl.constexpr, ACROSS: tl.constexpr, DOWN: tl.constexpr,
    LAST: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """One tile of one frame.

    Args:
        p_records: [N, P + 1, RECORD], see `view.py`.
        p_bounds: [N, 4, P].
        p_lines: [N, G, 4].
        p_texels: see `packing.py`.
        p_levels: [., LAST + 1].
        p_frames: uint8 [N, height, width, 3].
        walls: W.
        surfaces: P.
        edges: G.
        tiles_across: in a frame's width.
        tiles: in a frame.
        SAMPLES: a pixel.
        ACROSS: where in a pixel each sample is, in eighths from the left: a hexadecimal digit each.
        DOWN: the same from the top.
    """
    frame = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    top, left = tile // tiles_across * BLOCK_M, tile % tiles_across * BLOCK_N
    p_records += frame * (surfaces + 1) * RECORD
    p_bounds += frame * 4 * surfaces
    p_lines += frame * edges * 4
    o_row, o_column = top + tl.arange(0, BLOCK_M), left + tl.arange(0, BLOCK_N)
    b_left = o_column.to(tl.float32)[None, :]
    b_above = height * 0.5 - o_row.to(tl.float32)[:, None]
    # Samples lie side by side like columns: what a column's samples need is computed once.
    o_place = tl.arange(0, SAMPLES * BLOCK_N)[None, :]
    o_digit = o_place % SAMPLES * 4
    # [1, BLOCK_N * SAMPLES], [BLOCK_M, BLOCK_N * SAMPLES]
    b_x = (left + o_place // SAMPLES).to(tl.float32)
    b_x += ((ACROSS >> o_digit) & 15).to(tl.float32) * 0.125
    b_up = b_above - ((DOWN >> o_digit) & 15).to(tl.float32) * 0.125
    b_nearest = tl.zeros([BLOCK_M, BLOCK_N * SAMPLES], tl.float32)
    o_seen = tl.zeros([BLOCK_M, BLOCK_N * SAMPLES], tl.int32) + surfaces  # the sky

    high = height * 0.5 - top
    for first in range(0, surfaces, AT_ONCE):
        bits = _meets_tile(p_bounds, first, surfaces, left, left + BLOCK_N, high - BLOCK_M, high)
        while bits != 0:
            k = first + _lowest_bit(bits)
            bits = bits & (bits - 1)
            p_record = p_records + k * RECORD
            q2 = tl.load(p_record + 2)
            b_q = tl.load(p_record) + tl.load(p_record + 1) * b_x
            if k < walls:
                b_low, b_high = _rows_of_wall(p_record, p_bounds, k, surfaces, b_x, b_q)
            else:
                b_low, b_high = _rows_of_flat(p_record, p_lines, b_x, q2)
            b_here = b_q + q2 * b_up
            m_here = (b_up >= b_low) & (b_up <= b_high) & (b_here > b_nearest)
            b_nearest = tl.where(m_here, b_here, b_nearest)
            o_seen = tl.where(m_here, k, o_seen)

    # Colours are taken at the middles of pixels, once for all samples that see the same surface.
    b_x, b_above = b_left + 0.5, b_above - 0.5
    if SAMPLES == 1:
        b_red, b_green, b_blue = shade(
            p_records + o_seen * RECORD, b_x, b_above, p_texels, p_levels, False, LAST
        )
    else:
        b_red, b_green, b_blue = _shade_four(
            p_records, o_seen, b_x, b_above, p_texels, p_levels, LAST, BLOCK_M, BLOCK_N
        )
    o_pixel = frame * height * width + o_row[:, None] * width + o_column[None, :]
    m_pixel = (o_row < height)[:, None] & (o_column < width)[None, :]
    p_pixel = p_frames + 3 * o_pixel
    tl.store(p_pixel, _rounded(b_red), mask=m_pixel)
    tl.store(p_pixel + 1, _rounded(b_green), mask=m_pixel)
    tl.store(p_pixel + 2, _rounded(b_blue), mask=m_pixel)


@triton.jit
def _rounded(b_x):
    """The nearest byte, of two the even one: the lowest bits of 2^23 + x."""
    return ((b_x + 8388608.0).to(tl.int32, bitcast=True) & 255).to(tl.uint8)
