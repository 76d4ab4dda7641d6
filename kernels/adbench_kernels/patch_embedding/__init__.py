"""Patch embedding of uint8 frames: normalise, cut into patches, project.

N frames of Y x X pixels and C channels, P pixels a patch side, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.arguments import (
    check_floating,
    check_tensor,
    real,
    refuse_forward_mode,
    whole,
)
from adbench_kernels.choice import Implementation, fastest, require, runs_triton
from adbench_kernels.patch_embedding import launch, reference
from adbench_kernels.patch_embedding.library import patch_embed_blocked, patch_embed_triton

__all__ = ["patch_embed"]

_PROVIDED = dict.fromkeys(("reference", "blocked", "triton"))
_MOST_ROWS = 2**31 - 1


def patch_embed(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    patch: int,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    implementation: Implementation = "auto",
) -> Tensor:
    """Embeddings of the patches of each frame, row by row; differentiable in weight and bias.

    Under autocast the result and the products are in its dtype, as those of a linear layer are.

    Args:
        frames: uint8 [N, Y, X, C]; Y and X are multiples of `patch`.
        weight: floating [E, P * P * C]; within a patch the order is row, column, channel.
        bias: floating [E], or none.
        patch: P, pixels.
        mean: subtracted from the pixel / 255, one number or one a channel.
        std: then divides it, one number or one a channel; not 0.
        implementation: "reference"; "triton", on GPUs, for float32, bfloat16 and float16;
            "blocked", torch a few frames at a time, for CPUs. The latter two keep no float image,
            neither on the way nor for the backward pass. "auto" takes what was measured to be
            fastest. Another name runs that or raises.

    Returns:
        [N, (Y / P) * (X / P), E] in weight's dtype; in that of autocast where it is on.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    check_tensor("frames", frames)
    check_floating("weight", weight)
    if bias is not None:
        check_floating("bias", bias)
    patch = whole("patch", patch, least=1)
    if frames.ndim != 4 or frames.dtype != torch.uint8 or frames.shape[3] == 0:
        raise ValueError(
            f"frames: must be uint8 [N, Y, X, C], C not 0; got {frames.dtype} {list(frames.shape)}"
        )
    height, width, channels = frames.shape[1:]
    if height % patch or width % patch:
        raise ValueError(
            f"patch: must divide the frame's {height} x {width} pixels evenly; got {patch}"
        )
    inputs = patch * patch * channels
    if weight.ndim != 2 or weight.shape[1] != inputs:
        raise ValueError(
            f"weight: must be [E, patch * patch * C = {inputs}]; got {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias: must be [E={weight.shape[0]}]; got {list(bias.shape)}")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x.device != frames.device:
            raise ValueError(f"{name}: must be on {frames.device}, as frames; got {x.device}")
    means, stds = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if 0.0 in stds:
        raise ValueError(f"std: must not be 0; got {std}")
    dtype = _result_dtype(weight)
    fits = weight.dtype in launch.DTYPES and dtype in launch.DTYPES
    if implementation == "auto":
        on_cpu = frames.device.type == "cpu"
        can = {"triton": fits and runs_triton(frames.device), "blocked": on_cpu, "reference": True}
        name = fastest(
            "patch_embed",
            device=frames.device,
            head_dim=0,
            length=frames.shape[0],
            mask="causal",
            available=[name for name in can if can[name]],
        ).name
    else:
        name = implementation
        require(name, op="patch_embed", provided=_PROVIDED, device=frames.device)
    if name == "reference":
        return reference.patch_embed(frames, weight, bias, patch=patch, mean=means, std=stds)
    refuse_forward_mode("patch_embed", name, weight, bias)
    if name == "blocked":
        out: Tensor = patch_embed_blocked(frames, weight, bias, patch, means, stds, dtype)
        return out
    if not fits:
        raise ValueError(
            "implementation: 'triton' takes weights in float32, bfloat16 and float16; "
            f"got {weight.dtype}, for a result in {dtype}"
        )
    if frames.shape[0] * (height // patch) * (width // patch) > _MOST_ROWS:
        raise ValueError(f"frames: 'triton' takes up to {_MOST_ROWS} patches at once; give fewer")
    out = patch_embed_triton(frames, weight, bias, patch, means, stds, dtype)
    return out


def _result_dtype(weight: Tensor) -> torch.dtype:
    kind = weight.device.type
    lowered = kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind)
    # Autocast leaves float64 alone, here as everywhere.
    return (
        torch.get_autocast_dtype(kind)
        if lowered and weight.dtype != torch.float64
        else weight.dtype
    )


def _per_channel(name: str, value: float | Sequence[float], channels: int) -> list[float]:
    """One finite number a channel; arrays and tensors of them are sequences too."""
    given: Any = value.tolist() if isinstance(value, Tensor) else value
    if isinstance(given, int | float):  # before the walk: torch.compile guards the length of that
        return [float(real(name, given))] * channels
    try:
        numbers = list(given)
    except TypeError:  # it cannot be walked through: a number of another library, if any
        return [float(real(name, given))] * channels
    if len(numbers) != channels:
        raise ValueError(
            f"{name}: must be one number or one for each of {channels} channels; got {numbers}"
        )
    return [float(real(name, number)) for number in numbers]
