"""Building a model with keyed initial weights."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import torch
from torch import nn

from adbench.config import ModelConfig, TrainConfig
from adbench.model.block import Block
from adbench.model.embed import TokenEmbedding
from adbench.model.transformer import DistillationModel

# With smaller embeddings the first layers see little beside the position for long; at 0.5 learning
# starts at once.
_EMBEDDING_STD = 0.5
_POSITION_STD = 0.02
# Branches begin as whispers beside the stream (Radford et al. 2019 scale them likewise).
_BRANCH_STD = 0.02


def build_model(
    model: ModelConfig,
    train: TrainConfig,
    observation_space: gymnasium.Space[Any],
    num_actions: int,
    *,
    generator: torch.Generator,
) -> DistillationModel:
    """A freshly initialised model on the CPU; equal arguments give equal weights.

    Args:
        model: its sizes and layout.
        train: the window, and what is regularised.
        observation_space: what the agent sees.
        num_actions: A.
        generator: where the initial weights come from (`adbench.noise.torch_generator`).

    Raises:
        UsageError: there is no encoder for the observation space.
    """
    # PyTorch's layers fill themselves from the global generator when made: keep that out of
    # everybody's way.
    with torch.random.fork_rng(devices=[]):
        built = DistillationModel(model, train, observation_space, num_actions)
    _initialise(built, generator)
    return built


@torch.no_grad()
def _initialise(model: DistillationModel, generator: torch.Generator) -> None:
    # What only training knows comes last: all else begins as it does without it.
    auxiliary = [] if model.moves is None else list(model.moves.modules())
    for module in model.modules():
        if module in auxiliary:
            continue
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=_EMBEDDING_STD, generator=generator)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            _initialise_layer(module, generator)
        elif isinstance(module, TokenEmbedding):
            nn.init.normal_(module.reward_and_ending, std=_EMBEDDING_STD, generator=generator)
            nn.init.normal_(module.blank, std=_EMBEDDING_STD, generator=generator)
    for module in model.modules():
        if isinstance(module, Block):
            for branch in (module.attention_out, module.hidden_out):
                nn.init.normal_(branch.weight, std=_BRANCH_STD, generator=generator)
    if model.positions is not None:
        nn.init.normal_(model.positions, std=_POSITION_STD, generator=generator)
    for module in auxiliary:
        if isinstance(module, nn.Linear):
            _initialise_layer(module, generator)


def _initialise_layer(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
