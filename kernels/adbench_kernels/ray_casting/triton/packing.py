"""A scene as the kernels read it: tables of floats by row, texels as integers.

S scenes, W walls and F flats (those of bodies behind those that stay), G edges of flats, T texels,
K textures, V mip levels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from adbench_kernels.ray_casting.light import Light
from adbench_kernels.ray_casting.scene import Scene
from adbench_kernels.ray_casting.surfaces import EDGES_AT_ONCE, Surfaces, padded_edges
from adbench_kernels.ray_casting.textures import Textures

MOST_LEVELS = 1 << 20
"""Of all textures together: a surface's texture is 20 bits, and 4 for the log2 of each side."""


class Packed(NamedTuple):
    """A scene's tables.

    Attributes:
        walls: x, z of start and end, bottom, top, texels u at start and end, v at bottom and top,
            red, green, blue, the bits of the texture's code and of the body, float32 [S, 15, W].
        flats: height, faces, number of edges and the first of them, least x and z and most x and z,
            texels u = a x + b z + c, then v, red, green, blue, the bits of the texture's code and
            of the body, float32 [S, 19, F].
        edges: x, z of start and end, number of the flat, float32 [S, 5, G]. A flat's number of
            them is a multiple of four; those of no length bound nothing.
        constants: the sky's red, green, blue; x, y, z towards the light, ambient, diffuse; the
            bits of the white texel's code, float32 [9].
        texels: red in bits 15 to 22, green in 23 to 30, blue in 7 to 14, int32 [T + 1]; the last is
            white, for surfaces without a texture.
        levels: where each level's texels begin, int32 [K + 1, V].
    """

    walls: Tensor
    flats: Tensor
    edges: Tensor
    constants: Tensor
    texels: Tensor
    levels: Tensor


def packed(scene: Scene) -> Packed:
    """The tables of a scene, made at its first use."""
    if "triton" not in scene.cache:
        scene.cache["triton"] = _pack(scene)
    found: Packed = scene.cache["triton"]
    return found


def _pack(scene: Scene) -> Packed:
    surfaces = scene.fixed.beside(scene.moving)
    codes, sizes = _codes(scene.textures)
    # A number of -1 takes the last row: the white texel.
    wall, flat = surfaces.wall_texture.long(), surfaces.flat_texture.long()
    walls = (
        surfaces.wall_ends,
        surfaces.wall_heights,
        surfaces.wall_uv * sizes[wall].repeat_interleave(2, -1),
        surfaces.wall_colour,
        _bits(codes[wall]),
        _bits(surfaces.wall_body),
    )
    outlines, edges = _outlines(surfaces, scene.num_edges)
    flats = (
        torch.stack((surfaces.flat_height, surfaces.flat_faces), -1),
        outlines,
        surfaces.flat_uv * sizes[flat].repeat_interleave(3, -1),
        surfaces.flat_colour,
        _bits(codes[flat]),
        _bits(surfaces.flat_body),
    )
    return Packed(
        torch.cat(walls, -1).mT.contiguous(),
        torch.cat(flats, -1).mT.contiguous(),
        edges,
        torch.cat((scene.sky, _towards(scene.light, scene.sky), _bits(codes[-1]))),
        _texels(scene.textures),
        pad(scene.textures.levels[..., 0], (0, 0, 0, 1), value=len(scene.textures.texels)),
    )


def _bits(numbers: Tensor) -> Tensor:
    """int32 [...] as float32 [..., 1], bit by bit."""
    return numbers[..., None].view(torch.float32)


def _outlines(surfaces: Surfaces, num_edges: int) -> tuple[Tensor, Tensor]:
    """Of flats: number of edges, the first of them, least and most x and z, [S, F, 6]; and the
    edges, [S, 5, G]."""
    corners, number = surfaces.flat_corners, surfaces.flat_num_corners.long()
    scenes, flats, most, _ = corners.shape
    if not flats:
        return corners.new_zeros(scenes, 0, 6), corners.new_zeros(scenes, 5, num_edges)
    count = padded_edges(number)
    first = count.cumsum(1) - count
    edge = torch.arange(most + EDGES_AT_ONCE, device=corners.device)
    begin = torch.where(edge < number[..., None], edge, 0)
    # The last edge ends where the first begins, and so do those that pad.
    end = torch.where(edge + 1 < number[..., None], edge + 1, 0)
    flat = torch.arange(flats, device=corners.device)[:, None].expand(flats, len(edge))
    rows = torch.cat(
        (
            corners.gather(2, begin[..., None].expand(-1, -1, -1, 2)),
            corners.gather(2, end[..., None].expand(-1, -1, -1, 2)),
            flat.to(corners.dtype).expand(scenes, -1, -1)[..., None],
        ),
        -1,
    )
    # What is no edge goes to a row behind the last, which is left out.
    place = torch.where(edge < count[..., None], first[..., None] + edge, num_edges)
    edges = corners.new_zeros(scenes, num_edges + 1, 5)
    edges.scatter_(1, place.flatten(1)[..., None].expand(-1, -1, 5), rows.flatten(1, 2))
    counts = torch.stack((count, first), -1).to(corners.dtype)
    outlines = torch.cat((counts, corners.amin(2), corners.amax(2)), -1)
    return outlines, edges[:, :num_edges].mT.contiguous()


def _codes(textures: Textures) -> tuple[Tensor, Tensor]:
    """Of each texture and, last, of the white texel: its code, int32, and its size, float32."""
    number, depth = textures.levels.shape[:2]
    if (number + 1) * depth > MOST_LEVELS:
        raise ValueError(
            f"textures: 'triton' takes up to {MOST_LEVELS} levels; got {number} x {depth}"
        )
    first = torch.arange(number + 1, dtype=torch.int32, device=textures.levels.device) * depth
    # Log2 of sides that are powers of two; none for the white texel, and no size: u and v are 0.
    sides = torch.log2(textures.sizes.double()).round().int()
    width, height = pad(sides, (0, 0, 0, 1)).unbind(-1)
    return first | width << 20 | height << 24, pad(textures.sizes, (0, 0, 0, 1))


def _texels(textures: Textures) -> Tensor:
    red, green, blue = pad(textures.texels.int(), (0, 0, 0, 1), value=255).unbind(-1)
    return red << 15 | green << 23 | blue << 7


def _towards(light: Light, like: Tensor) -> Tensor:
    length = math.hypot(*light.towards)
    numbers = [*(number / length for number in light.towards), light.ambient, light.diffuse]
    return like.new_tensor(numbers)
