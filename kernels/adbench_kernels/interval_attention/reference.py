"""The definition of interval-causal attention, in as few operations as it takes.

B batch rows, Q queries, T keys, H query heads, G key heads (H = G * R), D head width.
Any floating dtype, any device; memory grows with Q * T.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attention(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Softmax attention under a mask; a query that sees nothing gives 0 and lse -inf.

    Args:
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        visible: bool [B or 1, Q, T].
        scale: multiplies the scores.
        dropout: probability with which a weight is dropped; the rest grow by 1 / (1 - dropout).

    Returns:
        out [B, Q, H, D], and lse [B, H, Q]: natural log of the sum of exponentiated scores.
    """
    groups = q.shape[2] // k.shape[2]
    k_BTHD, v_BTHD = (x.repeat_interleave(groups, dim=2) for x in (k, v))
    scores_BHQT = torch.einsum("bqhd,bthd->bhqt", q, k_BTHD) * scale
    scores_BHQT = scores_BHQT.masked_fill(~visible[:, None], -torch.inf)
    lse_BHQ = scores_BHQT.logsumexp(-1)
    # exp(-inf - -inf) would be NaN; a row of -inf minus 0 gives weights of 0, as it should.
    shift_BHQ1 = lse_BHQ.masked_fill(lse_BHQ.isneginf(), 0.0)[..., None]
    weights_BHQT = torch.nn.functional.dropout((scores_BHQT - shift_BHQ1).exp(), dropout)
    return torch.einsum("bhqt,bthd->bqhd", weights_BHQT, v_BTHD), lse_BHQ


def attention_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    visible: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `attention`, from its output and lse alone (`kernels/README.md`).

    Args:
        grad_out: [B, Q, H, D].
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        out: [B, Q, H, D].
        lse: [B, H, Q].
        visible: bool [B or 1, Q, T].
        scale: multiplies the scores.

    Returns:
        dq [B, Q, H, D], dk [B, T, G, D], dv [B, T, G, D].
    """
    batch, keys, key_heads, width = k.shape
    groups = q.shape[2] // key_heads
    k_BTHD, v_BTHD = (x.repeat_interleave(groups, dim=2) for x in (k, v))
    scores_BHQT = torch.einsum("bqhd,bthd->bhqt", q, k_BTHD) * scale
    scores_BHQT = scores_BHQT.masked_fill(~visible[:, None], -torch.inf)
    shift_BHQ1 = lse.masked_fill(lse.isneginf(), 0.0)[..., None].to(q.dtype)
    p_BHQT = (scores_BHQT - shift_BHQ1).exp()
    dp_BHQT = torch.einsum("bqhd,bthd->bhqt", grad_out, v_BTHD)
    delta_BHQ1 = (grad_out * out).sum(-1).transpose(1, 2)[..., None]
    ds_BHQT = p_BHQT * (dp_BHQT - delta_BHQ1) * scale
    dq = torch.einsum("bhqt,bthd->bqhd", ds_BHQT, k_BTHD)
    dk_BTHD = torch.einsum("bhqt,bqhd->bthd", ds_BHQT, q)
    dv_BTHD = torch.einsum("bhqt,bqhd->bthd", p_BHQT, grad_out)
    grouped = (batch, keys, key_heads, groups, width)
    return dq, dk_BTHD.view(grouped).sum(3), dv_BTHD.view(grouped).sum(3)
