"""One transformer block.

B rows or lanes, T tokens, D width, H heads, d = D / H head width, F hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from adbench.model.rotary import rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q, k, v, each [B, T, H, d], to [B, T, H, d]: over rows in training, through a ring when
acting."""


class Block(nn.Module):
    """Attention and a two-layer network, each on a residual branch.

    Args:
        width: D.
        heads: H.
        hidden: F.
        norm: "pre" normalises what a branch reads, "post" the sum of stream and branch.
        dropout: on both branches, in training.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, *, norm: Literal["pre", "post"], dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.pre_norm = norm == "pre"
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden_in = nn.Linear(width, hidden)
        self.hidden_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor, attend: Attend, angles: Tensor | None) -> Tensor:
        """The stream after this block, [B, T, D].

        Args:
            x: [B, T, D].
            attend: how tokens see each other.
            angles: rotary angles of the tokens; none: positions came in with x.
        """
        if self.pre_norm:
            x = x + self._drop(self._attention(self.attention_norm(x), attend, angles))
            return x + self._drop(self._network(self.hidden_norm(x)))
        x = cast(Tensor, self.attention_norm(x + self._drop(self._attention(x, attend, angles))))
        return cast(Tensor, self.hidden_norm(x + self._drop(self._network(x))))

    def _attention(self, x: Tensor, attend: Attend, angles: Tensor | None) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3 * self.heads, -1))  # [B, T, 3 H, d]
        if angles is None:
            q, k, v = qkv.chunk(3, -2)
        else:
            # Queries and keys are turned together: one pass over memory instead of two.
            q, k = rotate(qkv[..., : 2 * self.heads, :], angles).chunk(2, -2)
            v = qkv[..., 2 * self.heads :, :]
        return cast(Tensor, self.attention_out(attend(q, k, v).flatten(-2)))

    def _network(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.hidden_out(F.gelu(self.hidden_in(x), approximate="tanh")))

    def _drop(self, branch: Tensor) -> Tensor:
        if self.dropout == 0.0 or not self.training:
            return branch
        return F.dropout(branch, self.dropout)
