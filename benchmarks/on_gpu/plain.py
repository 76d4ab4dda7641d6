"""The suite's model spelt out with PyTorch's own operations: what its fast paths are held against.

Weights are the model's own; attention is a softmax over every pair that may see each other, frames
are embedded by the definition. In float64 it is what is right, in the precision of training it is
what plain arithmetic makes of it.

B rows, T tokens, N lanes, C slots of a ring, H heads, d head width, D model width, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench_kernels import patch_embed, rotary_turns, rotate

if TYPE_CHECKING:
    from adbench.model import DistillationModel
    from adbench.model.block import Block
    from adbench.model.encoder import Encoder
    from adbench.tokens import Tokens

SCORES_AT_ONCE = 1 << 26
"""Queries are taken a few at a time, so that long rows fit."""


def forward(model: DistillationModel, tokens: Tokens) -> Tensor:
    """Predictions of a model with rotary positions and a token a step, [B, T, A].

    Args:
        model: whose weights; in the precision wanted.
        tokens: [B, T].
    """
    x = _embed(model, tokens)
    length = x.shape[1]
    window = model.window_tokens if model.context == "banded" else length
    position = torch.arange(length, device=x.device)
    turns = _turns(model, position, x)
    for block in blocks(model):
        q, k, v = _heads(block, x, turns)
        x = _after(block, x, _attend(q, k, v, window))
    return cast(Tensor, model.head(model.norm(x)))


def step(
    model: DistillationModel,
    tokens: Tokens,
    before: Tensor,
    rings: Sequence[tuple[Tensor, Tensor]],
) -> Tensor:
    """Predictions after one more token a lane, [N, A], given what rings held before it.

    Args:
        model: whose weights; in the precision wanted.
        tokens: the new ones, [N, 1].
        before: tokens that each lane had seen, int64 [N].
        rings: keys and values of each layer by slot, [N, H, C, d] each; token t is in slot t mod C.
    """
    x = _embed(model, tokens)
    turns = _turns(model, before[:, None], x)
    for block, (keys, values) in zip(blocks(model), rings, strict=True):
        q, k, v = _heads(block, x, turns)
        capacity = keys.shape[2]
        slot = torch.arange(capacity, device=x.device)
        here = (slot == before.remainder(capacity)[:, None])[:, None, :, None]  # [N, 1, C, 1]
        keys, values = (
            torch.where(here, new.transpose(1, 2), held.to(x.dtype))
            for new, held in ((k, keys), (v, values))
        )
        age = (before[:, None] - slot).remainder(capacity)
        seen = (age < model.window_tokens) & (age <= before[:, None])
        scores = q.transpose(1, 2) @ keys.transpose(2, 3) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(-1)
        x = _after(block, x, (weights @ values).transpose(1, 2))
    return cast(Tensor, model.head(model.norm(x)).squeeze(1))


def frames(encoder: Encoder, observation: Tensor) -> Tensor:
    """What an image encoder makes of frames [V, Y, X, C] whose sides its patch divides, [V, D]."""
    from adbench.model.image import ImageEncoder

    assert isinstance(encoder, ImageEncoder) and not any(encoder.padding)
    x = patch_embed(
        observation, encoder.patches.weight, encoder.patches.bias, patch=encoder.patch,
        mean=encoder.mean, std=encoder.std, implementation="reference",
    )  # fmt: skip
    x = x.view(len(x), *encoder.grid, -1).permute(0, 3, 1, 2)
    for convolution in encoder.convolutions:
        x = convolution(F.gelu(x))
    return cast(Tensor, encoder.out(F.gelu(encoder.hidden(F.gelu(x).flatten(1)))))


def blocks(model: DistillationModel) -> list[Block]:
    """Of a model, in order."""
    return cast("list[Block]", list(model.blocks))


def _embed(model: DistillationModel, tokens: Tokens) -> Tensor:
    seen = tokens.observation
    is_frames = False
    if isinstance(seen, Tensor) and seen.dtype == torch.uint8:
        encoded = frames(model.embed.observation, seen.flatten(0, 1))
        tokens = replace(tokens, observation=encoded.view(*tokens.shape, -1))
        is_frames = True
    return cast(Tensor, model.embed(tokens, tokens.valid, encoded=is_frames).x)


def _turns(model: DistillationModel, position: Tensor, x: Tensor) -> Tensor:
    head_dim = model.config.width // model.config.heads
    return rotary_turns(position, head_dim, torch.promote_types(x.dtype, torch.float32))


def _heads(block: Block, x: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, turned, and values, [B, T, H, d] each."""
    seen = block.attention_norm(x) if block.pre_norm else x
    qkv = block.qkv(seen).view(*x.shape[:2], 3 * block.heads, -1)
    q, k, v = qkv.chunk(3, 2)
    return rotate(q, turns), rotate(k, turns), v


def _attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Softmax over the last `window` keys up to the query's own, [B, T, H, d]."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    length = q.shape[2]
    rows = max(1, SCORES_AT_ONCE // (q.shape[0] * q.shape[1] * length))
    key = torch.arange(length, device=q.device)
    outs = []
    for first in range(0, length, rows):
        query = key[first : first + rows, None]
        seen = (key <= query) & (key > query - window)
        scores = q[:, :, first : first + rows] @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        outs.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v)
    return torch.cat(outs, 2).transpose(1, 2)


def _after(block: Block, x: Tensor, heads: Tensor) -> Tensor:
    """The stream after a block, given what its heads saw."""
    branch = block.attention_out(heads.flatten(2))
    if block.pre_norm:
        x = x + branch
        return x + _network(block, block.hidden_norm(x))
    x = cast(Tensor, block.attention_norm(x + branch))
    return cast(Tensor, block.hidden_norm(x + _network(block, x)))


def _network(block: Block, x: Tensor) -> Tensor:
    return cast(Tensor, block.hidden_out(F.gelu(block.hidden_in(x))))
