"""What `raycast` is given: sizes and shapes, and, on the CPU, the numbers in tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.ray_casting.camera import SAMPLES
from adbench_kernels.ray_casting.scene import Scene

MOST_PIXELS_A_SIDE = 4096

_FLOATS = (torch.float32, torch.float64)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


def check_sizes(height: int, width: int, samples: int) -> None:
    """Refuse frames that cannot be.

    Raises:
        ValueError: names the argument.
    """
    for name, pixels in (("height", height), ("width", width)):
        if not isinstance(pixels, int) or isinstance(pixels, bool):
            raise ValueError(f"{name}: must be a whole number of pixels; got {pixels!r}")
        if not 1 <= pixels <= MOST_PIXELS_A_SIDE:
            raise ValueError(f"{name}: must be 1 to {MOST_PIXELS_A_SIDE} pixels; got {pixels}")
    if samples not in SAMPLES:
        raise ValueError(f"samples: must be 1 or 4 a pixel; got {samples!r}")


def check_tensors(
    scene: Scene, camera: Tensor, scene_index: Tensor | None, bodies: Tensor | None
) -> None:
    """Refuse tensors of another shape, dtype or device; looks at no number in them.

    Raises:
        ValueError: names the argument.
    """
    if camera.ndim != 2 or camera.shape[1] != 4 or camera.dtype not in _FLOATS:
        raise ValueError(
            f"camera: must be float32 or float64 [N, 4]; got {camera.dtype} {list(camera.shape)}"
        )
    if scene.device != camera.device:
        raise ValueError(f"scene: must be on {camera.device}, as camera; got {scene.device}")
    if bodies is not None:
        expected = (camera.shape[0], len(scene.bodies), 4)
        if bodies.shape != expected or bodies.dtype != camera.dtype:
            raise ValueError(
                f"bodies: must be {camera.dtype} {list(expected)} for {len(scene.bodies)} bodies; "
                f"got {bodies.dtype} {list(bodies.shape)}"
            )
        if bodies.device != camera.device:
            raise ValueError(f"bodies: must be on {camera.device}, as camera; got {bodies.device}")
    if scene_index is None:
        return
    if scene_index.shape != camera.shape[:1] or scene_index.dtype not in _INTEGERS:
        raise ValueError(
            f"scene_index: must be integers [N={camera.shape[0]}]; "
            f"got {scene_index.dtype} {list(scene_index.shape)}"
        )
    if scene_index.device != camera.device:
        raise ValueError(
            f"scene_index: must be on {camera.device}, as camera; got {scene_index.device}"
        )


def check_numbers(camera: Tensor, scene_index: Tensor, num_scenes: int) -> None:
    """Refuse cameras that are not finite or see no scene; waits for the device.

    Args:
        camera: floating [N, 4].
        scene_index: int64 [N].
        num_scenes: S.

    Raises:
        ValueError: names the argument.
    """
    check_finite("camera", camera)
    if len(scene_index):
        low, high = (int(bound) for bound in scene_index.aminmax())
        if low < 0 or high >= num_scenes:
            raise ValueError(f"scene_index: must be 0 to {num_scenes - 1}; got {low} to {high}")


def check_finite(name: str, numbers: Tensor) -> None:
    """Refuse NaN and infinity; waits for the device.

    Raises:
        ValueError: names the argument.
    """
    if not bool(numbers.isfinite().all()):
        raise ValueError(f"{name}: must be finite; got NaN or infinity")
