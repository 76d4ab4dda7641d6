"""Launching the Triton kernels: shapes, tiles and grids. Works on tensors of the meta device too.

N cameras, S scenes, W walls, F flats, P = W + F surfaces, G edges, B bodies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.choice import arch
from adbench_kernels.configs import Tile, tile
from adbench_kernels.devices import LAUNCH_OPTIONS, launching_on
from adbench_kernels.ray_casting.camera import SAMPLES, pixel_slope

AT_ONCE = 4096
"""Cameras whose view is kept at a time: some 6 KB each, so that it stays in a last-level cache."""

_SURFACES = 32
"""That one warp puts before a camera at a time."""
_LEAST_SIDE = 16
"""Of a tile: small frames take smaller ones, but not each its own."""


def raycast(
    camera: Tensor,
    scene_index: Tensor,
    bodies: Tensor,
    walls: Tensor,
    flats: Tensor,
    edges: Tensor,
    constants: Tensor,
    texels: Tensor,
    levels: Tensor,
    height: int,
    width: int,
    samples: int,
) -> Tensor:
    """Frames, uint8 [N, height, width, 3].

    Args:
        camera: x, y, z, yaw, float32 [N, 4].
        scene_index: the scene of each camera, int64 [N].
        bodies: x, y, z, yaw, float32 [N, B, 4].
        walls: as `packing.Packed` has them, and so on.
        flats: see `walls`.
        edges: see `walls`.
        constants: see `walls`.
        texels: see `walls`.
        levels: see `walls`.
        height: pixels.
        width: pixels.
        samples: 1 or 4.
    """
    frames = torch.empty(len(camera), height, width, 3, dtype=torch.uint8, device=camera.device)
    camera, scene_index, bodies = (x.contiguous() for x in (camera, scene_index, bodies))
    tables = (walls, flats, edges, constants)
    with launching_on(camera.device):
        for first in range(0, len(camera), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            view = _view(camera[some], scene_index[some], bodies[some], *tables, height, width)
            _draw(*view, texels, levels, walls.shape[2], frames[some], samples)
    return frames


def _view(
    camera: Tensor, scene_index: Tensor, bodies: Tensor, walls: Tensor, flats: Tensor,
    edges: Tensor, constants: Tensor, height: int, width: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Records [N, P + 1, .], bounds [N, 4, P] and lines [N, G, 4], see `view.view_surfaces`."""
    from adbench_kernels.ray_casting.triton.view import RECORD, view_surfaces

    number, surfaces = len(camera), walls.shape[2] + flats.shape[2]
    records = camera.new_empty(number, surfaces + 1, RECORD.value)
    bounds = camera.new_empty(number, 4, surfaces)
    lines = camera.new_empty(number, edges.shape[2], 4)
    view_surfaces[(number,)](
        camera, scene_index, bodies, walls, flats, edges, constants, records, bounds, lines,
        len(walls), bodies.shape[1], walls.shape[2], flats.shape[2], edges.shape[2],
        pixel_slope(height), width / 2, BLOCK=_SURFACES, num_warps=1, **LAUNCH_OPTIONS,
    )  # fmt: skip
    return records, bounds, lines


def _draw(
    records: Tensor, bounds: Tensor, lines: Tensor, texels: Tensor, levels: Tensor,
    num_walls: int, frames: Tensor, samples: int,
) -> None:  # fmt: skip
    """Fill the frames [N, height, width, 3]."""
    from adbench_kernels.ray_casting.triton.draw import draw_tiles

    number, height, width, _ = frames.shape
    blocks = _tile(frames, samples)
    block_m, block_n = (
        min(block, max(_LEAST_SIDE, 1 << (side - 1).bit_length()))
        for block, side in ((blocks.block_m, height), (blocks.block_n, width))
    )
    across = -(-width // block_n)
    tiles = -(-height // block_m) * across
    draw_tiles[(number * tiles,)](
        records, bounds, lines, texels, levels, frames,
        num_walls, bounds.shape[2], lines.shape[1], height, width, across, tiles,
        SAMPLES=samples, ACROSS=_places(samples, 0), DOWN=_places(samples, 1),
        LAST=levels.shape[1] - 1, BLOCK_M=block_m, BLOCK_N=block_n,
        num_warps=blocks.num_warps, num_stages=blocks.num_stages, **LAUNCH_OPTIONS,
    )  # fmt: skip


def _tile(frames: Tensor, samples: int) -> Tile:
    return tile(
        "raycast" if samples == 1 else "raycast_multisampled",
        arch=arch(frames.device),
        head_dim=0,
        length=len(frames),
        dtype_bytes=frames.element_size(),
    )


def _places(samples: int, axis: int) -> int:
    """Where in a pixel samples are: eighths, one hexadecimal digit each, the first one lowest."""
    return sum(round(8 * place[axis]) << 4 * s for s, place in enumerate(SAMPLES[samples]))
