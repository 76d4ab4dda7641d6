"""Colours of what is seen, in numba.

A texel is one integer that holds red, green and blue in 21 bits each: 255 times weights that sum to
8,192 fit, so four multiplications blend four texels. Colours of surfaces are in 65,536ths; a
channel of a pixel is 8 + 13 + 16 bits, the last 29 of which are rounded away.
"""

# numba carries no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from adbench_kernels.ray_casting.columns import (
    BLUE,
    GREEN,
    RED,
    TEXTURE,
    TOP,
    U_ACROSS,
    U_MORE,
    V_ACROSS,
    V_DOWN,
    V_MORE,
    A,
    B,
    U,
    V,
)
from adbench_kernels.ray_casting.tables import CHANNEL_BITS

F = np.float32
CHANNEL = CHANNEL_BITS
MASK = (1 << CHANNEL) - 1
WEIGHT = 13
"""Bits of the weights of texels."""

WHOLE = 1 << WEIGHT
POINT = WEIGHT + 16
"""Bits after the point of a pixel's channel."""

PLAIN = 255 << WEIGHT
"""What a white texel would be."""

PLACES = F(256.0)
"""Places within a texel that are told apart."""


@numba.njit(error_model="numpy", forceinline=True)
def mip_level(levels: Any, number: Any) -> Any:
    """What `blend_texels` wants to know of a level, its width and height in places."""
    at = np.uint64(4 * number)
    columns, rows = levels[at + np.uint64(1)], levels[at + np.uint64(2)]
    wide, tall = F(columns + 1) * PLACES, F(rows + 1) * PLACES
    return levels[at], columns, rows, levels[at + np.uint64(3)], wide, tall


@numba.njit(error_model="numpy", forceinline=True)
def blend_texels(texels: Any, level: Any, u: Any, v: Any, weight: Any) -> Any:
    """The four texels around (u, v), by nearness; their weights sum to `weight`."""
    begins, columns, rows, shift, wide, tall = level
    x, y = np.int64(u * wide) - 128, np.int64(v * tall) - 128
    right, up = (x & 255) * weight, (y & 255) * weight
    both = (right * (y & 255)) >> 16
    right, up = right >> 8, up >> 8
    x, y = x >> 8, y >> 8
    south, north = begins + ((y & rows) << shift), begins + (((y + 1) & rows) << shift)
    west, east = x & columns, (x + 1) & columns
    return (
        texels[np.uint64(south + west)] * (weight - right - up + both)
        + texels[np.uint64(south + east)] * (right - both)
        + texels[np.uint64(north + west)] * (up - both)
        + texels[np.uint64(north + east)] * both
    )


@numba.njit(error_model="numpy", forceinline=True)
def of_wall(wall: Any, x: Any, width: Any, height: Any) -> Any:
    """What the rows of a wall share in column x; p is a row's height above the frame's middle.

    Returns:
        (u, u a p, v, v a p, s0, s1, s2, s3): a pixel spans the square root of the larger one of
        s0 + s1 p^2 (to the side) and s2 + s3 p^4 (downwards) texels of a picture `width` x
        `height`.
    """
    t = F(1.0) / max(wall[A] + wall[B] * x, F(1e-6))
    across = wall[U_ACROSS] + wall[U_MORE] * x
    aside = t * (wall[U_MORE] - t * wall[B] * across) * width
    v_down = t * wall[V_DOWN]
    down = v_down * height
    askew = t * wall[B] * down
    return (
        wall[U] + t * across,
        F(0.0),
        wall[V],
        v_down,
        aside * aside,
        askew * askew,
        down * down,
        F(0.0),
    )


@numba.njit(error_model="numpy", forceinline=True)
def of_flat(flat: Any, x: Any, width: Any, height: Any) -> Any:
    """The same of a flat, where p is 1 / a row's height above the frame's middle."""
    drop = flat[TOP]
    u, v = drop * (flat[U_ACROSS] + flat[U_MORE] * x), drop * (flat[V_ACROSS] + flat[V_MORE] * x)
    u_aside, v_aside = drop * flat[U_MORE] * width, drop * flat[V_MORE] * height
    u_along, v_along = u * width, v * height
    return (
        flat[U],
        u,
        flat[V],
        v,
        F(0.0),
        u_aside * u_aside + v_aside * v_aside,
        F(0.0),
        u_along * u_along + v_along * v_along,
    )


@numba.njit(error_model="numpy", forceinline=True)
def paint(
    frame: Any, at: Any, step: Any, begin: Any, end: Any, weight: Any, sums: Any, point: Any,
    who: Any, x: Any, above: Any, share: Any, walls: Any, wall_paints: Any, flats: Any,
    flat_paints: Any, sky: Any, texels: Any, levels: Any, sizes: Any, mix: Any,
) -> Any:  # fmt: skip
    """Colour rows `begin` to `end` of column x, in which `who` is seen by `weight` samples.

    Args:
        frame: bytes; those of row `begin` are `at`, the next row's `step` further.
        at: see `frame`.
        step: see `frame`.
        begin: first row.
        end: row after the last.
        weight: of the colour.
        sums: what to add it to: red, green, blue, `point` bits after the point.
        point: see `sums`.
        who: k + 1 for wall k, -k - 1 for flat k, 0 for the sky.
        x: middle of the column, pixels.
        above: rows up to the middle of the frame.
        share: 1 / above.
        walls: that are in view, as `columns` keeps them.
        wall_paints: theirs.
        flats: that are in view.
        flat_paints: theirs.
        sky: 65,536ths.
        texels: of all textures.
        levels: of all textures: begin, width - 1, height - 1, log2 of the width.
        sizes: width and height of the pictures.
        mix: blend the two mip levels around a pixel's size; else take the nearer.

    Returns:
        The sums of the last row.
    """
    k = abs(who) - 1
    texture = np.int64(-1)
    red, green, blue = sky[0], sky[1], sky[2]
    if who > 0:
        texture = wall_paints[k, TEXTURE]
        red, green, blue = wall_paints[k, RED], wall_paints[k, GREEN], wall_paints[k, BLUE]
    elif who < 0:
        texture = flat_paints[k, TEXTURE]
        red, green, blue = flat_paints[k, RED], flat_paints[k, GREEN], flat_paints[k, BLUE]
    red, green, blue = weight * red, weight * green, weight * blue
    r, g, b = sums
    if texture < 0:
        r, g, b = r + PLAIN * red, g + PLAIN * green, b + PLAIN * blue
        for _ in range(begin, end):
            frame[np.uint64(at)] = r >> point
            frame[np.uint64(at + 1)] = g >> point
            frame[np.uint64(at + 2)] = b >> point
            at += step
        return r, g, b
    width, height = sizes[texture, 0], sizes[texture, 1]
    if who > 0:
        rows = above
        u, du, v, dv, s0, s1, s2, s3 = of_wall(walls[k], x, width, height)
    else:
        rows = share
        u, du, v, dv, s0, s1, s2, s3 = of_flat(flats[k], x, width, height)
    depth = levels.shape[0] // (4 * sizes.shape[0])
    first, last = texture * depth, depth - 1
    at_hand = np.int64(-1)
    fine = coarse = mip_level(levels, first)
    for i in range(begin, end):
        p = rows[np.uint64(i)]
        span = max(s0 + s1 * p * p, s2 + s3 * p * p * p * p)
        # A float's exponent is the whole part of its log2.
        if mix:
            bits = np.float32(max(span, F(1.0))).view(np.int32)
            rest = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
            # log2 of 1 to 2, to 0.005.
            part = (F(-0.34484843) * rest + F(2.02466578)) * rest - F(1.67487759)
            lod = max(F(0.0), min(F(0.5) * (F((bits >> 23) - 127) + part), F(last)))
            level = np.int64(lod)
            share_of_coarse = np.int64(F(WHOLE) * (lod - F(level)))
        else:
            # The nearest level is half of log2(2 span), rounded down.
            exponent = (np.float32(F(2.0) * span).view(np.int32) >> 23) - 127
            level = np.int64(min(max(exponent >> 1, 0), last))
            share_of_coarse = np.int64(0)
        if level != at_hand:
            at_hand = level
            fine = mip_level(levels, first + level)
            if mix:
                coarse = mip_level(levels, first + min(level + 1, last))
        u_here, v_here = u + p * du, v + p * dv
        colour = blend_texels(texels, fine, u_here, v_here, WHOLE - share_of_coarse)
        if mix:
            colour += blend_texels(texels, coarse, u_here, v_here, share_of_coarse)
        r = sums[0] + (colour & MASK) * red
        g = sums[1] + ((colour >> CHANNEL) & MASK) * green
        b = sums[2] + (colour >> (2 * CHANNEL)) * blue
        frame[np.uint64(at)] = r >> point
        frame[np.uint64(at + 1)] = g >> point
        frame[np.uint64(at + 2)] = b >> point
        at += step
    return r, g, b
