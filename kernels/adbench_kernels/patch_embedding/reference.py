"""The definition of the patch embedding.

N frames of Y x X pixels and C channels, P pixels a patch side, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_embed(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Tensor:
    """Normalise, cut into patches, project.

    Args:
        frames: uint8 [N, Y, X, C].
        weight: [E, P * P * C].
        bias: [E] or none.
        patch: P.
        mean: one a channel, of pixels / 255.
        std: one a channel.

    Returns:
        [N, (Y / P) * (X / P), E].
    """
    dtype, device = weight.dtype, weight.device
    centre = torch.tensor(mean, dtype=dtype, device=device)
    spread = torch.tensor(std, dtype=dtype, device=device)
    x_NYXC = (frames.to(dtype) / 255.0 - centre) / spread
    num_frames, height, width, channels = frames.shape
    x_NypxqC = x_NYXC.view(num_frames, height // patch, patch, width // patch, patch, channels)
    patches_NKI = x_NypxqC.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)
    return F.linear(patches_NKI, weight, None if bias is None else bias.to(dtype))
