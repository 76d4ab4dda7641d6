"""Ray casting: frames of what cameras see in scenes of textured walls, flats, discs and boxes.

    wall = Wall((3, 2), (3, -2), top=2.5, texture="brick")
    scene = build_scene([[wall, Flat(outline)]], textures={"brick": image})
    frames = raycast(scene, camera, height=64, width=64)

Cameras look level, so all rays of a pixel's column go the same way over the ground. That is what
makes it fast: a wall is met at one depth a column, a flat at one depth a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, fastest, installed, require, runs_triton
from adbench_kernels.ray_casting import reference
from adbench_kernels.ray_casting.checks import (
    check_finite,
    check_numbers,
    check_sizes,
    check_tensors,
)
from adbench_kernels.ray_casting.library import raycast_numba, raycast_triton
from adbench_kernels.ray_casting.light import Light
from adbench_kernels.ray_casting.parts import Box, Disc, Flat, Part, Picture, Wall
from adbench_kernels.ray_casting.scene import Scene, build_scene, place_bodies
from adbench_kernels.ray_casting.surfaces import Surfaces
from adbench_kernels.ray_casting.tables import tables
from adbench_kernels.ray_casting.textures import Textures, pack_textures
from adbench_kernels.ray_casting.triton.packing import packed

__all__ = [
    "Box",
    "Disc",
    "Flat",
    "Light",
    "Part",
    "Picture",
    "Scene",
    "Surfaces",
    "Textures",
    "Wall",
    "build_scene",
    "pack_textures",
    "raycast",
]

_PROVIDED = dict.fromkeys(("reference", "numba", "triton"))


def raycast(
    scene: Scene,
    camera: Tensor,
    *,
    scene_index: Tensor | None = None,
    bodies: Tensor | None = None,
    height: int,
    width: int,
    samples: int = 1,
    implementation: Implementation = "auto",
) -> Tensor:
    """What N cameras see; a frame does not depend on those drawn beside it, and has no gradient.

    Args:
        scene: S scenes, with B bodies.
        camera: x, y, z of the eye (metres) and yaw (radians), float32 or float64 [N, 4].
        scene_index: the scene of each camera, integers [N]; none: scene 0 for all.
        bodies: x, y, z, yaw of each body for each camera, as camera [N, B, 4]; none: where they
            were described. A body far below the floor is not seen.
        height: H, pixels.
        width: W, pixels.
        samples: 1 a pixel, or 4 (multisampling, textures blended between mip levels).
        implementation: "reference", on any device; "numba", float32 on the CPU; "triton", float32
            on GPUs; "auto" takes what was measured to be fastest. Another name runs that or raises.

    Returns:
        uint8 [N, H, W, 3], red, green, blue, the top row first.

    Raises:
        ValueError: names the argument. Numbers in tensors are looked at on the CPU alone, and not
            under torch.compile; elsewhere a camera that is not finite sees anything.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    check_sizes(height, width, samples)
    check_tensors(scene, camera, scene_index, bodies)
    index = (
        torch.zeros(camera.shape[0], dtype=torch.int64, device=camera.device)
        if scene_index is None
        else scene_index.long()
    )
    if bodies is None:
        bodies = camera.new_zeros(camera.shape[0], len(scene.bodies), 4)
    on_cpu, fits = camera.device.type == "cpu", camera.dtype == torch.float32
    if on_cpu and not torch.compiler.is_compiling():
        check_numbers(camera, index, scene.num_scenes)
        check_finite("bodies", bodies)
    name: str = implementation
    if implementation == "auto":
        can = {
            "numba": on_cpu and fits and installed("numba"),
            "reference": True,
            "triton": fits and runs_triton(camera.device),
        }
        name = fastest(
            "raycast",
            device=camera.device,
            head_dim=0,
            length=camera.shape[0],
            mask="causal",
            available=[name for name in can if can[name]],
        ).name
    else:
        require(name, op="raycast", provided=_PROVIDED, device=camera.device)
    if (name == "triton" and not fits) or (name == "numba" and not (fits and on_cpu)):
        raise ValueError(
            f"implementation: {name!r} takes float32 cameras{' on the CPU' * (name == 'numba')}; "
            f"got {camera.dtype} on {camera.device}"
        )
    size = height, width, samples
    if name == "triton":
        frames: Tensor = raycast_triton(camera, index, bodies, *packed(scene), *size)
        return frames
    placed = None if scene.moving.empty else place_bodies(scene, index, bodies)
    if name == "numba":
        frames = raycast_numba(camera, index, *tables(scene, placed), *size)
        return frames
    surfaces = scene.fixed.take(index)
    surfaces = surfaces if placed is None else surfaces.beside(placed)
    return reference.raycast(surfaces, scene.textures, scene.sky, camera, *size)
