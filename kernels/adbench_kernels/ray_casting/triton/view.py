"""Surfaces as a camera has them: which pixels they may cover, and 1 / depth and texture in pixels.

x is a pixel column, a the rows from a pixel up to the middle of the frame (both real numbers). Seen
from the camera, a plane's 1 / depth q is linear in them, and so are u q and v q of its texture:

    q = q0 + q1 x + q2 a    u = u0 + (u1 + u2 x) / q    v = v0 + (v1 + v2 x + v3 a) / q

A body's surfaces are described in its own coordinates. It is not the surfaces that are moved, but
the camera, into these: then a wall is a wall, whoever it belongs to.

N cameras, W walls, F flats, P = W + F surfaces, G edges of flats, B bodies.
"""

# What is called here are Triton's functions; their arguments are pointers and blocks, not Python's.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

RECORD = tl.constexpr(16)
"""Numbers kept of a surface: q0 q1 q2, u0 u1 u2, v0 v1 v2 v3, red green blue (0 to 1), the bits of
the texture's code, and of a wall top and bottom (rows up from the middle, times depth), of a flat
the number of its edges and the first of them."""

NEAREST = tl.constexpr(25.0)
"""1 / depth of the near plane, 0.04 m."""
NEAR = tl.constexpr(0.04)
GAP = tl.constexpr(1e-5)
"""Metres by which surfaces are larger than they say, as in the definition."""
BEHIND = tl.constexpr(1e-6)
"""Metres ahead at which a point counts as behind the eye: it is at infinity in the frame."""
ANYWHERE = tl.constexpr(1e9)
"""Pixels; beyond every frame."""
EDGE_ON = tl.constexpr(1e-9)
"""Square metres that a wall and the eye span, or metres that the eye is off an edge's line: below,
rounding decides on which side it is."""


@triton.jit
def _cosine_and_sine(b_angle):
    """Both of an angle in radians, to 1e-7 up to 1e4; Triton's own need memory for larger ones.

    Quarter turns are taken off in three pieces, of which the first two times a small integer are
    exact (Cody and Waite); the polynomials are those of Cephes.
    """
    b_quarter = tl.floor(b_angle * 0.6366197723675814 + 0.5)
    b_rest = b_angle - b_quarter * 1.5703125
    b_rest = b_rest - b_quarter * 4.837512969970703e-4
    b_rest = b_rest - b_quarter * 7.549789954891882e-8
    b_square = b_rest * b_rest
    b_sin = (-1.9515295891e-4 * b_square + 8.3321608736e-3) * b_square - 1.6666654611e-1
    b_sin = b_rest + b_rest * b_square * b_sin
    b_cos = (2.443315711809948e-5 * b_square - 1.388731625493765e-3) * b_square
    b_cos = 1.0 - 0.5 * b_square + b_square * b_square * (b_cos + 4.166664568298827e-2)
    o_quarter = b_quarter.to(tl.int32) & 3
    m_odd = (o_quarter & 1) == 1
    b_first = tl.where(m_odd, b_sin, b_cos)
    b_second = tl.where(m_odd, b_cos, b_sin)
    b_first = tl.where((o_quarter == 1) | (o_quarter == 2), -b_first, b_first)
    return b_first, tl.where(o_quarter >= 2, -b_second, b_second)


@triton.jit
def _eye(p_camera, p_bodies, frame, bodies, o_body):
    """The camera in the coordinates of bodies (-1: the world's).

    Returns:
        (x, y, z, cosine and sine of its yaw, and those of the body's), as o_body.
    """
    x, y = tl.load(p_camera + frame * 4), tl.load(p_camera + frame * 4 + 1)
    z, yaw = tl.load(p_camera + frame * 4 + 2), tl.load(p_camera + frame * 4 + 3)
    cos, sin = _cosine_and_sine(yaw)
    p_pose = p_bodies + (frame * bodies + o_body) * 4
    m_body = o_body >= 0
    b_east = x - tl.load(p_pose, mask=m_body, other=0.0)
    b_up = y - tl.load(p_pose + 1, mask=m_body, other=0.0)
    b_south = z - tl.load(p_pose + 2, mask=m_body, other=0.0)
    b_cos, b_sin = _cosine_and_sine(tl.load(p_pose + 3, mask=m_body, other=0.0))
    return (
        b_east * b_cos - b_south * b_sin, b_up, b_east * b_sin + b_south * b_cos,
        cos * b_cos + sin * b_sin, sin * b_cos - cos * b_sin, b_cos, b_sin,
    )  # fmt: skip


@triton.jit
def _store_bounds(p_bounds, o_k, m_k, m_seen, surfaces, b_west, b_east, b_low, b_high):
    """Columns and rows (up from the middle) that surfaces may cover; none where not seen."""
    tl.store(p_bounds + o_k, tl.where(m_seen, b_west, ANYWHERE), mask=m_k)
    tl.store(p_bounds + surfaces + o_k, tl.where(m_seen, b_east, -ANYWHERE), mask=m_k)
    tl.store(p_bounds + 2 * surfaces + o_k, b_low, mask=m_k)
    tl.store(p_bounds + 3 * surfaces + o_k, b_high, mask=m_k)


@triton.jit
def _store_colour(p_record, p_row, rows, m_k, o_body, b_light):
    """Colour and texture out of the five last rows of a table; bodies are lit here."""
    for channel in tl.static_range(3):
        b_colour = tl.load(p_row + channel * rows, mask=m_k, other=0.0)
        b_lit = tl.minimum(b_colour * b_light, 1.0)
        tl.store(p_record + channel, tl.where(o_body >= 0, b_lit, b_colour), mask=m_k)
    tl.store(p_record + 3, tl.load(p_row + 3 * rows, mask=m_k, other=0.0), mask=m_k)


@triton.jit
def _view_walls(
    p_camera, p_bodies, p_walls, p_constants, p_records, p_bounds,
    frame, first, bodies, walls, surfaces, slope, half_width, BLOCK: tl.constexpr,
):  # fmt: skip
    o_k = first + tl.arange(0, BLOCK)
    m_k = o_k < walls
    p_row = p_walls + o_k
    b_body = tl.load(p_row + 14 * walls, mask=m_k, other=0.0)
    o_body = tl.where(m_k, b_body.to(tl.int32, bitcast=True), -1)
    b_x, b_y, b_z, b_cos, b_sin, b_turn_cos, b_turn_sin = _eye(
        p_camera, p_bodies, frame, bodies, o_body
    )
    # [BLOCK]: the ends from the eye, east and south, then ahead and to the right
    b_x0, b_z0 = tl.load(p_row, m_k, 0.0), tl.load(p_row + walls, m_k, 0.0)
    b_x1, b_z1 = tl.load(p_row + 2 * walls, m_k, 0.0), tl.load(p_row + 3 * walls, m_k, 0.0)
    b_dx, b_dz = b_x1 - b_x0, b_z1 - b_z0
    b_x0, b_z0, b_x1, b_z1 = b_x0 - b_x, b_z0 - b_z, b_x1 - b_x, b_z1 - b_z
    b_f0, b_r0 = b_x0 * b_cos - b_z0 * b_sin, b_x0 * b_sin + b_z0 * b_cos
    b_f1, b_r1 = b_x1 * b_cos - b_z1 * b_sin, b_x1 * b_sin + b_z1 * b_cos
    b_df, b_dr = b_f1 - b_f0, b_r1 - b_r0
    b_square = tl.maximum(b_df * b_df + b_dr * b_dr, 1e-24)
    b_length = tl.sqrt(b_square)
    # Negative where the eye is on the left, in front of the wall.
    b_area = b_f0 * b_dr - b_r0 * b_df
    b_more_f, b_more_r = b_df * (GAP / b_length), b_dr * (GAP / b_length)
    b_f0, b_r0, b_f1, b_r1 = b_f0 - b_more_f, b_r0 - b_more_r, b_f1 + b_more_f, b_r1 + b_more_r
    m_seen = m_k & (b_area < -EDGE_ON) & ((b_f0 > BEHIND) | (b_f1 > BEHIND))
    b_scale = 1.0 / tl.minimum(b_area, -EDGE_ON)
    b_q1 = -b_df * b_scale * slope
    b_q0 = b_dr * b_scale - b_q1 * half_width

    # From its front the start is on the right; an end behind the eye lies at infinity.
    b_east = half_width + b_r0 / (tl.maximum(b_f0, BEHIND) * slope)
    b_east = tl.where(b_f0 > BEHIND, b_east, ANYWHERE)
    b_west = half_width + b_r1 / (tl.maximum(b_f1, BEHIND) * slope)
    b_west = tl.where(b_f1 > BEHIND, b_west, -ANYWHERE)
    b_bottom = tl.load(p_row + 4 * walls, m_k, 0.0)
    b_top = tl.load(p_row + 5 * walls, m_k, 1.0)
    b_rise = b_top - b_bottom
    b_above, b_below = (b_top + GAP - b_y) / slope, (b_bottom - GAP - b_y) / slope
    b_one, b_other = 1.0 / tl.maximum(b_f0, NEAR), 1.0 / tl.maximum(b_f1, NEAR)
    b_high = tl.maximum(b_above * b_one, b_above * b_other)
    b_low = tl.minimum(b_below * b_one, b_below * b_other)
    _store_bounds(p_bounds, o_k, m_k, m_seen, surfaces, b_west, b_east, b_low, b_high)

    p_record = p_records + o_k * RECORD
    b_u0, b_u1 = tl.load(p_row + 6 * walls, m_k, 0.0), tl.load(p_row + 7 * walls, m_k, 0.0)
    b_v0, b_v1 = tl.load(p_row + 8 * walls, m_k, 0.0), tl.load(p_row + 9 * walls, m_k, 0.0)
    b_each = (b_u1 - b_u0) / b_square
    b_begin = b_f0 * b_df + b_r0 * b_dr + GAP * b_length  # of the wall itself, without the gap
    b_more = b_each * b_dr * slope
    b_climb = (b_v1 - b_v0) / b_rise
    b_zero = tl.zeros_like(b_q0)
    tl.store(p_record, b_q0, mask=m_k)
    tl.store(p_record + 1, b_q1, mask=m_k)
    tl.store(p_record + 2, b_zero, mask=m_k)
    tl.store(p_record + 3, b_u0 - b_each * b_begin, mask=m_k)
    tl.store(p_record + 4, b_each * b_df - b_more * half_width, mask=m_k)
    tl.store(p_record + 5, b_more, mask=m_k)
    tl.store(p_record + 6, b_v0 + (b_y - b_bottom) * b_climb, mask=m_k)
    tl.store(p_record + 7, b_zero, mask=m_k)
    tl.store(p_record + 8, b_zero, mask=m_k)
    tl.store(p_record + 9, b_climb * slope, mask=m_k)
    tl.store(p_record + 14, b_above, mask=m_k)
    tl.store(p_record + 15, b_below, mask=m_k)
    # Its normal is on its left: of the way (x, z), (z, -x).
    b_way_x = b_dx * b_turn_cos + b_dz * b_turn_sin
    b_way_z = b_dz * b_turn_cos - b_dx * b_turn_sin
    b_facing = b_way_z * tl.load(p_constants + 3) - b_way_x * tl.load(p_constants + 5)
    b_light = tl.maximum(b_facing / b_length, 0.0) * tl.load(p_constants + 7)
    b_light += tl.load(p_constants + 6)
    _store_colour(p_record + 10, p_row + 10 * walls, walls, m_k, o_body, b_light)


@triton.jit
def _view_flats(
    p_camera, p_bodies, p_flats, p_constants, p_records, p_bounds,
    frame, first, bodies, walls, flats, slope, half_width, BLOCK: tl.constexpr,
):  # fmt: skip
    o_k = first + tl.arange(0, BLOCK)
    m_k = o_k < flats
    p_row = p_flats + o_k
    b_body = tl.load(p_row + 18 * flats, mask=m_k, other=0.0)
    o_body = tl.where(m_k, b_body.to(tl.int32, bitcast=True), -1)
    b_x, b_y, b_z, b_cos, b_sin, _, _ = _eye(p_camera, p_bodies, frame, bodies, o_body)
    b_drop, b_faces = tl.load(p_row, m_k, 0.0) - b_y, tl.load(p_row + flats, m_k, 0.0)
    m_seen = m_k & (b_drop * b_faces < 0.0)
    b_drop = tl.where(m_seen, b_drop, 1.0) / slope

    # [BLOCK, 4]: the corners of the rectangle around the outline, ahead and to the right
    o_corner = tl.arange(0, 4)[None, :]
    p_x = p_row[:, None] + (4 + 2 * (o_corner & 1)) * flats
    p_z = p_row[:, None] + (5 + 2 * (o_corner >> 1)) * flats
    b_east = tl.load(p_x, m_k[:, None], 0.0) - b_x[:, None]
    b_south = tl.load(p_z, m_k[:, None], 0.0) - b_z[:, None]
    b_f = b_east * b_cos[:, None] - b_south * b_sin[:, None]
    b_r = b_east * b_sin[:, None] + b_south * b_cos[:, None]
    b_column = half_width + b_r / (tl.maximum(b_f, BEHIND) * slope)
    # [BLOCK]; outlines are larger than they say, by a gap that is longer in their corners.
    b_least, b_most = tl.min(b_f, 1) - 4.0 * GAP, tl.max(b_f, 1) + 4.0 * GAP
    b_margin = (4.0 * GAP) / (tl.maximum(b_least, NEAR) * slope)
    b_west, b_east = tl.min(b_column, 1) - b_margin, tl.max(b_column, 1) + b_margin
    b_west = tl.where(b_least > NEAR, b_west, -ANYWHERE)
    b_east = tl.where(b_least > NEAR, b_east, ANYWHERE)
    b_one, b_other = b_drop / tl.maximum(b_least, NEAR), b_drop / tl.maximum(b_most, NEAR)
    _store_bounds(
        p_bounds + walls, o_k, m_k, m_seen & (b_most > NEAR), walls + flats,
        b_west, b_east, tl.minimum(b_one, b_other), tl.maximum(b_one, b_other),
    )  # fmt: skip

    p_record = p_records + (walls + o_k) * RECORD
    b_zero = tl.zeros_like(b_drop)
    tl.store(p_record, b_zero, mask=m_k)
    tl.store(p_record + 1, b_zero, mask=m_k)
    tl.store(p_record + 2, 1.0 / b_drop, mask=m_k)
    for axis in tl.static_range(2):
        p_axis = p_row + (8 + 3 * axis) * flats
        b_each_x, b_each_z = tl.load(p_axis, m_k, 0.0), tl.load(p_axis + flats, m_k, 0.0)
        b_here = b_each_x * b_x + b_each_z * b_z + tl.load(p_axis + 2 * flats, m_k, 0.0)
        b_aside = (b_each_x * b_sin + b_each_z * b_cos) * slope
        b_ahead = b_each_x * b_cos - b_each_z * b_sin - b_aside * half_width
        tl.store(p_record + (3 + 3 * axis), b_here, mask=m_k)
        tl.store(p_record + (4 + 3 * axis), b_ahead, mask=m_k)
        tl.store(p_record + (5 + 3 * axis), b_aside, mask=m_k)
    tl.store(p_record + 9, b_zero, mask=m_k)
    tl.store(p_record + 14, tl.load(p_row + 2 * flats, m_k, 0.0), mask=m_k)
    tl.store(p_record + 15, tl.load(p_row + 3 * flats, m_k, 0.0), mask=m_k)
    b_light = tl.maximum(b_faces * tl.load(p_constants + 4), 0.0) * tl.load(p_constants + 7)
    b_light += tl.load(p_constants + 6)
    _store_colour(p_record + 10, p_row + 14 * flats, flats, m_k, o_body, b_light)


@triton.jit
def _view_edges(
    p_camera, p_bodies, p_flats, p_edges, p_lines,
    frame, first, bodies, flats, edges, slope, half_width, BLOCK: tl.constexpr,
):  # fmt: skip
    o_e = first + tl.arange(0, BLOCK)
    m_e = o_e < edges
    p_row = p_edges + o_e
    # [BLOCK] all
    p_flat = p_flats + tl.load(p_row + 4 * edges, mask=m_e, other=0.0).to(tl.int32)
    b_body = tl.load(p_flat + 18 * flats, mask=m_e, other=0.0)
    o_body = tl.where(m_e, b_body.to(tl.int32, bitcast=True), -1)
    b_x, b_y, b_z, b_cos, b_sin, _, _ = _eye(p_camera, p_bodies, frame, bodies, o_body)
    b_drop = (tl.load(p_flat, m_e, 0.0) - b_y) / slope
    b_x0, b_z0 = tl.load(p_row, m_e, 0.0), tl.load(p_row + edges, m_e, 0.0)
    b_dx = tl.load(p_row + 2 * edges, m_e, 0.0) - b_x0
    b_dz = tl.load(p_row + 3 * edges, m_e, 0.0) - b_z0
    b_x0, b_z0 = b_x0 - b_x, b_z0 - b_z
    b_f0, b_r0 = b_x0 * b_cos - b_z0 * b_sin, b_x0 * b_sin + b_z0 * b_cos
    b_df, b_dr = b_dx * b_cos - b_dz * b_sin, b_dx * b_sin + b_dz * b_cos
    b_length = tl.sqrt(b_df * b_df + b_dr * b_dr)
    m_edge = b_length > 0.0  # there are some without length, which bound nothing
    b_length = tl.where(m_edge, b_length, 1.0)

    # How far the eye is outside the edge's line. Along a ray with slope s to the right that is
    # off + t (s df - dr) / length, and inside is what is not above 0: q has a bound, linear in x.
    b_off = (b_f0 * b_dr - b_r0 * b_df) / b_length - GAP
    b_off = tl.where(tl.abs(b_off) < EDGE_ON, -EDGE_ON, b_off)
    # In rows, which are q times the drop.
    b_scale = b_drop / (b_length * b_off)
    b_more = -b_df * b_scale * slope
    b_line = b_dr * b_scale - b_more * half_width
    m_low = m_edge & ((b_off < 0.0) == (b_drop > 0.0))
    m_high = m_edge & ((b_off < 0.0) != (b_drop > 0.0))
    p_line = p_lines + o_e * 4
    tl.store(p_line, tl.where(m_low, b_line, -ANYWHERE), mask=m_e)
    tl.store(p_line + 1, tl.where(m_low, b_more, 0.0), mask=m_e)
    tl.store(p_line + 2, tl.where(m_high, b_line, ANYWHERE), mask=m_e)
    tl.store(p_line + 3, tl.where(m_high, b_more, 0.0), mask=m_e)


@triton.jit
def view_surfaces(
    p_camera, p_scene, p_bodies, p_walls, p_flats, p_edges, p_constants,
    p_records, p_bounds, p_lines,
    scenes, bodies, walls, flats, edges, slope, half_width, BLOCK: tl.constexpr,
):  # fmt: skip
    """What one camera has before it.

    Args:
        p_camera: x, y, z, yaw, float32 [N, 4].
        p_scene: the scene of each camera, int64 [N].
        p_bodies: x, y, z, yaw, float32 [N, B, 4].
        p_walls: [S, 15, W], see `packing.py`.
        p_flats: [S, 19, F].
        p_edges: [S, 5, G].
        p_constants: [9].
        p_records: gets walls, flats and last the sky, float32 [N, P + 1, RECORD].
        p_bounds: gets the first and last column, then the lowest and highest row that a surface
            may cover, float32 [N, 4, P].
        p_lines: gets, for each edge, a lower and an upper bound of its flat's rows as c + d x: c,
            d, c, d, float32 [N, G, 4].
        slope: of a pixel.
        half_width: of the frame, pixels.
    """
    frame = tl.program_id(0).to(tl.int64)
    # Whatever is out of range draws a wrong frame, but reads nothing that is not ours.
    scene = tl.minimum(tl.maximum(tl.load(p_scene + frame), 0), scenes - 1)
    surfaces = walls + flats
    p_flats += scene * 19 * flats
    p_records += frame * (surfaces + 1) * RECORD
    p_bounds += frame * 4 * surfaces
    for first in range(0, walls, BLOCK):
        _view_walls(
            p_camera, p_bodies, p_walls + scene * 15 * walls, p_constants, p_records, p_bounds,
            frame, first, bodies, walls, surfaces, slope, half_width, BLOCK,
        )  # fmt: skip
    for first in range(0, flats, BLOCK):
        _view_flats(
            p_camera, p_bodies, p_flats, p_constants, p_records, p_bounds,
            frame, first, bodies, walls, flats, slope, half_width, BLOCK,
        )  # fmt: skip
    for first in range(0, edges, BLOCK):
        _view_edges(
            p_camera, p_bodies, p_flats, p_edges + scene * 5 * edges, p_lines + frame * 4 * edges,
            frame, first, bodies, flats, edges, slope, half_width, BLOCK,
        )  # fmt: skip
    p_sky = p_records + surfaces * RECORD
    for number in tl.static_range(10):
        tl.store(p_sky + number, 1.0 if number == 0 else 0.0)
    for channel in tl.static_range(3):
        tl.store(p_sky + 10 + channel, tl.load(p_constants + channel))
    tl.store(p_sky + 13, tl.load(p_constants + 8))
