"""How much arithmetic a model asks for, for throughput as a share of a machine's peak."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch

from adbench.config import ModelConfig, TrainConfig
from adbench.model.embed import TOKENS_PER_STEP
from adbench.model.encoder import Encoder
from adbench.model.encoders import make_encoder


def encoder_of(model: ModelConfig, observation_space: gymnasium.Space[Any]) -> Encoder:
    """A model's observation encoder without its weights, to ask what it costs."""
    with torch.device("meta"):
        return make_encoder(observation_space, model.width, images=model.encoder)


def forward_flops(
    model: ModelConfig,
    train: TrainConfig,
    num_actions: int,
    observation_space: gymnasium.Space[Any] | None = None,
) -> float:
    """Floating-point operations of one forward pass for each transition token of a training row.

    Matrix products of encoder, blocks and head, a multiplication and an addition counted as two;
    what normalisers and activations add is left out. Attention counts the pairs
    of query and key that the band lets see each other, not the whole square. The last layer asks
    once a transition token; the other vectors give it keys and values alone.

    Args:
        model: its sizes and layout.
        train: window and row.
        num_actions: A.
        observation_space: what the encoder reads; none: it is left out.
    """
    vectors = TOKENS_PER_STEP[model.layout]
    row, window = train.row_steps * vectors, train.window_steps * vectors
    seen = _mean_seen(row, min(row, window))
    kept = 2 * model.width**2  # to keys and values
    asked = 2 * model.width**2 + 2 * model.width * (model.feedforward + seen)
    askers = vectors * (model.layers - 1) + 1
    blocks = vectors * model.layers * kept + askers * asked
    encoder = 0 if observation_space is None else encoder_of(model, observation_space).flops
    return 2 * blocks + 2 * model.width * num_actions + encoder


def training_flops(
    model: ModelConfig,
    train: TrainConfig,
    num_actions: int,
    observation_space: gymnasium.Space[Any] | None = None,
) -> float:
    """The same of one forward and one backward pass, which costs twice a forward pass."""
    return 3 * forward_flops(model, train, num_actions, observation_space)


def _mean_seen(row: int, window: int) -> float:
    """Keys that a query sees, on average over the queries of a row that is no shorter."""
    return (window * (window + 1) / 2 + (row - window) * window) / row
