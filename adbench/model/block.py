"""One transformer block.

B rows or lanes, T tokens, Q of them that ask, D width, H heads, d = D / H head width, F hidden
width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from adbench.model.cache import Attend
from adbench_kernels import BlockWeights

AttendAsked = Callable[[Tensor, Tensor], Tensor]


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
        seen = self.attention_norm(x) if self.pre_norm else x
        batch, length, width = x.shape
        qkv = self.qkv(seen).view(batch, length, 3 * self.heads, width // self.heads)
        return self._take_in(x, attend(qkv))

    def ask(self, x: Tensor, attend: AttendAsked, asked: slice) -> Tensor:
        """The stream after this block at the tokens that ask, [B, Q, D]: what a last layer needs.

        Equal to picking them from `forward`, at the cost of keys and values alone for the others.

        Args:
            x: [B, T, D].
            attend: from queries of those who ask [B, Q, H, d], and keys and values of H heads each
                of all tokens [B, T, 2 H, d], to [B, Q, H, d].
            asked: which tokens ask.
        """
        seen = self.attention_norm(x) if self.pre_norm else x
        batch, length, width = x.shape
        q = F.linear(seen[:, asked], self.qkv.weight[:width])
        kv = F.linear(seen, self.qkv.weight[width:])
        q = q.view(batch, -1, self.heads, width // self.heads)
        kv = kv.view(batch, length, 2 * self.heads, width // self.heads)
        return self._take_in(x[:, asked], attend(q, kv))

    def _take_in(self, x: Tensor, heads: Tensor) -> Tensor:
        branch = self._drop(self.attention_out(heads.flatten(2)))
        if self.pre_norm:
            x = x + branch
            return x + self._drop(self._network(self.hidden_norm(x)))
        x = cast(Tensor, self.attention_norm(x + branch))
        return cast(Tensor, self.hidden_norm(x + self._drop(self._network(x))))

    def _network(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.hidden_out(F.gelu(self.hidden_in(x))))

    def _drop(self, branch: Tensor) -> Tensor:
        if self.dropout == 0.0 or not self.training:
            return branch
        return F.dropout(branch, self.dropout)
