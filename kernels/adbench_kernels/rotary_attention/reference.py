"""The definition: turn, score, softmax over the band, weigh. Any dtype."""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.rotary_attention.turns import rotate


def rotary_attention(
    qkv: Tensor, turns: Tensor, window: int | None, scale: float, dropout: float
) -> Tensor:
    """As the public function; [B, T, H, D].

    Args:
        qkv: [B, T, 3 H, D].
        turns: [T, 2, D].
        window: tokens that a query sees, itself included; none: all up to itself.
        scale: multiplies the scores.
        dropout: probability with which a weight is dropped.
    """
    q_BTHD, k_BTHD, v_BTHD = qkv.chunk(3, 2)
    scores_BHTT = torch.einsum("bqhd,bkhd->bhqk", rotate(q_BTHD, turns), rotate(k_BTHD, turns))
    position = torch.arange(qkv.shape[1], device=qkv.device)
    gap = position[:, None] - position
    seen = (gap >= 0) & (gap < (len(position) if window is None else window))
    weights_BHTT = (scores_BHTT * scale).masked_fill(~seen, -torch.inf).softmax(-1)
    weights_BHTT = torch.nn.functional.dropout(weights_BHTT, dropout)
    return torch.einsum("bhqk,bkhd->bqhd", weights_BHTT, v_BTHD)
