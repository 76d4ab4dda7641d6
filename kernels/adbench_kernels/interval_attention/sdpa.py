"""Interval-causal attention through torch's scaled_dot_product_attention.

The band is a mask of Q * T there, except for plain causal attention, which every backend knows.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adbench_kernels.errors import ImplementationUnavailableError
from adbench_kernels.interval_attention.span import Span

BACKENDS = {
    "sdpa-math": SDPBackend.MATH,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
}


def backends(name: str, *, or_others: bool) -> list[SDPBackend]:
    """Back ends to ask, in this order; none: those that torch prefers.

    Args:
        name: of `BACKENDS`, or "sdpa".
        or_others: after it all others, for calls that it does not take after all.
    """
    if name not in BACKENDS:
        return []
    others = [b for n, b in reversed(BACKENDS.items()) if n != name and or_others]
    return [BACKENDS[name], *others]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    span: Span,
    *,
    scale: float,
    dropout: float,
    asked: list[SDPBackend],
) -> Tensor:
    """Attention by one of torch's back ends.

    Args:
        q: [B, Q, H, D].
        k: [B, T, G, D].
        v: [B, T, G, D].
        span: which keys a query sees.
        scale: multiplies the scores.
        dropout: probability with which a weight is dropped.
        asked: of `backends`.

    Returns:
        [B, Q, H, D].

    Raises:
        ImplementationUnavailableError: none of those that were asked takes this call.
    """
    heads, key_heads = q.shape[2], k.shape[2]
    causal, visible = span.plain, None
    if causal:
        queries = slice(q.shape[1])
        k, v = k[:, queries], v[:, queries]  # torch aligns queries with the first keys
    else:
        visible = span.visible(q)[:, None]
    if scale <= 0:
        # The kernel for CPUs multiplies the -inf of its causal mask too.
        q, scale = (-q, -scale) if scale < 0 else (q * 0, 1.0)
    if key_heads != heads:  # not every back end knows groups
        k, v = (x.repeat_interleave(heads // key_heads, dim=2) for x in (k, v))
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    try:
        with sdpa_kernel(asked, set_priority=len(asked) > 1) if asked else nullcontext():
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=visible, dropout_p=dropout, is_causal=causal, scale=scale
            ).transpose(1, 2)
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        names = " or ".join(backend.name for backend in asked) or "SDPA"
        raise ImplementationUnavailableError(
            f"torch's {names} takes no such call here (torch's warnings say why): "
            f"{q.dtype} on {q.device}, [B, H, Q, D] = {list(q.shape)}, strides {q.stride()}, "
            f"dropout {dropout}; use implementation='auto'"
        ) from error
    if visible is not None and span.may_be_blind:
        # Back ends differ in what a query that sees nothing gets; here it is 0, with gradient 0.
        out = torch.where(visible.any(-1).transpose(1, 2)[..., None], out, out.new_zeros(()))
    return out
