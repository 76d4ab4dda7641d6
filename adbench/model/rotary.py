"""Rotary positions (Su et al. 2021): queries and keys are turned by their position, so scores
depend on distances.

T tokens, H heads, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LONGEST_WAVE = 10_000.0


def rotary_angles(positions: Tensor, head_dim: int, dtype: torch.dtype) -> Tensor:
    """cos and sin of every position's angles, `dtype` [..., 1, d / 2, 2], ready to be broadcast
    over heads.

    Angles are worked out in float64 and rounded once, as cos and sin. A token at position 100,000
    is thus turned as exactly as one at position 1 (in float32 its angle alone would be off by
    0.004), and the score of a pair stays a function of their distance to the last float32 digit
    however long a roll-out is.

    Args:
        positions: integers [...].
        head_dim: d.
        dtype: of queries and keys.
    """
    half = head_dim // 2
    exponent = torch.arange(half, device=positions.device, dtype=torch.float64) / half
    angles = positions[..., None].double() * _LONGEST_WAVE**-exponent
    return torch.stack((angles.cos(), angles.sin()), -1).to(dtype).unsqueeze(-3)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (x[2i], x[2i + 1]), [..., T, H, d].

    Args:
        x: [..., T, H, d].
        angles: [..., T, 1, d / 2, 2], from `rotary_angles`.
    """
    pairs = x.view(*x.shape[:-1], -1, 2)
    cos, sin = angles.unbind(-1)
    even, odd = pairs.unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    return turned.flatten(-2).to(x.dtype)
