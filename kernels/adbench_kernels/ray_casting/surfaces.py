"""Surfaces as tables: what every implementation draws.

L leading size (scenes or cameras), W walls, F flats, E corners of a flat. Scenes are padded to
equal numbers by walls without length and flats that face nowhere, which nothing sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from adbench_kernels.ray_casting.parts import Flat, Part, Wall
from adbench_kernels.ray_casting.textures import Textures

EDGES_AT_ONCE = 4
"""Edges of a flat that the Triton kernel takes at a time."""


@dataclass(frozen=True)
class Surfaces:
    """Walls and flats, lit or (those of bodies, before they are placed) in their own colours.

    Attributes:
        wall_ends: x, z of the start and of the end, float32 [L, W, 4].
        wall_heights: bottom and top, float32 [L, W, 2].
        wall_uv: u at the start and at the end, v at the bottom and at the top, float32 [L, W, 4].
        wall_colour: float32 [L, W, 3], 0 to 1.
        wall_texture: number, -1 for none, int32 [L, W].
        wall_body: number, -1 for none, int32 [L, W].
        flat_corners: x, z of convex outlines, counterclockwise from above; the last one repeats,
            float32 [L, F, E, 2].
        flat_num_corners: int32 [L, F].
        flat_height: float32 [L, F].
        flat_faces: 1 up, -1 down, 0 neither, float32 [L, F].
        flat_uv: u = a x + b z + c, then the three of v, float32 [L, F, 6].
        flat_colour: float32 [L, F, 3].
        flat_texture: int32 [L, F].
        flat_body: int32 [L, F].
    """

    wall_ends: Tensor
    wall_heights: Tensor
    wall_uv: Tensor
    wall_colour: Tensor
    wall_texture: Tensor
    wall_body: Tensor
    flat_corners: Tensor
    flat_num_corners: Tensor
    flat_height: Tensor
    flat_faces: Tensor
    flat_uv: Tensor
    flat_colour: Tensor
    flat_texture: Tensor
    flat_body: Tensor

    def to(self, device: torch.device | str) -> Surfaces:
        """The same on another device."""
        return Surfaces(*(tensor.to(device) for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tables, in the order above."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def take(self, index: Tensor) -> Surfaces:
        """Rows of the leading size, by number."""
        return Surfaces(*(tensor[index] for tensor in self.tensors()))

    def beside(self, others: Surfaces) -> Surfaces:
        """These and others, of the same leading size."""
        corners = max(self.flat_corners.shape[2], others.flat_corners.shape[2])
        own, more = self._with_corners(corners), others._with_corners(corners)
        both = zip(own.tensors(), more.tensors(), strict=True)
        return Surfaces(*(torch.cat((a.to(b.dtype), b), 1) for a, b in both))

    def _with_corners(self, corners: int) -> Surfaces:
        """The same with outlines of `corners` corners; flats without any stay without."""
        outline = self.flat_corners
        missing = corners - outline.shape[2]
        if outline.shape[2]:
            padding = outline[:, :, -1:].expand(-1, -1, missing, -1)
        else:
            padding = outline.new_zeros(*outline.shape[:2], missing, 2)
        return replace(self, flat_corners=torch.cat((outline, padding), 2))

    @property
    def empty(self) -> bool:
        """Whether there is no wall and no flat."""
        return self.wall_texture.shape[1] == 0 and self.flat_texture.shape[1] == 0


def padded_edges(corners: Tensor) -> Tensor:
    """How many edges outlines of that many corners have in tables, a multiple of four each."""
    return (corners + (EDGES_AT_ONCE - 1)) // EDGES_AT_ONCE * EDGES_AT_ONCE


def tabulate(
    worlds: Sequence[Sequence[Part]], textures: Textures, bodies: Sequence[str]
) -> Surfaces:
    """Write the parts of several worlds down as tables.

    Args:
        worlds: L lists of parts.
        textures: that they name.
        bodies: names of bodies, by number.

    Raises:
        ValueError: an unknown texture.
    """
    pieces = [[piece for part in world for piece in part.pieces()] for world in worlds]
    walls = [[p for p in world if isinstance(p, Wall)] for world in pieces]
    flats = [[p for p in world if isinstance(p, Flat)] for world in pieces]
    numbers = {name: number for number, name in enumerate(bodies)}
    most_walls, most_flats = max(map(len, walls), default=0), max(map(len, flats), default=0)
    corners = max((len(flat.outline) for world in flats for flat in world), default=0)
    lead = len(worlds)
    tables = Surfaces(
        wall_ends=torch.zeros(lead, most_walls, 4),
        wall_heights=torch.zeros(lead, most_walls, 2),
        wall_uv=torch.zeros(lead, most_walls, 4),
        wall_colour=torch.zeros(lead, most_walls, 3),
        wall_texture=torch.full((lead, most_walls), -1, dtype=torch.int32),
        wall_body=torch.full((lead, most_walls), -1, dtype=torch.int32),
        flat_corners=torch.zeros(lead, most_flats, corners, 2),
        flat_num_corners=torch.zeros(lead, most_flats, dtype=torch.int32),
        flat_height=torch.zeros(lead, most_flats),
        flat_faces=torch.zeros(lead, most_flats),
        flat_uv=torch.zeros(lead, most_flats, 6),
        flat_colour=torch.zeros(lead, most_flats, 3),
        flat_texture=torch.full((lead, most_flats), -1, dtype=torch.int32),
        flat_body=torch.full((lead, most_flats), -1, dtype=torch.int32),
    )
    for s in range(lead):
        for k, wall in enumerate(walls[s]):
            _write_wall(tables, s, k, wall, textures)
            tables.wall_body[s, k] = -1 if wall.body is None else numbers[wall.body]
        for k, flat in enumerate(flats[s]):
            _write_flat(tables, s, k, flat, textures)
            tables.flat_body[s, k] = -1 if flat.body is None else numbers[flat.body]
    return tables


def _write_wall(tables: Surfaces, s: int, k: int, wall: Wall, textures: Textures) -> None:
    texture = textures.number(wall.texture, wanted_by=f"Wall {wall.start} to {wall.end}")
    tables.wall_ends[s, k] = torch.tensor([*wall.start, *wall.end])
    tables.wall_heights[s, k] = torch.tensor([wall.bottom, wall.top])
    tables.wall_colour[s, k] = torch.tensor(wall.colour)
    tables.wall_texture[s, k] = texture
    if wall.uv is not None:
        u0, v0, u1, v1 = wall.uv
        tables.wall_uv[s, k] = torch.tensor([u0, u1, v0, v1])
    elif texture >= 0:
        width, height = textures.sizes[texture].tolist()
        length = torch.dist(torch.tensor(wall.start), torch.tensor(wall.end)).item()
        u, v = wall.texels_per_metre / width, wall.texels_per_metre / height
        tables.wall_uv[s, k] = torch.tensor([0.0, length * u, wall.bottom * v, wall.top * v])


def _write_flat(tables: Surfaces, s: int, k: int, flat: Flat, textures: Textures) -> None:
    corners = flat.counterclockwise()
    texture = textures.number(flat.texture, wanted_by=f"Flat at {flat.outline[0]}")
    padding = tables.flat_corners.shape[2] - len(corners)
    tables.flat_corners[s, k] = torch.tensor([*corners, *[corners[-1]] * padding])
    tables.flat_num_corners[s, k] = len(corners)
    tables.flat_height[s, k] = flat.height
    tables.flat_faces[s, k] = 1.0 if flat.faces == "up" else -1.0
    tables.flat_colour[s, k] = torch.tensor(flat.colour)
    tables.flat_texture[s, k] = texture
    if texture >= 0:
        width, height = textures.sizes[texture].tolist()
        u, v = flat.texels_per_metre / width, flat.texels_per_metre / height
        tables.flat_uv[s, k] = torch.tensor([u, 0.0, 0.0, 0.0, v, 0.0])
