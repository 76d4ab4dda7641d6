"""Models and tokens that the sections on training and evaluation share.

B rows, L tokens a row.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import UnsupportedError

if TYPE_CHECKING:
    import gymnasium

    from adbench.config import ModelConfig, TrainConfig
    from adbench.model import DistillationModel
    from adbench.tokens import Tokens

NEEDED = ("gymnasium", "pydantic")
"""Packages without which there is no model; who carries them: `python -m benchmarks.wheels`."""
ACTIONS, EPISODE, CELLS = 5, 20, 9
"""Dark Room: five actions, twenty steps, nine by nine cells."""


class Size(NamedTuple):
    """Of a transformer.

    Attributes:
        width: of the residual stream.
        heads: of attention; width / heads is what the kernels are specialised for.
        feedforward: hidden width of a block's network.
        layers: blocks.
    """

    width: int
    heads: int
    feedforward: int
    layers: int


SIZES = {"quick": Size(128, 4, 512, 4), "paper": Size(64, 4, 2048, 4)}
"""Of the presets: `dark-room.quick`, and the paper's widths in our layout."""
SMOKE = {"quick": Size(16, 2, 32, 2), "paper": Size(16, 2, 64, 2)}


def require() -> None:
    """Refuse where what the model is built with is missing.

    Raises:
        UnsupportedError: names it, and what to do.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UnsupportedError(
                f"{name} is not installed; `python -m benchmarks.wheels` says what to carry here"
            )


def config(size: Size) -> ModelConfig:
    """The configuration of a size; what is not named is the suite's default."""
    from adbench.config import ModelConfig

    return ModelConfig(
        width=size.width, heads=size.heads, feedforward=size.feedforward, layers=size.layers
    )


def grid() -> gymnasium.Space[Any]:
    """What an agent sees of Dark Room."""
    from gymnasium import spaces

    return spaces.MultiDiscrete([CELLS, CELLS])


def build(
    card: Card,
    model: ModelConfig,
    train: TrainConfig,
    observation_space: gymnasium.Space[Any] | None = None,
    actions: int = ACTIONS,
) -> DistillationModel:
    """A model on the card whose branches speak up.

    A fresh model's branches only whisper beside the stream, and what is wrong in them would be lost
    in rounding; with these weights every layer is as loud as the stream.

    Args:
        card: where to.
        model: its sizes and layout.
        train: window, and what is regularised.
        observation_space: what the agent sees; none: Dark Room.
        actions: how many it has.
    """
    from adbench.model import build_model
    from adbench.noise import torch_generator

    generator = torch_generator("benchmarks.on_gpu")
    seen = grid() if observation_space is None else observation_space
    built = build_model(model, train, seen, actions, generator=generator)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if name.startswith("blocks.") and weight.dim() == 2:
                nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]), generator=generator)
    return built.to(card.device)


def tokens(card: Card, rows: int, length: int, *, seed: int) -> Tokens:
    """Random rows of Dark Room's tokens, [rows, length]: whole episodes, every step asking."""
    from adbench.tokens import NO_ACTION, TRUNCATED, Tokens

    source = card.generator(seed)

    def drawn(below: int, *more: int) -> torch.Tensor:
        shape = (rows, length, *more)
        return torch.randint(below, shape, generator=source, device=card.device)

    at = (torch.arange(length, device=card.device) % (EPISODE + 1)).expand(rows, length)
    begins, ends = at == 0, at == EPISODE
    return Tokens(
        observation=drawn(CELLS, 2),
        previous_action=drawn(ACTIONS).masked_fill(begins, NO_ACTION),
        previous_reward=drawn(2).float().masked_fill(begins, 0.0),
        ending=(ends * TRUNCATED).to(torch.uint8),
        action=drawn(ACTIONS).masked_fill(ends, NO_ACTION),
        valid=torch.ones(rows, length, dtype=torch.bool, device=card.device),
    )


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """PyTorch's own layers draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
