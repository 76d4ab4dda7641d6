"""Patch embedding of uint8 frames: normalise, cut into patches, project.

N frames of Y x X pixels and C channels, P pixels a patch side, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from adbench_kernels.choice import Implementation, require
from adbench_kernels.patch_embedding import reference

__all__ = ["patch_embed"]

_PROVIDED = {"reference": None}


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

    Args:
        frames: uint8 [N, Y, X, C]; Y and X are multiples of `patch`.
        weight: floating [E, P * P * C]; within a patch the order is row, column, channel.
        bias: [E], or none.
        patch: P, pixels.
        mean: subtracted from the pixel / 255, one number or one a channel.
        std: then divides it, one number or one a channel; not 0.
        implementation: "auto" or "reference".

    Returns:
        [N, (Y / P) * (X / P), E] in weight's dtype.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    if frames.ndim != 4 or str(frames.dtype) != "torch.uint8":
        raise ValueError(
            f"frames: must be uint8 [N, Y, X, C]; got {frames.dtype} {list(frames.shape)}"
        )
    height, width, channels = frames.shape[1:]
    if patch < 1 or height % patch or width % patch:
        raise ValueError(
            f"patch: must divide the frame's {height} x {width} pixels evenly; got {patch}"
        )
    inputs = patch * patch * channels
    if weight.ndim != 2 or weight.shape[1] != inputs or not weight.is_floating_point():
        raise ValueError(
            f"weight: must be floating [E, patch * patch * C = {inputs}]; "
            f"got {weight.dtype} {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias: must be [E={weight.shape[0]}]; got {list(bias.shape)}")
    means, stds = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
    if 0.0 in stds:
        raise ValueError(f"std: must not be 0; got {std}")
    name = "reference" if implementation == "auto" else implementation
    require(name, op="patch_embed", provided=_PROVIDED, device=frames.device)
    return reference.patch_embed(frames, weight, bias, patch=patch, mean=means, std=stds)


def _per_channel(name: str, value: float | Sequence[float], channels: int) -> list[float]:
    if isinstance(value, int | float):
        return [float(value)] * channels
    if len(value) != channels:
        raise ValueError(f"{name}: must be one number or one for each of {channels} channels")
    return [float(number) for number in value]
