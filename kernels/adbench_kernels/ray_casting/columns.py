"""What each ray of a frame sees, in numba: columns of rows, surfaces as intervals of both.

Seen from the camera, along a pixel column x (a real number, pixels from the frame's left):
1 / depth of a wall is a + b x, and the wall fills the rows y between height / 2 - top / depth and
height / 2 - bottom / depth, heights being measured from the eye in units of a pixel's slope. A flat
covers those depths that its outline's edges, taken as walls, leave between them, hence an interval
of rows too, in which 1 / depth is proportional to height / 2 - y. The nearest has the largest
1 / depth. Intervals are half open and end at corners that neighbours share: no gaps.
"""

# numba carries no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg"

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.ray_casting.camera import NEAR
from adbench_kernels.ray_casting.rows import keep_nearer

F = np.float32
ONE, ZERO = F(1.0), F(0.0)
NEAREST = F(1.0 / NEAR)
"""1 / depth of the near plane."""

ANYWHERE = F(1e9)
TINY = F(1e-6)
OVERLAP = F(1e-5)
"""Share by which flats reach into what is beside them, so that rounding opens no gap."""

# Columns of the rows that `tables.tables` makes.
WALL_COLUMNS = 14  # x0 z0 x1 z1 bottom top u0 u1 v0 v1 red green blue texture
FLAT_COLUMNS = 13  # height faces corners, u: a b c, v: a b c, red green blue texture

# Rows of what is kept of a surface that is in view.
A, B, FROM, TO, TOP, BOTTOM, U, U_ACROSS, U_MORE, V, V_ACROSS, V_MORE, V_DOWN = range(13)
KEPT = 13
RED, GREEN, BLUE, TEXTURE = range(4)
PAINTED = 4


@numba.njit(error_model="numpy")
def edge(f0: Any, r0: Any, f1: Any, r1: Any, slope: Any, half_width: Any) -> Any:
    """A wall's or an outline's edge as the camera has it.

    Args:
        f0: of the start, metres ahead of the eye.
        r0: of the start, metres to its right.
        f1: of the end.
        r1: of the end.
        slope: of a pixel.
        half_width: of the frame, pixels.

    Returns:
        (a, b, first, last, side): 1 / depth = a + b x for first <= x < last; side: 1 where the eye
        is on its left, -1 where it is on its right, 0 where it is not in view.
    """
    df, dr = f1 - f0, r1 - r0
    # Metres times metres; negative where the eye is on the left.
    area = f0 * dr - r0 * df
    if (f0 <= TINY and f1 <= TINY) or abs(area) <= F(1e-9):
        return ZERO, ZERO, ZERO, ZERO, 0
    scale = ONE / area
    b = -df * scale * slope
    a = dr * scale - b * half_width
    side = 1 if area < ZERO else -1
    # An end behind the eye lies at infinity; of what is seen from its left, the start is right.
    at0 = half_width + r0 / (f0 * slope) if f0 > TINY else (ANYWHERE if side > 0 else -ANYWHERE)
    at1 = half_width + r1 / (f1 * slope) if f1 > TINY else (-ANYWHERE if side > 0 else ANYWHERE)
    return a, b, min(at0, at1), max(at0, at1), side


@numba.njit(error_model="numpy")
def keep_colour(table: Any, first: Any, paints: Any, k: Any) -> None:
    """Colours in 65,536ths, and the number of the texture."""
    for channel in range(3):
        paints[k, channel] = np.int64(table[first + channel] * F(65536.0) + F(0.5))
    paints[k, TEXTURE] = np.int64(table[first + 3])


@numba.njit(error_model="numpy")
def keep_walls(
    walls: Any, view: Any, width: Any, sizes: Any, kept: Any, paints: Any, count: Any
) -> Any:
    """Add those of `walls` [W, 14] that the camera may see to `kept`, `paints`; how many by now."""
    eye_x, eye_y, eye_z, cos, sin, slope = view
    half_width = F(0.5) * F(width)
    for k in range(walls.shape[0]):
        wall = walls[k]
        x0, z0, x1, z1 = wall[0] - eye_x, wall[1] - eye_z, wall[2] - eye_x, wall[3] - eye_z
        f0, r0 = x0 * cos - z0 * sin, x0 * sin + z0 * cos
        f1, r1 = x1 * cos - z1 * sin, x1 * sin + z1 * cos
        a, b, first, last, side = edge(f0, r0, f1, r1, slope, half_width)
        if side <= 0 or last <= ZERO or first >= F(width):
            continue
        keep = kept[count]
        keep[A], keep[B], keep[FROM], keep[TO] = a, b, first, last
        keep[TOP], keep[BOTTOM] = (wall[5] - eye_y) / slope, (wall[4] - eye_y) / slope
        keep_colour(wall, 10, paints, count)
        texture = paints[count, TEXTURE]
        if texture >= 0:
            # u at depth t and column x: U + t (U_ACROSS + U_MORE x).
            df, dr = f1 - f0, r1 - r0
            each = (wall[7] - wall[6]) / (df * df + dr * dr)
            keep[U] = wall[6] - each * (f0 * df + r0 * dr)
            keep[U_MORE] = each * dr * slope
            keep[U_ACROSS] = each * df - keep[U_MORE] * half_width
            # v at depth t, e rows above the middle: V + t e V_DOWN.
            rise = (wall[9] - wall[8]) / (wall[5] - wall[4])
            keep[V] = wall[8] + (eye_y - wall[4]) * rise
            keep[V_DOWN] = rise * slope
        count += 1
    return count


@numba.njit(error_model="numpy")
def keep_flats(
    flats: Any,
    corners: Any,
    view: Any,
    width: Any,
    across: Any,
    kept: Any,
    paints: Any,
    reach: Any,
    count: Any,
) -> Any:
    """Add those of `flats` [F, 13] that the camera may see, with the depths they cover.

    `across` [samples] is where in a pixel its samples are; `reach` [. 2 samples, W] gets,
    for each flat, 1 / depth of the near and then of the far end along every sample's column; the
    far end's is 0 where there is nothing.
    """
    eye_x, eye_y, eye_z, cos, sin, slope = view
    half_width = F(0.5) * F(width)
    for k in range(flats.shape[0]):
        flat = flats[k]
        drop = flat[0] - eye_y
        if drop * flat[1] >= ZERO:
            continue
        samples = across.shape[0]
        near, far = 2 * count * samples, (2 * count + 1) * samples
        for s in range(samples):
            for j in range(width):
                reach[near + s, j], reach[far + s, j] = NEAREST, ZERO
        begin, end = F(width), ZERO
        last = np.int64(flat[2]) - 1
        x0, z0 = corners[k, last, 0] - eye_x, corners[k, last, 1] - eye_z
        f0, r0 = x0 * cos - z0 * sin, x0 * sin + z0 * cos
        for e in range(last + 1):
            x1, z1 = corners[k, e, 0] - eye_x, corners[k, e, 1] - eye_z
            f1, r1 = x1 * cos - z1 * sin, x1 * sin + z1 * cos
            a, b, x_from, x_to, side = edge(f0, r0, f1, r1, slope, half_width)
            if side != 0 and x_to > ZERO and x_from < F(width):
                # From outside, the nearer edges are those that one sees from their right.
                ends, more = (far, ONE - OVERLAP) if side > 0 else (near, ONE + OVERLAP)
                if side > 0:
                    begin, end = min(begin, x_from), max(end, x_to)
                for s in range(samples):
                    j0 = np.int64(max(ZERO, np.ceil(x_from - across[s])))
                    j1 = np.int64(min(F(width), np.ceil(x_to - across[s])))
                    start, step = (a + b * across[s]) * more, b * more
                    for j in range(j0, j1):
                        reach[ends + s, j] = start + step * F(j)
            f0, r0 = f1, r1
        if begin >= end:
            continue
        keep = kept[count]
        keep[FROM], keep[TO] = begin, end
        keep[TOP] = drop / slope
        keep_colour(flat, 9, paints, count)
        if paints[count, TEXTURE] >= 0:
            # Per metre ahead and to the right, in place of east and south.
            ahead, aside = flat[3] * cos - flat[4] * sin, flat[3] * sin + flat[4] * cos
            keep[U] = flat[3] * eye_x + flat[4] * eye_z + flat[5]
            keep[U_MORE] = aside * slope
            keep[U_ACROSS] = ahead - keep[U_MORE] * half_width
            ahead, aside = flat[6] * cos - flat[7] * sin, flat[6] * sin + flat[7] * cos
            keep[V] = flat[6] * eye_x + flat[7] * eye_z + flat[8]
            keep[V_MORE] = aside * slope
            keep[V_ACROSS] = ahead - keep[V_MORE] * half_width
        count += 1
    return count


@numba.njit(error_model="numpy", forceinline=True)
def look(
    x: Any,
    column: Any,
    sample: Any,
    samples: Any,
    walls: Any,
    num_walls: Any,
    flats: Any,
    reach: Any,
    num_flats: Any,
    above: Any,
    first_row: Any,
    rows: Any,
    nearness: Any,
    seen: Any,
) -> None:
    """Who is seen in the rows of one column of samples: k + 1 for wall k, -k - 1 for flat k, or 0.

    `above`: rows from a sample up to the middle of the frame, `first_row` that of row 0;
    `nearness`: room to work in. They and `seen` are as long as the `rows` of the frame, and up to
    a multiple of sixteen.
    """
    height = F(rows)
    nearness[:] = ZERO
    seen[:] = 0
    for k in range(num_flats):
        far = reach[(2 * k + 1) * samples + sample, column]
        if far <= ZERO:
            continue
        near = min(reach[2 * k * samples + sample, column], NEAREST)
        drop = flats[k, TOP]
        at_far, at_near = first_row - drop * far, first_row - drop * near
        begin = np.int64(max(ZERO, min(np.ceil(min(at_far, at_near)), height)))
        end = np.int64(max(ZERO, min(np.ceil(max(at_far, at_near)), height)))
        for at in range(begin & -WIDTH, end, WIDTH):
            keep_nearer(nearness, seen, above, at, begin, end, ZERO, ONE / drop, np.int32(-k - 1))
    for k in range(num_walls):
        if x < walls[k, FROM] or x >= walls[k, TO]:
            continue
        here = walls[k, A] + walls[k, B] * x
        if here <= ZERO or here >= NEAREST:
            continue
        begin = np.int64(max(ZERO, min(np.ceil(first_row - walls[k, TOP] * here), height)))
        end = np.int64(max(ZERO, min(np.ceil(first_row - walls[k, BOTTOM] * here), height)))
        for at in range(begin & -WIDTH, end, WIDTH):
            keep_nearer(nearness, seen, above, at, begin, end, here, ZERO, np.int32(k + 1))
