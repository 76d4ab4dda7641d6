"""The fast paths as torch operators: opaque to torch.compile.

They have no gradient: frames are bytes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adbench_kernels.ray_casting.checks import check_numbers
from adbench_kernels.ray_casting.triton import launch

_TRITON = (
    "(Tensor camera, Tensor scene_index, Tensor bodies, Tensor walls, Tensor flats, Tensor edges, "
    "Tensor constants, Tensor texels, Tensor levels, SymInt height, SymInt width, int samples) "
    "-> Tensor"
)
_NUMBA = (
    "(Tensor camera, Tensor scene_index, Tensor moving_walls, Tensor moving_flats, "
    "Tensor moving_corners, Tensor walls, Tensor flats, Tensor corners, Tensor texels, "
    "Tensor levels, Tensor sizes, Tensor sky, SymInt height, SymInt width, int samples) -> Tensor"
)


def _numba(camera: Tensor, scene_index: Tensor, *given: Any) -> Tensor:
    from adbench_kernels.ray_casting.cpu import raycast

    # Again, for callers whose checks torch.compile has skipped: here a bad number reads memory
    # that is not ours.
    check_numbers(camera, scene_index, len(given[3]))
    return raycast(camera, scene_index, *given)


def _frames(camera: Tensor, *given: Any) -> Tensor:
    height, width, _ = given[-3:]
    return camera.new_empty(camera.shape[0], height, width, 3, dtype=torch.uint8)


def _operator(name: str, schema: str, key: str, function: Any) -> Any:
    torch.library.define(f"adbench::{name}", schema)
    torch.library.impl(f"adbench::{name}", key, function)
    torch.library.register_fake(f"adbench::{name}", _frames)
    return getattr(torch.ops.adbench, name).default


raycast_triton = _operator("raycast_triton", _TRITON, "CompositeExplicitAutograd", launch.raycast)
raycast_numba = _operator("raycast_numba", _NUMBA, "CPU", _numba)
