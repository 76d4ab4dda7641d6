"""A scene as the numba kernel reads it: a row a surface, texels as integers.

N cameras, S scenes, W walls, F flats, E corners, T texels, K textures, V mip levels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adbench_kernels.ray_casting.scene import Scene
from adbench_kernels.ray_casting.surfaces import Surfaces
from adbench_kernels.ray_casting.textures import Textures

CHANNEL_BITS = 21
"""Of a texel: 255 times weights that sum to 8,192 fit."""


class Tables(NamedTuple):
    """What there is.

    Attributes:
        moving_walls: of bodies where each camera finds them, as `walls`, leading size N; 0: none.
        moving_flats: the same.
        moving_corners: the same.
        walls: x, z of start and end, bottom, top, u at start and end, v at bottom and top, red,
            green, blue, number of the texture, float32 [S, W, 14].
        flats: height, faces, number of corners, u = a x + b z + c, then v, red, green, blue, number
            of the texture, float32 [S, F, 13].
        corners: x, z, float32 [S, F, E, 2].
        texels: red, green, blue, int64 [T].
        levels: of each texture: begin, width - 1, height - 1, log2 of the width, int64 [K V 4].
        sizes: width and height of the pictures, float32 [K, 2].
        sky: red, green, blue in 65,536ths, int64 [3].
    """

    moving_walls: Tensor
    moving_flats: Tensor
    moving_corners: Tensor
    walls: Tensor
    flats: Tensor
    corners: Tensor
    texels: Tensor
    levels: Tensor
    sizes: Tensor
    sky: Tensor


def tables(scene: Scene, placed: Surfaces | None) -> Tables:
    """The tables of a scene, of which those of what does not move are kept.

    Args:
        scene: on the CPU.
        placed: surfaces of bodies, leading size N.
    """
    if "numba" not in scene.cache:
        scene.cache["numba"] = (*_rows(scene.fixed), *_texels(scene.textures), _sky(scene))
    fixed = scene.cache["numba"]
    moving = [table[:0] for table in fixed[:3]] if placed is None else _rows(placed)
    return Tables(*moving, *fixed)


def _rows(surfaces: Surfaces) -> tuple[Tensor, Tensor, Tensor]:
    """Walls [., W, 14], flats [., F, 13] and their corners."""
    walls = (
        surfaces.wall_ends,
        surfaces.wall_heights,
        surfaces.wall_uv,
        surfaces.wall_colour,
        surfaces.wall_texture[..., None].float(),
    )
    flats = (
        surfaces.flat_height[..., None],
        surfaces.flat_faces[..., None],
        surfaces.flat_num_corners[..., None].float(),
        surfaces.flat_uv,
        surfaces.flat_colour,
        surfaces.flat_texture[..., None].float(),
    )
    return torch.cat(walls, -1), torch.cat(flats, -1), surfaces.flat_corners.contiguous()


def _texels(textures: Textures) -> tuple[Tensor, Tensor, Tensor]:
    red, green, blue = textures.texels.long().unbind(-1)
    texels = red | green << CHANNEL_BITS | blue << 2 * CHANNEL_BITS
    begins, width, height = textures.levels.long().unbind(-1)
    shift = torch.log2(width.double()).round().long()
    levels = torch.stack((begins, width - 1, height - 1, shift), -1)
    return texels, levels.flatten(), textures.sizes


def _sky(scene: Scene) -> Tensor:
    return (scene.sky.double() * 2**16).round().long()
