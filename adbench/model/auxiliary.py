"""An auxiliary task for the encoder: from two successive observations tell what was done between.

B rows, L tokens, D width, A actions. It is self-supervised: whoever can tell by how much one turned
and stepped from what one saw before and after knows something of the world's geometry. The model
acts without it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from adbench.tokens import NO_ACTION, Tokens


class InverseDynamics(nn.Module):
    """Guesses the action that led to each token from its observation's embedding and the one
    before it.

    Args:
        width: D.
        num_actions: A.
    """

    def __init__(self, width: int, num_actions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, num_actions)
        )

    def forward(self, embedded: Tensor) -> Tensor:
        """Guesses [B, L, A] from embedded observations [B, L, D]; each row's first is of no use."""
        before = torch.cat((embedded[:, :1], embedded[:, :-1]), 1)
        return cast(Tensor, self.layers(torch.cat((before, embedded), -1)))


def actions_between(tokens: Tokens) -> Tensor:
    """What there is to guess: the action that led to each token, int64 [B, L].

    NO_ACTION where nothing can be told: at a row's first token, at an episode's, and at padding.
    """
    between = tokens.previous_action.masked_fill(~tokens.valid, NO_ACTION)
    between[:, 0] = NO_ACTION
    return between
