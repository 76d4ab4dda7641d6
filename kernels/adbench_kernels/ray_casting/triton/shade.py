"""The colour of a surface where the rays of pixels' middles meet its plane."""

# What is called here are Triton's functions; their arguments are pointers and blocks, not Python's.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

FARTHEST = tl.constexpr(1073741824.0)
"""2^30 texels; nobody sees a texture so far from its origin but at its last mip level."""


@triton.jit
def _add_texel(p_texel, b_weight, b_red, b_green, b_blue):
    """Add a weighted texel; each channel comes with 256 on top.

    A byte in bits 15 to 22 of a number whose other bits say 256 is 256 + byte, as float32, and
    there it loses nothing to rounding. That is one instruction, or two with a shift, where a
    conversion from integers runs at a quarter of their rate.
    """
    b_texel = tl.load(p_texel)
    b_bits = (b_texel & 0x7F8000) | 0x43800000
    b_red += b_weight * b_bits.to(tl.float32, bitcast=True)
    b_bits = ((b_texel >> 8) & 0x7F8000) | 0x43800000
    b_green += b_weight * b_bits.to(tl.float32, bitcast=True)
    b_bits = ((b_texel << 8) & 0x7F8000) | 0x43800000
    b_blue += b_weight * b_bits.to(tl.float32, bitcast=True)
    return b_red, b_green, b_blue


@triton.jit
def _power_of_two(o_exponent):
    return ((o_exponent + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _add_level(
    p_texels, p_levels, o_code, o_level, b_u, b_v, b_share, b_red, b_green, b_blue
):  # fmt: skip
    """Add the four texels around (u, v) of one mip level, by nearness, times a share."""
    o_wide, o_tall = (o_code >> 20) & 15, (o_code >> 24) & 15
    o_begin = tl.load(p_levels + (o_code & 0xFFFFF) + o_level)
    # Log2 of the level's sides; u and v count texels of the picture itself.
    o_shift, o_height = tl.maximum(o_wide - o_level, 0), tl.maximum(o_tall - o_level, 0)
    b_x = b_u * _power_of_two(o_shift - o_wide) - 0.5
    b_y = b_v * _power_of_two(o_height - o_tall) - 0.5
    b_west, b_south = tl.floor(b_x), tl.floor(b_y)
    b_right, b_up = b_x - b_west, b_y - b_south
    # Pictures repeat; their sides are powers of two.
    o_last_x, o_last_y = (1 << o_shift) - 1, (1 << o_height) - 1
    o_x, o_y = b_west.to(tl.int32), b_south.to(tl.int32)
    o_east, o_west = (o_x + 1) & o_last_x, o_x & o_last_x
    o_south = o_begin + ((o_y & o_last_y) << o_shift)
    o_north = o_begin + (((o_y + 1) & o_last_y) << o_shift)
    b_north, b_south = b_up * b_share, (1.0 - b_up) * b_share
    b_ne, b_se = b_north * b_right, b_south * b_right
    b_nw, b_sw = b_north - b_ne, b_south - b_se
    b_red, b_green, b_blue = _add_texel(p_texels + (o_south + o_west), b_sw, b_red, b_green, b_blue)
    b_red, b_green, b_blue = _add_texel(p_texels + (o_south + o_east), b_se, b_red, b_green, b_blue)
    b_red, b_green, b_blue = _add_texel(p_texels + (o_north + o_west), b_nw, b_red, b_green, b_blue)
    return _add_texel(p_texels + (o_north + o_east), b_ne, b_red, b_green, b_blue)


@triton.jit
def shade(p_record, b_x, b_above, p_texels, p_levels, BLEND: tl.constexpr, LAST: tl.constexpr):
    """Red, green, blue from 0 to 255, one a pixel.

    Args:
        p_record: of the surface that each pixel sees, see `view.RECORD`; [rows, columns].
        b_x: middles of pixels, [1, columns].
        b_above: rows up from them to the middle of the frame, [rows, 1].
        p_texels: all of them.
        p_levels: where levels begin.
        BLEND: the two mip levels around a pixel's size; else take the nearer.
        LAST: the last mip level.
    """
    # [rows, columns] all: neighbours mostly read the same surface
    b_q1, b_q2 = tl.load(p_record + 1), tl.load(p_record + 2)
    b_t = 1.0 / (tl.load(p_record) + b_q1 * b_x + b_q2 * b_above)
    b_u2, b_v2, b_v3 = tl.load(p_record + 5), tl.load(p_record + 8), tl.load(p_record + 9)
    b_u_t = b_t * (tl.load(p_record + 4) + b_u2 * b_x)
    b_v_t = b_t * (tl.load(p_record + 7) + b_v2 * b_x + b_v3 * b_above)
    # What u and v change by a pixel to the side and by one downwards: quotients' derivatives.
    b_u_aside, b_v_aside = b_t * (b_u2 - b_u_t * b_q1), b_t * (b_v2 - b_v_t * b_q1)
    b_u_down, b_v_down = b_t * b_u_t * b_q2, b_t * (b_v3 - b_v_t * b_q2)
    b_span = tl.maximum(
        b_u_aside * b_u_aside + b_v_aside * b_v_aside, b_u_down * b_u_down + b_v_down * b_v_down
    )
    # Texels squared. Where a sample sees a surface whose horizon the middle is at: the last level.
    MOST: tl.constexpr = 4.0**LAST
    b_span = tl.where(b_span < MOST, b_span, MOST)
    b_level = 0.5 * tl.log2(tl.maximum(b_span, 1.0))
    b_u, b_v = tl.load(p_record + 3) + b_u_t, tl.load(p_record + 6) + b_v_t
    b_u = tl.where(tl.abs(b_u) < FARTHEST, b_u, 0.0)
    b_v = tl.where(tl.abs(b_v) < FARTHEST, b_v, 0.0)
    o_code = tl.load(p_record + 13).to(tl.int32, bitcast=True)
    b_none = tl.zeros_like(b_u)
    if BLEND:
        o_level = tl.minimum(b_level, LAST - 1.0 if LAST > 0 else 0.0).to(tl.int32)
        b_coarse = b_level - o_level.to(tl.float32)
        b_red, b_green, b_blue = _add_level(
            p_texels, p_levels, o_code, o_level, b_u, b_v, 1.0 - b_coarse, b_none, b_none, b_none
        )
        o_level = tl.minimum(o_level + 1, LAST)
        b_red, b_green, b_blue = _add_level(
            p_texels, p_levels, o_code, o_level, b_u, b_v, b_coarse, b_red, b_green, b_blue
        )
    else:
        o_level = (b_level + 0.5).to(tl.int32)
        b_red, b_green, b_blue = _add_level(
            p_texels, p_levels, o_code, o_level, b_u, b_v, 1.0, b_none, b_none, b_none
        )
    b_red = (b_red - 256.0) * tl.load(p_record + 10)
    b_green = (b_green - 256.0) * tl.load(p_record + 11)
    return b_red, b_green, (b_blue - 256.0) * tl.load(p_record + 12)
