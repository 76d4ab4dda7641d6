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

from adbench_kernels.choice import Implementation, installed, require
from adbench_kernels.ray_casting import reference
from adbench_kernels.ray_casting.camera import SAMPLES
from adbench_kernels.ray_casting.light import Light
from adbench_kernels.ray_casting.parts import Box, Disc, Flat, Part, Picture, Wall
from adbench_kernels.ray_casting.scene import Scene, build_scene, place_bodies
from adbench_kernels.ray_casting.surfaces import Surfaces
from adbench_kernels.ray_casting.textures import Textures, pack_textures

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

_PROVIDED = dict.fromkeys(("reference", "numba"))
MOST_PIXELS_A_SIDE = 4096


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
    """What N cameras see; a frame does not depend on those drawn beside it.

    Args:
        scene: S scenes, with B bodies.
        camera: x, y, z of the eye (metres) and yaw (radians), float32 or float64 [N, 4].
        scene_index: the scene of each camera, integers [N]; none: scene 0 for all.
        bodies: x, y, z, yaw of each body for each camera, as camera [N, B, 4]; none: where they
            were described. A body far below the floor is not seen.
        height: H, pixels.
        width: W, pixels.
        samples: 1 a pixel, or 4 (multisampling, textures blended between mip levels).
        implementation: "reference", on any device; "numba", float32 on the CPU; "auto" takes
            "numba" where it can, else the reference.

    Returns:
        uint8 [N, H, W, 3], red, green, blue, the top row first.

    Raises:
        ValueError: names the argument. What is in tensors is checked on the CPU alone; elsewhere
            a camera that is not finite sees anything.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    _check_sizes(height, width, samples)
    index = _check_tensors(scene, camera, scene_index, bodies)
    fits = camera.device.type == "cpu" and camera.dtype == torch.float32
    name: str = implementation
    if implementation == "auto":
        name = "numba" if fits and installed("numba") else "reference"
    require(name, op="raycast", provided=_PROVIDED, device=camera.device)
    if name == "numba" and not fits:
        raise ValueError(
            "implementation: 'numba' takes float32 cameras on the CPU; "
            f"got {camera.dtype} on {camera.device}"
        )
    placed = None
    if not scene.moving.empty:
        if bodies is None:
            bodies = camera.new_zeros(len(camera), len(scene.bodies), 4)
        placed = place_bodies(scene, index, bodies)
    if name == "numba":
        from adbench_kernels.ray_casting.cpu import raycast as raycast_numba

        return raycast_numba(scene, placed, camera, index, height, width, samples)
    surfaces = scene.fixed.take(index)
    return reference.raycast(
        surfaces if placed is None else surfaces.beside(placed),
        scene.textures,
        scene.sky,
        camera,
        height,
        width,
        samples,
    )


def _check_sizes(height: int, width: int, samples: int) -> None:
    for name, pixels in (("height", height), ("width", width)):
        if not isinstance(pixels, int) or isinstance(pixels, bool):
            raise ValueError(f"{name}: must be a whole number of pixels; got {pixels!r}")
        if not 1 <= pixels <= MOST_PIXELS_A_SIDE:
            raise ValueError(f"{name}: must be 1 to {MOST_PIXELS_A_SIDE} pixels; got {pixels}")
    if samples not in SAMPLES:
        raise ValueError(f"samples: must be 1 or 4 a pixel; got {samples!r}")


def _check_tensors(
    scene: Scene, camera: Tensor, scene_index: Tensor | None, bodies: Tensor | None
) -> Tensor:
    if camera.ndim != 2 or camera.shape[1] != 4 or camera.dtype not in _FLOATS:
        raise ValueError(
            f"camera: must be float32 or float64 [N, 4]; got {camera.dtype} {list(camera.shape)}"
        )
    if scene.device != camera.device:
        raise ValueError(f"scene: must be on {camera.device}, as camera; got {scene.device}")
    num_cameras = len(camera)
    on_cpu = camera.device.type == "cpu"
    if on_cpu and not camera.isfinite().all():
        raise ValueError("camera: must be finite; got NaN or infinity")
    if bodies is not None:
        expected = (num_cameras, len(scene.bodies), 4)
        if bodies.shape != expected or bodies.dtype != camera.dtype:
            raise ValueError(
                f"bodies: must be {camera.dtype} {list(expected)} for {len(scene.bodies)} bodies; "
                f"got {bodies.dtype} {list(bodies.shape)}"
            )
        if bodies.device != camera.device:
            raise ValueError(f"bodies: must be on {camera.device}, as camera; got {bodies.device}")
        if on_cpu and not bodies.isfinite().all():
            raise ValueError("bodies: must be finite; got NaN or infinity")
    if scene_index is None:
        return torch.zeros(num_cameras, dtype=torch.int64, device=camera.device)
    if scene_index.shape != (num_cameras,) or scene_index.dtype not in _INTEGERS:
        raise ValueError(
            f"scene_index: must be integers [N={num_cameras}]; "
            f"got {scene_index.dtype} {list(scene_index.shape)}"
        )
    if scene_index.device != camera.device:
        raise ValueError(
            f"scene_index: must be on {camera.device}, as camera; got {scene_index.device}"
        )
    if on_cpu and num_cameras:
        low, high = (int(bound) for bound in scene_index.aminmax())
        if low < 0 or high >= scene.num_scenes:
            raise ValueError(
                f"scene_index: must be 0 to {scene.num_scenes - 1}; got {low} to {high}"
            )
    return scene_index.long()


_FLOATS = (torch.float32, torch.float64)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
