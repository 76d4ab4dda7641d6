"""Ray casting on CPUs with numba: a frame is drawn by one thread, column by column.

`columns.py` finds out who is seen, `shading.py` in which colour.
"""

# numba carries no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator"

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.cpu.threads import share as share_among_threads
from adbench_kernels.ray_casting import columns, rows, shading
from adbench_kernels.ray_casting.camera import SAMPLES, pixel_slope
from adbench_kernels.ray_casting.columns import KEPT, PAINTED, keep_flats, keep_walls, look
from adbench_kernels.ray_casting.shading import POINT, paint

F = np.float32


def raycast(
    camera: Tensor,
    scene_index: Tensor,
    moving_walls: Tensor,
    moving_flats: Tensor,
    moving_corners: Tensor,
    walls: Tensor,
    flats: Tensor,
    corners: Tensor,
    texels: Tensor,
    levels: Tensor,
    sizes: Tensor,
    sky: Tensor,
    height: int,
    width: int,
    samples: int,
) -> Tensor:
    """Frames, uint8 [N, H, W, 3].

    Args:
        camera: x, y, z, yaw, float32 [N, 4].
        scene_index: the scene of each camera, int64 [N].
        moving_walls: of `tables.Tables`, and so on.
        moving_flats: see `moving_walls`.
        moving_corners: see `moving_walls`.
        walls: see `moving_walls`.
        flats: see `moving_walls`.
        corners: see `moving_walls`.
        texels: see `moving_walls`.
        levels: see `moving_walls`.
        sizes: see `moving_walls`.
        sky: see `moving_walls`.
        height: H.
        width: W.
        samples: 1 or 4.
    """
    frames = torch.empty(len(camera), height, width, 3, dtype=torch.uint8)
    moving = (moving_walls, moving_flats, moving_corners)
    fixed = (walls, flats, corners, texels, levels, sizes, sky)
    given = [x.detach().contiguous().numpy() for x in (camera, scene_index, *moving, *fixed)]
    pixels = (*_rows_and_columns(height, samples), F(pixel_slope(height)), height, width)

    def work(first: int, end: int) -> None:
        draw(first, end, *given, *pixels, frames.view(len(camera), 3 * height * width).numpy())

    share_among_threads(work, len(camera))
    return frames


def _rows_and_columns(height: int, samples: int) -> tuple[Any, Any, Any]:
    """Rows up to the middle of the frame, of each sample and last of pixels' middles; 1 / the
    latter; where in a pixel's width its samples are."""
    across, down = np.array(SAMPLES[samples], F).T
    down = np.append(down, F(0.5))
    above = F(height / 2) - np.arange(_padded(height), dtype=F) - down[:, None]
    # Nothing flat is seen in a row at the height of the eye, but pixels around it may sample it.
    middle = np.where(above[-1] == 0.0, F(1e-6), above[-1])
    return above, F(1.0) / middle, np.ascontiguousarray(across)


def _padded(height: int) -> int:
    return -(-height // WIDTH) * WIDTH


def _kernel(source: str) -> Any:
    """The kernel, compiled at first use; `source` is what it is written in, a part of its key."""

    def draw(
        first: Any, end: Any, camera: Any, index: Any, moving_walls: Any, moving_flats: Any,
        moving_corners: Any, walls: Any, flats: Any, corners: Any, texels: Any, levels: Any,
        sizes: Any, sky: Any, above: Any, share: Any, across: Any, slope: Any, height: Any,
        width: Any, frames: Any,
    ) -> None:  # fmt: skip
        _ = len(source)
        samples, padded = across.shape[0], above.shape[1]
        most_walls = walls.shape[1] + moving_walls.shape[1]
        most_flats = flats.shape[1] + moving_flats.shape[1]
        # Made here, so that LLVM knows that no two of them overlap. All of them have two
        # dimensions, because each kind of array costs a quarter of a second of compilation.
        kept_walls = np.empty((most_walls, KEPT), F)
        wall_paints = np.empty((most_walls, PAINTED), np.int64)
        kept_flats = np.empty((most_flats, KEPT), F)
        flat_paints = np.empty((most_flats, PAINTED), np.int64)
        reach = np.empty((most_flats * 2 * samples, width), F)
        nearness = np.empty((1, padded), F)
        seen = np.empty((samples, padded), np.int32)
        middle = above[samples]
        point = POINT + (samples >> 1)
        half = np.int64(1) << (point - 1)

        for n in range(first, end):
            view = (
                camera[n, 0], camera[n, 1], camera[n, 2],
                F(math.cos(camera[n, 3])), F(math.sin(camera[n, 3])), slope,
            )  # fmt: skip
            scene = index[n]
            num_walls = keep_walls(walls[scene], view, width, sizes, kept_walls, wall_paints, 0)
            num_flats = keep_flats(
                flats[scene], corners[scene], view, width, across, kept_flats, flat_paints, reach, 0
            )
            if moving_walls.shape[0]:
                num_walls = keep_walls(
                    moving_walls[n], view, width, sizes, kept_walls, wall_paints, num_walls
                )
                num_flats = keep_flats(
                    moving_flats[n], moving_corners[n], view, width, across, kept_flats,
                    flat_paints, reach, num_flats,
                )  # fmt: skip
            frame = frames[n]
            for j in range(width):
                for s in range(samples):
                    look(
                        F(j) + across[s], j, s, samples, kept_walls, num_walls, kept_flats, reach,
                        num_flats, above[s], above[s, 0], height, nearness[0], seen[s],
                    )  # fmt: skip
                i = s = 0
                sums = (half, half, half)
                while i < height:
                    who = seen[s, i]
                    weight = 1
                    while s + weight < samples and seen[s + weight, i] == who:
                        weight += 1
                    stop = i + 1
                    if weight == samples:
                        while stop < height and seen[0, stop] == who:
                            if samples > 1 and (
                                seen[1, stop] != who or seen[2, stop] != who or seen[3, stop] != who
                            ):
                                break
                            stop += 1
                    sums = paint(
                        frame, 3 * (i * width + j), 3 * width, i, stop, weight, sums, point,
                        who, F(j) + F(0.5), middle, share, kept_walls, wall_paints, kept_flats,
                        flat_paints, sky, texels, levels, sizes, samples > 1,
                    )  # fmt: skip
                    s += weight
                    if s == samples:
                        sums = (half, half, half)
                        s = 0
                        i = stop

    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(draw)
    except RuntimeError:  # numba's "no locator available": nothing here can be written
        return numba.njit(nogil=True, error_model="numpy")(draw)


draw = _kernel("".join(Path(str(m.__file__)).read_text() for m in (columns, rows, shading)))
