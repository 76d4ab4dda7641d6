"""Rooms, pools, boxes and pictures as MiniWorld's rooms and entities.

What MiniWorld has is used as it is: its walls, floors, ceilings, openings, boxes and image frames.
It has neither level surfaces above the floor nor rims; those are drawn here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from miniworld.entity import Box as MiniWorldBox
from miniworld.entity import Entity, ImageFrame
from miniworld.miniworld import Room as MiniWorldRoom
from miniworld.miniworld import gen_texcs_floor, gen_texcs_wall
from miniworld.opengl import Texture
from miniworld.params import DomainParams
from pyglet.gl import (
    GL_POLYGON,
    GL_QUADS,
    GL_TEXTURE_2D,
    glBegin,
    glColor3f,
    glDisable,
    glEnable,
    glEnd,
    glNormal3f,
    glTexCoord2f,
    glVertex3f,
)

from adbench_envs.worlds.opengl.textures import known_to_miniworld
from adbench_envs.worlds.outlines import left_of, regular, walls_of

if TYPE_CHECKING:
    from adbench_envs.worlds.world import Rim, Room
    from adbench_kernels.ray_casting import Box, Disc, Picture

_CORNERS = 4
"""Of a wall."""


class TexturedRoom(MiniWorldRoom):
    """A room with a texture for each of its walls; MiniWorld's have one for all."""

    wall_verts: npt.NDArray[np.float64]

    def __init__(self, room: Room) -> None:
        names = [
            None if name is None else known_to_miniworld(name, room.texels_per_metre)
            for name in (*room.walls, room.floor, room.ceiling)
        ]
        *walls, floor, ceiling = names
        self._textures = [Texture.get(name) for name in walls if name is not None]
        super().__init__(
            np.array(room.outline),
            wall_height=room.height,
            wall_tex=floor,  # not seen: every wall is given its own below
            floor_tex=floor,
            ceil_tex=ceiling,
        )
        for number, name in enumerate(walls):
            if name is None:
                ends = self.outline[number] - self.outline[(number + 1) % self.num_walls]
                self.add_portal(number, start_pos=0.0, end_pos=np.linalg.norm(ends))

    def _gen_static_data(self, params: DomainParams, rng: np.random.Generator | None) -> None:
        super()._gen_static_data(params, rng)
        for number, texture in enumerate(self._textures):
            corners = slice(_CORNERS * number, _CORNERS * (number + 1))
            low, _, _, right = self.wall_verts[corners]
            self.wall_texcs[corners] = gen_texcs_wall(
                texture, 0.0, 0.0, np.linalg.norm(right - low), self.wall_height
            )

    def _render(self) -> None:
        walls, self.wall_verts = self.wall_verts, self.wall_verts[:0]
        super()._render()  # floor and ceiling
        self.wall_verts = walls
        for number, texture in enumerate(self._textures):
            texture.bind()
            glBegin(GL_QUADS)
            for corner in range(_CORNERS * number, _CORNERS * (number + 1)):
                glNormal3f(*self.wall_norms[corner])
                glTexCoord2f(*self.wall_texcs[corner])
                glVertex3f(*walls[corner])
            glEnd()


class Still(Entity):
    """Something that never moves, in the world's coordinates."""

    is_static = True

    def __init__(self) -> None:
        super().__init__()
        self.pos, self.dir = np.zeros(3), 0.0


class Level(Still):
    """A level polygon at any height: water."""

    def __init__(self, disc: Disc) -> None:
        super().__init__()
        self._disc = disc
        self._texture = None
        if disc.texture is not None:
            self._texture = Texture.get(known_to_miniworld(disc.texture, disc.texels_per_metre))

    def render(self) -> None:
        """Draw it, seen from above or from below as the disc says."""
        disc = self._disc
        x, z = disc.centre
        outline = regular(disc.corners, disc.radius)
        corners = np.array([(x + east, disc.height, z + south) for east, south in outline])
        up = 1.0 if disc.faces == "up" else -1.0
        corners = corners if up > 0.0 else corners[::-1]
        where = np.zeros((len(corners), 2))
        if self._texture is not None:
            where = gen_texcs_floor(self._texture, corners)
        glColor3f(*disc.colour)
        _wear(self._texture)
        glBegin(GL_POLYGON)
        glNormal3f(0.0, up, 0.0)
        for corner, uv in zip(corners, where, strict=True):
            glTexCoord2f(*uv)
            glVertex3f(*corner)
        glEnd()


class Ring(Still):
    """The inside of a rim."""

    def __init__(self, rim: Rim) -> None:
        super().__init__()
        self._rim = rim

    def render(self) -> None:
        """Draw its quadrilaterals."""
        rim = self._rim
        x, z = rim.centre
        glColor3f(*rim.colour)
        _wear(None)
        glBegin(GL_QUADS)
        for wall in walls_of(regular(rim.corners, rim.radius)):
            (x0, z0), (x1, z1) = wall
            inwards_x, inwards_z = left_of(wall)
            glNormal3f(inwards_x, 0.0, inwards_z)
            glVertex3f(x + x0, rim.bottom, z + z0)
            glVertex3f(x + x0, rim.top, z + z0)
            glVertex3f(x + x1, rim.top, z + z1)
            glVertex3f(x + x1, rim.bottom, z + z1)
        glEnd()


class Body(MiniWorldBox):
    """A box in any colour, that may be placed anew for every frame."""

    def __init__(self, box: Box) -> None:
        super().__init__("grey", size=np.array(box.size))
        self.body = box.body
        self._box = box
        self.place(0.0, 0.0, 0.0, 0.0)

    @property
    def is_static(self) -> bool:
        """Whether it stays where it is."""
        return self._box.body is None

    def randomize(self, params: DomainParams, rng: np.random.Generator | None) -> None:
        """Nothing is random: it takes on its colour."""
        self.color_vec = np.array(self._box.colour)

    def place(self, x: float, y: float, z: float, yaw: float) -> None:
        """Put its body there, metres and radians."""
        east, south = self._box.centre
        cos, sin = math.cos(yaw), math.sin(yaw)
        self.pos = np.array(
            (x + east * cos + south * sin, y + self._box.bottom, z - east * sin + south * cos)
        )
        self.dir = yaw + self._box.yaw


def image_frame(picture: Picture) -> ImageFrame:
    """A framed picture as MiniWorld hangs it."""
    name = known_to_miniworld(picture.texture)
    frame = ImageFrame(
        np.array(picture.centre), picture.yaw, name, picture.width, depth=picture.depth
    )
    frame.height = picture.height
    return frame


def _wear(texture: Texture | None) -> None:
    """Draw with a texture, or without any."""
    if texture is None:
        glDisable(GL_TEXTURE_2D)
    else:
        glEnable(GL_TEXTURE_2D)
        texture.bind()
