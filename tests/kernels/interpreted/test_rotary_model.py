"""adbench's model through the Triton kernels is the model: predictions and every gradient.

On a GPU it takes these paths by itself; here they are taken by name.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.model import DistillationModel, build_model, image, transformer
from adbench.noise import torch_generator
from adbench.tokens import NO_ACTION, TERMINATED, Tokens
from adbench_kernels import patch_embed, rotary_attention, strided_rotary_attention

ROWS, LENGTH, ACTIONS, EPISODE = 2, 14, 5, 5

FLOAT32_ERROR = 1e-5
"""Of the largest number of a tensor: three layers of sums that kernels take in another order."""
BFLOAT16_ERROR = 0.05
"""Of the norm of a tensor, plain bfloat16 beside it: both round a few dozen times, apart."""


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, function in (
        (transformer, rotary_attention),
        (transformer, strided_rotary_attention),
        (image, patch_embed),
    ):
        name = function.__name__
        monkeypatch.setattr(module, name, partial(function, implementation="triton"))


def built(layout: str) -> tuple[DistillationModel, Tokens]:
    frame = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    model = build_model(
        ModelConfig(width=32, layers=2, heads=2, feedforward=32, layout=layout),
        TrainConfig(window_steps=5),
        frame,
        ACTIONS,
        generator=torch_generator("model"),
    )
    draw = torch_generator("tokens")
    at = torch.arange(LENGTH).remainder(EPISODE).expand(ROWS, LENGTH)
    action = torch.randint(ACTIONS, (ROWS, LENGTH), generator=draw)
    return model, Tokens(
        observation=torch.randint(0, 256, (ROWS, LENGTH, 8, 8, 3), generator=draw).to(torch.uint8),
        previous_action=action.masked_fill(at == 0, NO_ACTION),
        previous_reward=torch.randn(ROWS, LENGTH, generator=draw).masked_fill(at == 0, 0.0),
        ending=((at == EPISODE - 1) * TERMINATED).to(torch.uint8),
        action=action.masked_fill(at == EPISODE - 1, NO_ACTION),
        valid=torch.ones(ROWS, LENGTH, dtype=torch.bool),
    )


def outcome(layout: str, *, autocast: bool) -> dict[str, Tensor]:
    """Predictions and gradients, by name."""
    model, tokens = built(layout)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(tokens)
    logits.sin().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(found) >= len(list(model.named_parameters())) - 1  # all but the blank
    return {"logits": logits.detach(), **found}


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
def test_predictions_and_gradients_are_the_model_s(
    layout: str, request: pytest.FixtureRequest
) -> None:
    plain = outcome(layout, autocast=False)
    request.getfixturevalue("by_name")
    ours = outcome(layout, autocast=False)
    assert ours.keys() == plain.keys()
    for name, exact in plain.items():
        assert (ours[name] - exact).abs().max() <= FLOAT32_ERROR * exact.abs().max(), name


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
def test_training_in_bfloat16_goes_through_the_kernels(
    layout: str, request: pytest.FixtureRequest
) -> None:
    plain = outcome(layout, autocast=False)
    request.getfixturevalue("by_name")
    ours = outcome(layout, autocast=True)
    for name, exact in plain.items():
        assert ours[name].dtype is torch.float32, name
        assert (ours[name] - exact).norm() <= BFLOAT16_ERROR * exact.norm(), name
