"""A room to cast rays into, and its picture worked out pixel by pixel from the parts themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_kernels.ray_casting import Box, Disc, Flat, Part, Picture, Wall

DRAWERS: tuple[Any, ...] = ("numba", "reference")
"""Implementations that run on every machine."""

POOL_HEIGHT = 0.15
_HALF, _HIGH, _POOL = 4.0, 3.0, 2.6


def pictures() -> dict[str, Tensor]:
    """Textures of several shapes, from a fixed seed; "card" has four colours."""
    source = torch.Generator().manual_seed(0)

    def speckled(height: int, width: int, base: int) -> Tensor:
        coarse = torch.rand(1, 3, height // 4, width // 4, generator=source)
        grown = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
        return (base + 100 * grown[0].permute(1, 2, 0)).to(torch.uint8)

    card = torch.zeros(32, 32, 3, dtype=torch.uint8)
    card[:16, :16], card[:16, 16:] = torch.tensor([255, 0, 0]), torch.tensor([0, 255, 0])
    card[16:, :16] = torch.tensor([0, 0, 255])
    return {
        "brick": speckled(128, 128, 60),
        "wood": speckled(64, 128, 100),
        "stone": speckled(128, 32, 140),
        "water": speckled(64, 64, 20),
        "card": card,
    }


def room() -> list[Part]:
    """A square room with a pool of 12 sides, its rim, a picture and a box."""
    corners = ((_HALF, _HALF), (_HALF, -_HALF), (-_HALF, -_HALF), (-_HALF, _HALF))
    pool = Disc((0.0, 0.0), _POOL, POOL_HEIGHT, corners=12, texture="water", texels_per_metre=40.0)
    rim = pool.outline()
    walls = ("brick", "wood", "stone", "brick")
    return [
        Flat(corners, 0.0, texture="stone", texels_per_metre=64.0),
        Flat(corners, _HIGH, "down", texture="wood", texels_per_metre=32.0),
        *(
            Wall(
                corners[k], corners[(k + 1) % 4], 0.0, _HIGH, texture=walls[k], texels_per_metre=64
            )
            for k in range(4)
        ),
        pool,
        *(
            Wall(rim[k], rim[(k + 1) % 12], POOL_HEIGHT, 0.4, colour=(0.85, 0.85, 0.9))
            for k in range(12)
        ),
        Picture((_HALF, 1.6, 0.5), math.pi, 1.2, 0.8, "card"),
        Box((-3.2, 3.1), (0.7, 1.4, 0.5), yaw=0.4, colour=(0.9, 0.1, 0.1)),
    ]


def poses(count: int, seed: int = 0) -> Tensor:
    """Eyes above the pool, float32 [count, 4]."""
    source = torch.Generator().manual_seed(seed)
    r, turn, yaw = torch.rand(3, count, generator=source)
    r, turn, yaw = (_POOL - 0.3) * r.sqrt(), 2 * math.pi * turn, 2 * math.pi * yaw
    eye = torch.full((count,), POOL_HEIGHT + 0.9)
    return torch.stack((r * turn.cos(), eye, r * turn.sin(), yaw), -1)


def brute_force(
    parts: list[Part],
    images: dict[str, Tensor],
    camera: Tensor,
    height: int,
    width: int,
    samples: int,
) -> Tensor:
    """Frames from three-dimensional rays and polygons in float64, MiniWorld's light and sky.

    Shares nothing with the implementations but the parts: polygons are found by ray and plane,
    texture coordinates from three corners, their change from pixel to pixel by differences.
    """
    polygons = [_Polygon(piece, images) for part in parts for piece in part.pieces()]
    chains = {name: _mip_chain(image) for name, image in images.items()}
    places = {
        1: [(0.5, 0.5)],
        4: [(0.375, 0.875), (0.875, 0.625), (0.125, 0.375), (0.625, 0.125)],
    }[samples]
    slope = 2.0 * math.tan(math.pi / 6.0) / height
    frames = np.zeros((len(camera), height, width, 3))
    for n, (x, y, z, yaw) in enumerate(camera.tolist()):
        eye = np.array([x, y, z])

        def ray(row: float, column: float, yaw: float = yaw) -> Any:
            aside, up = (column - width / 2) * slope, (height / 2 - row) * slope
            cos, sin = math.cos(yaw), math.sin(yaw)
            return np.array([cos + aside * sin, up, -sin + aside * cos])

        for i in range(height):
            for j in range(width):
                for across, down in places:
                    direction = ray(i + down, j + across)
                    depths = [polygon.depth(eye, direction) for polygon in polygons]
                    if min(depths) == math.inf:
                        frames[n, i, j] += np.array([0.25, 0.82, 1.0]) / samples
                        continue
                    polygon = polygons[int(np.argmin(depths))]
                    colour = polygon.colour
                    if polygon.texture is not None:
                        chain, step = chains[polygon.texture], 1e-4
                        if abs(ray(i + 0.5, j + 0.5) @ polygon.normal) < 1e-12:  # its horizon
                            frames[n, i, j] += colour * chain[-1][0, 0] / 255.0 / samples
                            continue
                        uv = polygon.uv(eye, ray(i + 0.5, j + 0.5))
                        side = polygon.uv(eye, ray(i + 0.5, j + 0.5 + step)) - uv
                        below = polygon.uv(eye, ray(i + 0.5 + step, j + 0.5)) - uv
                        size = np.array(chain[0].shape[1::-1])
                        spans = (np.linalg.norm(change * size) for change in (side, below))
                        rho = float(max(spans)) / step
                        colour = colour * _texel(chain, uv, rho, blend=samples == 4)
                    frames[n, i, j] += colour / samples
    return torch.from_numpy(np.clip(np.round(frames * 255), 0, 255).astype(np.uint8))


class _Polygon:
    """A piece as corners in space, its normal, its colour in MiniWorld's light."""

    def __init__(self, piece: Wall | Flat, images: dict[str, Tensor]) -> None:
        self.texture = piece.texture
        size = images[piece.texture].shape if piece.texture else (1, 1)
        u_metre, v_metre = piece.texels_per_metre / size[1], piece.texels_per_metre / size[0]
        if isinstance(piece, Wall):
            (x0, z0), (x1, z1) = piece.start, piece.end
            low, high = piece.bottom, piece.top
            corners = [(x0, low, z0), (x1, low, z1), (x1, high, z1), (x0, high, z0)]
            length = math.hypot(x1 - x0, z1 - z0)
            u0, v0, u1, v1 = piece.uv or (0.0, low * v_metre, length * u_metre, high * v_metre)
            uv = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
            normal = np.array([z1 - z0, 0.0, x0 - x1]) / length
        else:
            corners = [(x, piece.height, z) for x, z in piece.outline]
            uv = [(x * u_metre, z * v_metre) for x, z in piece.outline]
            normal = np.array([0.0, 1.0 if piece.faces == "up" else -1.0, 0.0])
        self.corners, self.normal = np.array(corners), normal
        third = next(
            k
            for k in range(2, len(corners))
            if np.linalg.norm(np.cross(self._edge(1), self._edge(k))) > 1e-9
        )
        self.basis = np.stack((self._edge(1), self._edge(third)), 1)
        first, second, last = (np.array(uv[k]) for k in (0, 1, third))
        self.first_uv, self.uv_basis = first, np.stack((second - first, last - first), 1)
        towards = np.array([1.0, 3.5, 1.0]) / math.sqrt(1.0 + 3.5**2 + 1.0)
        light = 0.2 + 0.45 + 0.7 * max(0.0, float(normal @ towards))
        self.colour = np.minimum(1.0, np.array(piece.colour) * light)

    def _edge(self, k: int) -> Any:
        return self.corners[k] - self.corners[0]

    def depth(self, eye: Any, ray: Any) -> float:
        """Along the ray, inf where it does not meet the front of the polygon."""
        towards = float(ray @ self.normal)
        if towards >= 0.0:
            return math.inf
        t = float((self.corners[0] - eye) @ self.normal) / towards
        if t <= 0.04:
            return math.inf
        point = eye + t * ray
        edges = np.roll(self.corners, -1, 0) - self.corners
        sides = np.cross(edges, point - self.corners) @ self.normal
        inside = (sides >= -1e-9).all() or (sides <= 1e-9).all()
        return t if inside else math.inf

    def uv(self, eye: Any, ray: Any) -> Any:
        """Texture coordinates where the ray meets the polygon's plane."""
        t = float((self.corners[0] - eye) @ self.normal) / float(ray @ self.normal)
        point = eye + t * ray - self.corners[0]
        shares = np.linalg.lstsq(self.basis, point, rcond=None)[0]
        return self.first_uv + self.uv_basis @ shares


def _mip_chain(image: Tensor) -> list[Any]:
    chain = [image.numpy()[::-1].astype(np.int64)]
    while chain[-1].shape[:2] != (1, 1):
        level = chain[-1]
        if level.shape[1] > 1:
            level = np.ceil((level[:, ::2] + level[:, 1::2]) / 2).astype(np.int64)
        if level.shape[0] > 1:
            level = np.ceil((level[::2] + level[1::2]) / 2).astype(np.int64)
        chain.append(level)
    return chain


def _texel(chain: list[Any], uv: Any, rho: float, *, blend: bool) -> Any:
    lod = min(max(math.log2(max(rho, 1e-9)), 0.0), len(chain) - 1.0)
    if not blend:
        return _bilinear(chain[math.floor(lod + 0.5)], uv)
    low = math.floor(lod)
    high = min(low + 1, len(chain) - 1)
    fine, coarse = _bilinear(chain[low], uv), _bilinear(chain[high], uv)
    return fine * (1 - lod + low) + coarse * (lod - low)


def _bilinear(level: Any, uv: Any) -> Any:
    height, width = level.shape[:2]
    x, y = uv[0] * width - 0.5, uv[1] * height - 0.5
    colour = np.zeros(3)
    for column in (math.floor(x), math.floor(x) + 1):
        for row in (math.floor(y), math.floor(y) + 1):
            weight = (1 - abs(x - column)) * (1 - abs(y - row))
            colour += weight * level[row % height, column % width] / 255.0
    return colour
