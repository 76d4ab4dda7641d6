"""What the training tests share: a sampler of made-up rows and a training small enough to repeat.

The rows are learnable: the action to take is the one before it plus one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces

from adbench.config import ModelConfig, RunConfig, TrainConfig
from adbench.model import DistillationModel, build_model
from adbench.noise import torch_generator
from adbench.tokens import NO_ACTION, RUNNING, TRUNCATED, Tokens
from adbench.train import TrainSummary, train

ACTIONS, EPISODE_TOKENS, ROW = 3, 6, 16


class Rows:
    """A sampler: batch n is a function of n."""

    def __init__(self) -> None:
        self.batches = 0
        self.spoil: Callable[[int, Tokens], Tokens] = lambda n, tokens: tokens

    def batch(self, rows: int) -> Tokens:
        draw = torch_generator("rows", self.batches)
        self.batches += 1
        place = torch.arange(ROW) % EPISODE_TOKENS
        start = torch.randint(0, ACTIONS, (rows, 1), generator=draw)
        action = (start + torch.arange(ROW)) % ACTIONS
        final = (place == EPISODE_TOKENS - 1).expand(rows, ROW)
        previous = torch.cat((action[:, :1] - 1, action[:, :-1]), 1) % ACTIONS
        first = (place == 0).expand(rows, ROW)
        tokens = Tokens(
            observation=torch.randint(0, 4, (rows, ROW), generator=draw),
            previous_action=previous.masked_fill(first, NO_ACTION),
            previous_reward=torch.rand(rows, ROW, generator=draw).masked_fill(first, 0.0),
            ending=torch.where(final, TRUNCATED, RUNNING).to(torch.uint8),
            action=action.masked_fill(final, NO_ACTION),
            valid=torch.ones(rows, ROW, dtype=torch.bool),
        )
        return self.spoil(self.batches, tokens)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches = int(state["batches"])


def _config(**train: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "window_steps": 8,
        "updates": 30,
        "batch_sequences": 4,
        "checkpoint_updates": 10,
        "warmup_updates": 5,
        "learning_rate": 1e-2,
        **train,
    }
    model = ModelConfig(width=16, layers=2, heads=1, feedforward=32, dropout=0.1)
    return RunConfig(env="dark-room", model=model, train=TrainConfig(**settings))


def _model(config: RunConfig) -> DistillationModel:
    space, draw = spaces.Discrete(4), torch_generator("model")
    return build_model(config.model, config.train, space, ACTIONS, generator=draw)


class Run:
    """One training in a folder of its own, to be started as often as wanted."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path, self.config = path, config
        self.checkpoints, self.metrics = path / "checkpoints", path / "metrics.jsonl"

    def __call__(
        self, *, rows: Rows | None = None, method: str = "ad", **others: Any
    ) -> TrainSummary:
        self.model = _model(self.config)
        return train(
            self.config,
            method=method,
            seed=0,
            sampler=rows or Rows(),
            model=self.model,
            folder=self.checkpoints,
            metrics=self.metrics,
            **others,
        )

    def files(self, update: int) -> dict[str, bytes]:
        """The tensor files of a checkpoint."""
        folder = self.checkpoints / f"update-{update:08d}"
        return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.checkpoints.iterdir())


@pytest.fixture(scope="session")
def rows() -> type[Rows]:
    return Rows


@pytest.fixture(scope="session")
def config() -> Callable[..., RunConfig]:
    return _config


@pytest.fixture(scope="session")
def new_model() -> Callable[[RunConfig], DistillationModel]:
    return _model


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Trainings, each in a folder of its own."""
    made: list[Run] = []

    def new(**train: Any) -> Run:
        made.append(Run(tmp_path / str(len(made)), _config(**train)))
        return made[-1]

    return new
