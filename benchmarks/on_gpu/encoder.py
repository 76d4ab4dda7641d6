"""The peer of the suite's model: PyTorch's own encoder between the same embedding and a head.

B rows, L tokens a row, A actions.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from adbench.model import DistillationModel
    from adbench.tokens import Tokens


class EncoderPeer(nn.Module):
    """`nn.TransformerEncoder` (norm first, GELU, no dropout), causal, with learned positions.

    It takes whichever back end of SDPA PyTorch chooses. It knows no bands: a window costs it as
    much as the whole row.

    Args:
        ours: the model whose sizes, embedding and number of actions it takes.
        length: L, the longest row.
    """

    def __init__(self, ours: DistillationModel, length: int) -> None:
        super().__init__()
        sizes = ours.config
        device = ours.device
        self.embed = copy.deepcopy(ours.embed)
        layer = nn.TransformerEncoderLayer(
            sizes.width, sizes.heads, sizes.feedforward, dropout=0.0, activation="gelu",
            batch_first=True, norm_first=True, device=device,
        )  # fmt: skip
        norm = nn.LayerNorm(sizes.width, device=device)
        self.encoder = nn.TransformerEncoder(layer, sizes.layers, norm, enable_nested_tensor=False)
        self.positions = nn.Parameter(torch.zeros(length, sizes.width, device=device))
        self.head = nn.Linear(sizes.width, ours.num_actions, device=device)

    def forward(self, tokens: Tokens) -> Tensor:
        """Predictions, [B, L, A]."""
        length = tokens.shape[1]
        x = self.embed(tokens, tokens.valid).x + self.positions[:length]
        # That it is causal is said by the hint, and SDPA is given no mask. PyTorch wants to see one
        # all the same: this one takes no memory, where a real one of 64k tokens takes 17 GB.
        mask = x.new_zeros(1).expand(length, length)
        return cast(Tensor, self.head(self.encoder(x, mask=mask, is_causal=True)))


def forward(model: nn.Module, tokens: Tokens) -> Tensor:
    """Of a peer, as `gradients.check` asks."""
    return cast(Tensor, model(tokens))
