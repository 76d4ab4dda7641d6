"""One transformer block.

B rows or lanes, T tokens, D width, H heads, d = D / H head width, F hidden width.
"""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from adbench.model.cache import Attend
from adbench_kernels import BlockWeights


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

    @property
    def weights(self) -> BlockWeights[Tensor]:
        """All there is to this block, for kernels that take it whole."""
        return BlockWeights(
            attention_norm=self.attention_norm.weight,
            attention_norm_bias=self.attention_norm.bias,
            qkv=self.qkv.weight,
            attention_out=self.attention_out.weight,
            hidden_norm=self.hidden_norm.weight,
            hidden_norm_bias=self.hidden_norm.bias,
            hidden_in=self.hidden_in.weight,
            hidden_in_bias=self.hidden_in.bias,
            hidden_out=self.hidden_out.weight,
            hidden_out_bias=self.hidden_out.bias,
        )

    def forward(self, x: Tensor, attend: Attend) -> Tensor:
        """The stream after this block, [B, T, D].

        Args:
            x: [B, T, D].
            attend: how tokens see each other: over rows in training, through a ring when acting.
        """
        if self.pre_norm:
            x = x + self._drop(self._attention(self.attention_norm(x), attend))
            return x + self._drop(self._network(self.hidden_norm(x)))
        x = cast(Tensor, self.attention_norm(x + self._drop(self._attention(x, attend))))
        return cast(Tensor, self.hidden_norm(x + self._drop(self._network(x))))

    def _attention(self, x: Tensor, attend: Attend) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3 * self.heads, width // self.heads)
        return cast(Tensor, self.attention_out(attend(qkv).reshape(batch, length, width)))

    def _network(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.hidden_out(F.gelu(self.hidden_in(x))))

    def _drop(self, branch: Tensor) -> Tensor:
        if self.dropout == 0.0 or not self.training:
            return branch
        return F.dropout(branch, self.dropout)
