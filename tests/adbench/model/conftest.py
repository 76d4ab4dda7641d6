"""What the model tests share: made-up histories and small models.

B rows, L tokens a row, A = 5 actions, a 9 x 9 grid to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.model import DistillationModel, build_model
from adbench.noise import torch_generator
from adbench.tokens import NO_ACTION, TERMINATED, Tokens

ACTIONS = 5
GRID = spaces.MultiDiscrete([9, 9])

MakeHistory = Callable[..., Tokens]
MakeModel = Callable[..., DistillationModel]


def _history(rows: int, length: int, *, seed: int = 0, ends: float = 0.2) -> Tokens:
    """Rows in which each token ends its episode with probability `ends`; all tokens are real."""
    draw = torch_generator("history", seed)
    final = torch.rand(rows, length, generator=draw) < ends
    # Two final tokens in a row would be an episode without a step.
    final[:, 1:] &= ~final[:, :-1]
    final[:, 0] = False
    first = torch.cat((torch.ones(rows, 1, dtype=torch.bool), final[:, :-1]), 1)
    action = torch.randint(0, ACTIONS, (rows, length), generator=draw)
    ending = torch.randint(TERMINATED, TERMINATED + 2, (rows, length), generator=draw)
    return Tokens(
        observation=torch.randint(0, 9, (rows, length, 2), generator=draw),
        previous_action=torch.randint(0, ACTIONS, (rows, length), generator=draw).masked_fill(
            first, NO_ACTION
        ),
        previous_reward=torch.randn(rows, length, generator=draw).masked_fill(first, 0.0),
        ending=ending.masked_fill(~final, 0).to(torch.uint8),
        action=action.masked_fill(final, NO_ACTION),
        valid=torch.ones(rows, length, dtype=torch.bool),
    )


def _model(
    *, window: int = 7, seed: int = 0, train: dict[str, Any] | None = None, **model: Any
) -> DistillationModel:
    sizes = {"width": 16, "layers": 3, "heads": 2, "feedforward": 32, **model}
    return build_model(
        ModelConfig(**sizes),
        TrainConfig(window_steps=window, **(train or {})),
        GRID,
        ACTIONS,
        generator=torch_generator("model", seed),
    ).eval()


@pytest.fixture(scope="session")
def history() -> MakeHistory:
    return _history


@pytest.fixture(scope="session")
def model() -> MakeModel:
    return _model


@pytest.fixture(scope="session")
def take() -> Callable[[Tokens, Tensor], Tokens]:
    """Tokens of each row at places int64 [B, n]."""

    def at(tokens: Tokens, places: Tensor) -> Tokens:
        rows = torch.arange(len(places))[:, None]
        return tokens.map(lambda x: x[rows, places])

    return at
