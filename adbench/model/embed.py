"""From transition tokens to the vectors that the transformer reads, in either layout.

B rows, L transition tokens a row, T vectors a row, D width, A actions.

    transition   one vector a token: observation + previous action + previous reward + ending;
                 T = L
    interleaved  three vectors a token: a[t-1], r[t-1] with the ending, o[t], as in the paper;
                 T = 3 L. At an episode's first token, where there is no a[t-1] and no r[t-1],
                 two learned vectors say so

Every token makes equally many vectors. So the one at which its prediction is read, its last, lies
at a fixed stride: the last layer asks there and nowhere else, and a window of W tokens holds W
tokens wherever episodes begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import gymnasium
import torch
from torch import Tensor, nn

from adbench.model.encoders import Images, make_encoder
from adbench.tokens import TERMINATED, TRUNCATED, Observation, Tokens

Layout = Literal["transition", "interleaved"]
TOKENS_PER_STEP: dict[Layout, int] = {"transition": 1, "interleaved": 3}


@dataclass(frozen=True)
class Vectors:
    """What the transformer reads.

    Attributes:
        x: [B, T, D]; past a row's `count` it is padding.
        count: vectors that are real, int64 [B].
        observation: what the encoder made of each token's observation, [B, L, D].
    """

    x: Tensor
    count: Tensor
    observation: Tensor


class TokenEmbedding(nn.Module):
    """Embeds observations, previous actions, previous rewards and endings, and lays them out.

    A reward enters linearly; an episode's first token has a learned "no reward" instead, and "no
    action" is one more row of the action table.

    Args:
        observation_space: what the agent sees.
        num_actions: A.
        width: D.
        layout: see the head of this module.
        images: which encoder frames have.
        token_mask: probability with which a vector is replaced by a learned blank in training.
        dropout: on the vectors, in training.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        num_actions: int,
        width: int,
        *,
        layout: Layout,
        images: Images,
        token_mask: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.token_mask = token_mask
        self.observation = make_encoder(observation_space, width, images=images)
        self.previous_action = nn.Embedding(1 + num_actions, width)  # row 0: none
        # Rows: one unit of reward; no reward yet; terminated; truncated. A running token adds
        # nothing.
        self.reward_and_ending = nn.Parameter(torch.empty(4, width))
        self.blank = nn.Parameter(torch.empty(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tokens, valid: Tensor, *, encoded: bool = False) -> Vectors:
        """Lay out B rows.

        Args:
            tokens: [B, L].
            valid: which of them are real, bool [B, L]; the others are at row ends.
            encoded: observations are what `encode` made of them.
        """
        if encoded:
            assert isinstance(tokens.observation, Tensor)
            observation = tokens.observation
        else:
            observation = self.encode(tokens.observation, valid)
        action = self.previous_action(tokens.previous_action + 1)
        first = tokens.previous_action < 0
        facts = torch.stack(
            (
                tokens.previous_reward.to(observation.dtype),
                first.to(observation.dtype),
                (tokens.ending == TERMINATED).to(observation.dtype),
                (tokens.ending == TRUNCATED).to(observation.dtype),
            ),
            -1,
        )
        outcome = facts @ self.reward_and_ending
        if self.layout == "transition":
            x = self._blank_some(observation + action + outcome)
        else:
            parts = torch.stack((action, outcome, observation), 2)  # [B, L, 3, D]
            x = self._blank_some(parts).flatten(1, 2)
        count = valid.sum(1) * TOKENS_PER_STEP[self.layout]
        return Vectors(self.dropout(x), count, observation)

    def encode(self, observation: Observation, valid: Tensor) -> Tensor:
        """What the encoder makes of observations, [B, L, D].

        On a CPU images at padding are left out, and zeros stand there; on a GPU one would have to
        wait to know where.

        Args:
            observation: [B, L, ...].
            valid: which of them are real, bool [B, L].
        """
        leaves_out = self.observation.is_costly and valid.device.type == "cpu"
        if not leaves_out or torch.compiler.is_compiling() or bool(valid.all()):
            return cast(Tensor, self.observation(observation))
        assert isinstance(observation, Tensor)
        if not bool(valid.any()):
            return self.blank.new_zeros(*valid.shape, len(self.blank))
        real: Tensor = self.observation(observation[valid])
        encoded = real.new_zeros(*valid.shape, real.shape[-1])
        encoded[valid] = real
        return encoded

    def _blank_some(self, x: Tensor) -> Tensor:
        if not self.training or self.token_mask == 0.0:
            return x
        chosen = torch.rand(x.shape[:-1], device=x.device) < self.token_mask
        return torch.where(chosen[..., None], self.blank.to(x.dtype), x)


def pick(x: Tensor, at: Tensor) -> Tensor:
    """Rows of x [B, T, D] at int64 [B, L], as [B, L, D]."""
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
