"""The CPU path: a few frames at a time, whose float pixels never leave the cache.

N frames of Y x X pixels and C channels, P pixels a patch side, K patches a frame, I = P * P * C,
E embedding width. As in `kernel.py`, weights carry the normalisation, gradients come from the
bytes, and nothing else is kept for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_PIXELS_AT_ONCE = 1 << 17
"""Half a megabyte as float32: read again for the product while it is in the second-level cache."""


def forward(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> Tensor:
    """Embeddings of patches, [N, K, E] in `dtype`.

    Args:
        frames: uint8 [N, Y, X, C].
        weight: floating [E, I].
        bias: [E] or none.
        patch: P.
        mean: one a channel, of pixels / 255.
        std: one a channel.
        dtype: of the result; sums are in float32 at least.
    """
    exact = torch.promote_types(dtype, torch.float32)
    scale, middle = _normalisation(mean, std, patch, frames.device, exact)
    scaled = weight.to(exact) * scale
    shift = -(scaled @ middle)
    if bias is not None:
        shift += bias
    patches = frames.shape[1] // patch * (frames.shape[2] // patch)
    out = torch.empty(len(frames), patches, len(weight), dtype=dtype, device=frames.device)
    for part, pixels in _parts(frames, patch, exact):
        out[part] = F.linear(pixels, scaled, shift).view(out[part].shape)
    return out


def backward(
    grad_out: Tensor,
    frames: Tensor,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Gradients of the weight, [E, I] in `dtype`, and of the bias, [E] in float32 at least.

    Args:
        grad_out: [N, K, E].
        frames: as for `forward`.
        patch: as for `forward`.
        mean: as for `forward`.
        std: as for `forward`.
        dtype: of the weight.
    """
    exact = torch.promote_types(grad_out.dtype, torch.float32)
    scale, middle = _normalisation(mean, std, patch, frames.device, exact)
    grad_weight = torch.zeros(grad_out.shape[2], len(scale), dtype=exact, device=frames.device)
    for part, pixels in _parts(frames, patch, exact):
        grad_weight.addmm_(grad_out[part].flatten(0, 1).to(exact).mT, pixels)
    grad_bias = grad_out.sum((0, 1), dtype=exact)
    grad_weight = (grad_weight - torch.outer(grad_bias, middle)) * scale
    return grad_weight.to(dtype), grad_bias


def _parts(frames: Tensor, patch: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Which frames, and the pixels of their patches, [frames * K, I]."""
    height, width, channels = frames.shape[1:]
    at_once = max(1, _PIXELS_AT_ONCE // max(1, height * width * channels))
    for start in range(0, len(frames), at_once):
        part = slice(start, start + at_once)
        here = frames[part]
        cut = (len(here), height // patch, patch, width // patch, patch, channels)
        x_NypxqC = here.reshape(cut)
        # The one copy: bytes in another order, as floats.
        x_NyxpqC = x_NypxqC.transpose(2, 3).to(dtype, memory_format=torch.contiguous_format)
        yield part, x_NyxpqC.flatten(3).flatten(0, 2)


def _normalisation(
    mean: Sequence[float],
    std: Sequence[float],
    patch: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """For each pixel of a patch 1 / (255 std) and 255 mean, [I] each."""
    rows = [[1.0 / (255.0 * one) for one in std], [255.0 * one for one in mean]]
    table = torch.tensor(rows, dtype=dtype, device=device).repeat(1, patch * patch)
    return table[0], table[1]
