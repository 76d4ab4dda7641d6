"""The definition of attention through the ring: the slots in view, weighed. Any dtype, any device.

B lanes, n new tokens, C slots, H query heads, G key heads (H = G * R), D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingStep


def ring_attention(
    q: Tensor, cache: RingCache, step: RingStep, window: int, scale: float
) -> Tensor:
    """As the public function, [B, n, H, D].

    Args:
        q: [B, n, H, D].
        cache: of this layer.
        step: what was appended last.
        window: tokens in view.
        scale: multiplies the scores.
    """
    lanes, queries, heads, width = q.shape
    k_BGCD, v_BGCD = cache.by_slot()
    key_heads = k_BGCD.shape[1]
    q_BnGRD = (q * scale).view(lanes, queries, key_heads, heads // key_heads, width)
    scores_BGRnC = torch.einsum("bngrd,bgcd->bgrnc", q_BnGRD.to(k_BGCD.dtype), k_BGCD)
    weights_BGRnC = (scores_BGRnC + step.bias(window, k_BGCD.dtype)[:, None, None]).softmax(-1)
    out_BnHD = torch.einsum("bgrnc,bgcd->bngrd", weights_BGRnC, v_BGCD).flatten(2, 3)
    # A token that is not real saw nothing, which softmax turns into NaN.
    real_Bn11 = step.real[:, :, None, None]
    return torch.where(real_Bn11, out_BnHD, out_BnHD.new_zeros(())).to(q.dtype)
