"""The two ways in which a model attends: over whole rows when training, through ring caches when acting.

B rows or lanes, T tokens, H heads, d head width. Everything that depends on the kernels is in this file.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attend_rows(
    q: Tensor, k: Tensor, v: Tensor, *, window: int | None, dropout: float = 0.0
) -> Tensor:
    """Causal attention of rows onto themselves, [B, T, H, d].

    Args:
        q: [B, T, H, d]; k, v alike.
        window: a query sees itself and the `window - 1` tokens before it; none: all before it.
        dropout: on attention weights.
    """
    length = q.shape[1]
    mask = None
    if window is not None and window < length:
        at = torch.arange(length, device=q.device)
        gap = at[:, None] - at
        mask = (gap >= 0) & (gap < window)
    out = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        dropout_p=dropout,
    )
    return out.transpose(1, 2)


class ModelCache:
    """What N lanes remember between steps: each layer's keys and values in a ring, and where each lane is.

    Attributes:
        position: tokens taken in since the lane's reset, int64 [N].
        most_tokens: how many tokens one append may bring.
    """

    def __init__(
        self,
        lanes: int,
        *,
        layers: int,
        window: int,
        most_tokens: int,
        heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.window = window
        self.most_tokens = most_tokens
        # The first of n new tokens sees `window - 1` older ones while the last has been written already.
        self.capacity = -(-(window + most_tokens - 1) // 16) * 16
        shape = (layers, lanes, heads, self.capacity, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.position = torch.zeros(lanes, dtype=torch.int64, device=device)
        self._slots = torch.arange(self.capacity, device=device)
        self._lanes = torch.arange(lanes, device=device)[:, None]

    @property
    def lanes(self) -> int:
        """N."""
        return len(self.position)

    def begin(self, num_tokens: int, count: Tensor, reset: Tensor | None) -> Tensor:
        """Forget the lanes in `reset`; then the positions of `num_tokens` new tokens, int64 [N, n].

        Every layer's `attend` of this step uses the slots and the mask that are worked out here, once.
        """
        if reset is not None:
            self.position = self.position.masked_fill(reset, 0)
        new = self.position[:, None] + torch.arange(num_tokens, device=self.position.device)
        self._write = new % self.capacity
        # Each slot holds the latest token that falls on it. Tokens past a lane's count are written too, onto slots
        # that have left every window; this formula gives those their old, unseen position.
        last = (self.position + count)[:, None] - 1
        held = last - (last - self._slots) % self.capacity
        gap = new[:, :, None] - held[:, None, :]
        seen = (gap >= 0) & (gap < self.window) & (held >= 0)[:, None, :]
        # A token past the count of an empty lane would see nothing, which is not a number; let it see itself.
        self._mask = (seen | (self._write[:, :, None] == self._slots))[:, None]
        self.position = self.position + count
        return new

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append k, v and attend, [N, n, H, d].

        Args:
            layer: whose ring.
            q: [N, n, H, d]; k, v alike.
        """
        keys, values = self.keys[layer], self.values[layer]
        keys[self._lanes, :, self._write] = k.to(keys.dtype)
        values[self._lanes, :, self._write] = v.to(values.dtype)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), keys.to(q.dtype), values.to(q.dtype), attn_mask=self._mask
        )
        return out.transpose(1, 2)


def patch_embed(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    patch: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """Placeholder until adbench_kernels.patch_embed is there."""
    x = (frames.to(weight.dtype) / 255 - weight.new_tensor(mean)) / weight.new_tensor(std)
    n, y, xs, c = x.shape
    x = x.view(n, y // patch, patch, xs // patch, patch, c).permute(0, 1, 3, 2, 4, 5)
    return F.linear(x.reshape(n, (y // patch) * (xs // patch), -1), weight, bias)
