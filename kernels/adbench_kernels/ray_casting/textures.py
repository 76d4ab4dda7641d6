"""Textures in one atlas, each with its mip levels.

T texels in all, K textures, V mip levels of the largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MOST_TEXELS_A_SIDE = 8192


@dataclass(frozen=True)
class Textures:
    """Pictures that surfaces wear; made by `pack_textures`.

    Attributes:
        names: of the K textures; a texture's number is its place here.
        texels: red, green, blue, uint8 [T, 3]; rows run from the bottom of a picture to its top.
        levels: where each mip level's texels begin, its width and its height, int32 [K, V, 3];
            beyond a texture's own last level that one repeats.
        sizes: width and height of the pictures as they came, float32 [K, 2], texels.
    """

    names: tuple[str, ...]
    texels: Tensor
    levels: Tensor
    sizes: Tensor

    def number(self, name: str | None, *, wanted_by: str) -> int:
        """A texture's number, -1 for none.

        Args:
            name: one of `names`, or none.
            wanted_by: what to call the surface in the error.

        Raises:
            ValueError: there is no such texture.
        """
        if name is None:
            return -1
        if name not in self.names:
            known = ", ".join(self.names) or "none was given"
            raise ValueError(f"texture: {wanted_by} wants {name!r}; known: {known}")
        return self.names.index(name)

    def to(self, device: torch.device | str) -> Textures:
        """The same on another device."""
        return Textures(
            self.names, self.texels.to(device), self.levels.to(device), self.sizes.to(device)
        )


def pack_textures(pictures: Mapping[str, Any]) -> Textures:
    """Put pictures into one atlas, with all mip levels down to a single texel.

    Args:
        pictures: uint8 [height, width, 3] (red, green, blue; top row first), tensors or arrays, by
            name. Sides are powers of two, so that repeating them is a mask.

    Raises:
        ValueError: names the texture.
    """
    chains = [_mip_levels(_checked(name, picture)) for name, picture in pictures.items()]
    deepest = max((len(chain) for chain in chains), default=1)
    levels = torch.zeros(len(chains), deepest, 3, dtype=torch.int32)
    texels, begins = [], 0
    for k, chain in enumerate(chains):
        for v, image in enumerate(chain):
            height, width, _ = image.shape
            levels[k, v:] = torch.tensor([begins, width, height])
            texels.append(image.reshape(-1, 3))
            begins += height * width
    # One black texel where there is no texture at all: numbers of textures are clamped to 0.
    packed = torch.cat(texels) if texels else torch.zeros(1, 3, dtype=torch.uint8)
    return Textures(tuple(pictures), packed, levels, levels[:, 0, 1:].float())


def _checked(name: str, picture: Any) -> Tensor:
    image = torch.as_tensor(picture)
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"textures: {name!r} must be uint8 [height, width, 3]; "
            f"got {image.dtype} {list(image.shape)}"
        )
    for side in image.shape[:2]:
        if side < 1 or side & (side - 1) or side > MOST_TEXELS_A_SIDE:
            raise ValueError(
                f"textures: the sides of {name!r} must be powers of two, at most "
                f"{MOST_TEXELS_A_SIDE}; got {image.shape[1]} x {image.shape[0]}: resize it"
            )
    return image.flip(0)


def _mip_levels(image: Tensor) -> list[Tensor]:
    """From the picture to one texel, each level a box filter of the one before.

    Pairs of columns first, then pairs of rows, each mean rounded up: so does Mesa's llvmpipe, to
    whose frames ours are compared. One rounding to nearest would be 1.7 of 255 darker at the top.
    """
    chain, wide = [image], image.int()
    while wide.shape[0] > 1 or wide.shape[1] > 1:
        if wide.shape[1] > 1:
            wide = (wide[:, ::2] + wide[:, 1::2] + 1) // 2
        if wide.shape[0] > 1:
            wide = (wide[::2] + wide[1::2] + 1) // 2
        chain.append(wide.to(torch.uint8))
    return chain
