"""Rotary positions (Su et al. 2021): queries and keys are turned by their position, so that a score
depends on the distance of the two.

T positions, D head width. The pairs that are turned are neighbours, (x[2i], x[2i + 1]).
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.arguments import FLOATING, check_floating, check_tensor, real, whole

LONGEST_WAVE = 10_000.0


def rotary_turns(
    positions: Tensor, head_dim: int, dtype: torch.dtype, *, longest_wave: float = LONGEST_WAVE
) -> Tensor:
    """What turns a vector at each position, [..., 2, D]: cosines, and sines with the pairs' signs.

    Angles are worked out in float64 and rounded once, as sine and cosine. A token at position
    100,000 is thus turned as exactly as one at position 1 (in float32 the angle alone would be off
    by 0.004), and a score stays a function of the distance to the last float32 digit, however long
    a sequence grows.

    Args:
        positions: integers [...]; fractions of a position are taken as such.
        head_dim: D, even.
        dtype: of the result, floating.
        longest_wave: above 0; the slowest pair turns by 1 / this a position, nearly.

    Raises:
        ValueError: names the argument.
    """
    check_tensor("positions", positions)
    if positions.is_complex() or positions.dtype == torch.bool:
        raise ValueError(f"positions: must be integers; got {positions.dtype}")
    head_dim = whole("head_dim", head_dim, least=2)
    if head_dim % 2:
        raise ValueError(f"head_dim: pairs are turned, so it must be even; got {head_dim}")
    if dtype not in FLOATING:
        raise ValueError(f"dtype: must be floating; got {dtype}")
    if real("longest_wave", longest_wave) <= 0:
        raise ValueError(f"longest_wave: must be above 0; got {longest_wave}")
    half = head_dim // 2
    share = torch.arange(half, device=positions.device, dtype=torch.float64) / half
    angles = positions[..., None].double() * longest_wave**-share
    cos, sin = angles.cos(), angles.sin()
    signed_sin = torch.stack((-sin, sin), -1).flatten(-2)
    return torch.stack((cos.repeat_interleave(2, -1), signed_sin), -2).to(dtype)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn vectors: (a, b) -> (a cos - b sin, b cos + a sin), [..., T, H, D] in x's dtype.

    Args:
        x: floating [..., T, H, D], D even.
        turns: [..., T, 2, D], of `rotary_turns`; leading dimensions are broadcast.

    Raises:
        ValueError: names the argument.
    """
    check_floating("x", x)
    check_floating("turns", turns)
    if x.ndim < 3 or x.shape[-1] % 2:
        raise ValueError(f"x: must be [..., T, H, D], D even; got {list(x.shape)}")
    expected = (x.shape[-3], 2, x.shape[-1])
    if turns.shape[-3:] != expected or turns.device != x.device:
        raise ValueError(
            f"turns: must be [..., T, 2, D] = [..., {', '.join(map(str, expected))}] on "
            f"{x.device}; got {list(turns.shape)} on {turns.device}"
        )
    cos, signed_sin = turns.unsqueeze(-3).unbind(-2)  # [..., T, 1, D]
    swapped: Tensor = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)  # type: ignore[no-untyped-call]
    return (x * cos + swapped * signed_sin).to(x.dtype)
