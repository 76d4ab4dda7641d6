"""The suite's textures among MiniWorld's: uploaded from memory, and found there by name.

MiniWorld keeps textures for as long as its process lives, and so do we.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyglet
from miniworld.opengl import Texture
from pyglet.gl import (
    GL_LINEAR,
    GL_LINEAR_MIPMAP_LINEAR,
    GL_TEXTURE_MAG_FILTER,
    GL_TEXTURE_MIN_FILTER,
    glBindTexture,
    glGenerateMipmap,
    glTexParameteri,
)

from adbench_envs.worlds.textures import texture

MINIWORLDS_TEXELS_PER_METRE = 512.0


@cache
def known_to_miniworld(name: str, texels_per_metre: float = MINIWORLDS_TEXELS_PER_METRE) -> str:
    """The name by which `Texture.get` finds a texture of ours.

    Args:
        name: one of `textures.NAMES`.
        texels_per_metre: MiniWorld lays out all textures by 512; one that covers more ground says
            that it is larger than it is.
    """
    worn = Texture(_uploaded(name), name)
    larger = MINIWORLDS_TEXELS_PER_METRE / texels_per_metre
    worn.width, worn.height = worn.tex.width * larger, worn.tex.height * larger
    full_name = f"adbench/{name}@{texels_per_metre:g}"
    # As if it had been loaded from a file of that name.
    Texture.tex_paths[full_name] = [full_name]
    Texture.tex_cache[full_name] = worn
    return full_name


@cache
def _uploaded(name: str) -> pyglet.image.Texture:
    """Trilinear, with mip levels, as MiniWorld's own."""
    picture = texture(name)
    height, width, _ = picture.shape
    # With a fourth channel: pyglet would add it texel by texel, in Python.
    four = np.dstack((picture, np.full((height, width, 1), 255, np.uint8)))
    # A negative pitch says that the top row comes first.
    image = pyglet.image.ImageData(width, height, "RGBA", four.tobytes(), pitch=-4 * width)
    uploaded = image.get_texture()
    glBindTexture(uploaded.target, uploaded.id)
    glGenerateMipmap(uploaded.target)
    glTexParameteri(uploaded.target, GL_TEXTURE_MAG_FILTER, GL_LINEAR)
    glTexParameteri(uploaded.target, GL_TEXTURE_MIN_FILTER, GL_LINEAR_MIPMAP_LINEAR)
    glBindTexture(uploaded.target, 0)
    return uploaded
