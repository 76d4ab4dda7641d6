"""The training loop: rows, updates, metrics, checkpoints.

It can be killed at any moment: it goes on from the last checkpoint and, on a CPU, ends with the
same weights to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from adbench import checkpoint as checkpoints
from adbench.allocator import keep_freed_memory
from adbench.config import RunConfig, TrainConfig
from adbench.errors import Stopped, TrainingError
from adbench.loggers import Listen
from adbench.model import DistillationModel
from adbench.progress import Progress, Stop, never, silent
from adbench.tokens import Tokens
from adbench.train import state
from adbench.train.metrics import MetricsLog
from adbench.train.optimise import (
    Forward,
    apply_gradients,
    learning_rate,
    make_optimizer,
    set_gradients,
)

Validate = Callable[[DistillationModel], float]
"""A model's score on validation tasks; larger is better."""

Bring = Callable[[Tokens, torch.device], Tokens]
"""Takes a batch to the device, maybe drawing frames there from the states in it."""

_UPDATES_PER_LINE = 10


class Sampler(Protocol):
    """Where training rows come from."""

    def batch(self, rows: int) -> Tokens:
        """The next batch, on the CPU."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass(frozen=True)
class TrainSummary:
    """What a training did, over all its processes.

    Attributes:
        updates: gradient updates.
        tokens: transition tokens of its rows, padding included: equal for every method of a run.
        targets: tokens among them that asked for an action, hence bore loss.
        seconds: time spent in updates.
        loss: mean loss of the last line in `metrics.jsonl`, nats a target; of the actions to take
            alone.
        checkpoint: folder of the checkpoint that counts (the best where `choose_best`, else the
            last).
    """

    updates: int
    tokens: int
    targets: int
    seconds: float
    loss: float
    checkpoint: Path

    @property
    def tokens_per_second(self) -> float:
        """Transition tokens trained on in a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


def train(
    config: RunConfig,
    *,
    method: str,
    seed: int,
    sampler: Sampler,
    model: DistillationModel,
    folder: Path,
    metrics: Path,
    bring: Bring | None = None,
    progress: Progress = silent,
    stop: Stop = never,
    validate: Validate | None = None,
    listen: Listen | None = None,
) -> TrainSummary:
    """Train a model for `config.train.updates` updates, going on from the last checkpoint.

    Args:
        config: the run.
        method: "ad", "ed" or "ad-shuffled"; keys dropout and masks, and names the lines in
            `metrics`.
        seed: the run's seed.
        sampler: rows to learn from.
        model: freshly built, on the device to train on; it ends with the last weights.
        folder: where its checkpoints go.
        metrics: the run's `metrics.jsonl`.
        bring: how rows get to the device; none: as they are.
        progress: told the updates done.
        stop: asked after every update; where it says yes a checkpoint is written.
        validate: scores each checkpoint on validation tasks; needed with `choose_best`.
        listen: hears every line of `metrics`, too.

    Raises:
        Stopped: `stop` said so.
        TrainingError: the loss or its gradient is not a number (the last good checkpoint is kept),
            or the model cannot be compiled here.
        CheckpointError: the folder's checkpoints are damaged or of another configuration.
        ResourceError: the disk is full.
    """
    keep_freed_memory()
    # Dropout and masks draw from torch's global generators, which are the caller's.
    with torch.random.fork_rng(devices=state.cuda_devices(model)):
        state.key_generators(model, seed=seed, method=method)
        training = _Training(
            config,
            method,
            seed,
            sampler,
            model,
            folder,
            MetricsLog(metrics, method=method, seed=seed, listen=listen),
            bring or _as_they_are,
            validate,
        )
        return training.run(progress, stop)


def precision(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """What the forward pass is cast to on a device; none: nothing, it stays in float32."""
    if config.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else None
    return torch.bfloat16 if config.precision == "bfloat16" else None


class _Training:
    """Where one training is, and the loop over it."""

    def __init__(
        self,
        config: RunConfig,
        method: str,
        seed: int,
        sampler: Sampler,
        model: DistillationModel,
        folder: Path,
        metrics: MetricsLog,
        bring: Bring,
        validate: Validate | None,
    ) -> None:
        if config.train.choose_best and validate is None:
            raise TrainingError("train.choose_best: checkpoints need a score, and none was given")
        self.config = config.train
        self.identity = state.identity(config, method=method, seed=seed)
        self.sampler = sampler
        self.bring = bring
        self.model = model
        self.folder = folder
        self.metrics = metrics
        self.validate = validate if config.train.choose_best else None
        self.optimizer = make_optimizer(model, config.train)
        self.autocast = precision(config.train, model.device)
        self.guesses = config.train.auxiliary != "none"
        self.forward: Forward = model.forward_with_moves if self.guesses else model
        if config.train.compile:
            self.forward = _compiled(self.forward)
        self.update = self.tokens = self.targets = 0
        self.seconds, self.loss = 0.0, math.nan
        # Losses and gradient norm since the last line stay on the device: reading them makes it
        # wait.
        self._sums = torch.zeros(3, device=model.device)
        self._resume()
        self._begin_line()

    def run(self, progress: Progress, stop: Stop) -> TrainSummary:
        every, total = self.config.checkpoint_updates, self.config.updates
        self.model.train()
        progress(self.update, total)
        while self.update < total:
            self._take_update()
            stopping = stop() and self.update < total
            saving = stopping or self.update % every == 0 or self.update == total
            if saving or self.update % _UPDATES_PER_LINE == 0:
                self._write_line()
            progress(self.update, total, "" if math.isnan(self.loss) else f"loss {self.loss:.3f}")
            if saving:
                self._save()
            if stopping:
                raise Stopped(
                    f"training stopped at update {self.update} of {total}; "
                    f"its checkpoint is in {self.folder}."
                )
        find = checkpoints.best if self.validate else checkpoints.latest
        counts = find(self.folder, identity=self.identity)
        assert counts is not None
        return TrainSummary(
            self.update, self.tokens, self.targets, self.seconds, self.loss, counts.path
        )

    def _take_update(self) -> None:
        tokens = self.sampler.batch(self.config.batch_sequences)
        self.tokens += math.prod(tokens.shape)
        self.targets += int(tokens.asks.sum())
        losses = set_gradients(
            self.forward,
            self.optimizer,
            self.bring(tokens, self.model.device),
            label_smoothing=self.config.label_smoothing,
            auxiliary_weight=self.config.auxiliary_weight if self.guesses else 0.0,
            autocast=self.autocast,
        )
        rate = learning_rate(self.config, self.update)
        norm = apply_gradients(self.optimizer, rate=rate, clip=self.config.gradient_clip)
        self._sums += torch.stack((*losses, norm))
        self.update += 1

    def _begin_line(self) -> None:
        self._sums.zero_()
        self._line_update, self._line_tokens = self.update, self.tokens
        self._line_began = time.perf_counter()

    def _write_line(self) -> None:
        updates = self.update - self._line_update
        loss, auxiliary, norm = (self._sums / updates).tolist()
        rate = learning_rate(self.config, self.update - 1)
        if not all(math.isfinite(value) for value in (loss, auxiliary, norm)):
            raise TrainingError(
                f"the loss is {loss} and its gradient's norm {norm} between updates "
                f"{self._line_update + 1} and {self.update}, at a learning rate of {rate:.2g}. "
                f"{self._last_good()} Lower train.learning_rate or raise train.warmup_updates, and "
                "look for observations or rewards that are not finite."
            )
        seconds = time.perf_counter() - self._line_began
        self.loss, self.seconds = loss, self.seconds + seconds
        self.metrics.write(
            update=self.update,
            loss=loss,
            **({"auxiliary_loss": auxiliary} if self.guesses else {}),
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            tokens_per_second=(self.tokens - self._line_tokens) / seconds,
            seconds=self.seconds,
        )
        self._begin_line()

    def _last_good(self) -> str:
        last = checkpoints.latest(self.folder, identity=self.identity)
        if last is None:
            return "There is no checkpoint yet."
        return f"The last good checkpoint, of update {last.update}, is kept."

    def _save(self) -> None:
        checkpoints.save(
            self.folder,
            update=self.update,
            identity=self.identity,
            model=self.model.state_dict(),
            optimizer={
                **state.optimizer_tensors(self.model, self.optimizer),
                **state.generator_tensors(self.model),
            },
            training={
                "sampler": self.sampler.state_dict(),
                "tokens": self.tokens,
                "targets": self.targets,
                "seconds": self.seconds,
                "loss": self.loss,
            },
            score=self._score(),
        )
        self._line_began = time.perf_counter()

    def _score(self) -> float | None:
        if self.validate is None:
            return None
        self.model.eval()
        # Whatever validation draws, training goes on as if it had not.
        with torch.random.fork_rng(devices=state.cuda_devices(self.model)), torch.no_grad():
            score = float(self.validate(self.model))
        self.model.train()
        return score

    def _resume(self) -> None:
        found = checkpoints.latest(self.folder, identity=self.identity)
        self.metrics.rewind(found.update if found else 0)
        if found is None:
            return
        state.load_weights(self.model, found)
        try:
            state.load_optimizer(self.model, self.optimizer, found.optimizer)
            state.load_generators(self.model, found.optimizer)
            self.sampler.load_state_dict(found.training["sampler"])
            self.tokens = int(found.training["tokens"])
            self.targets = int(found.training["targets"])
            self.seconds = float(found.training["seconds"])
            self.loss = float(found.training["loss"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise state.unusable(found, error) from None
        self.update = found.update


def _as_they_are(tokens: Tokens, device: torch.device) -> Tokens:
    return tokens.to(device, non_blocking=True)


def _compiled(plain: Forward) -> Forward:
    from torch._dynamo.exc import TorchDynamoException  # takes seconds to import

    compiled = torch.compile(plain, dynamic=False)

    def forward(tokens: Tokens) -> Tensor | tuple[Tensor, Tensor]:
        try:
            return compiled(tokens)
        except TorchDynamoException as error:
            why = str(error).strip().splitlines()[0]
            raise TrainingError(
                f"train.compile: the model cannot be compiled here ({why}). Install a C++ compiler "
                "(g++), or leave train.compile off."
            ) from None

    return forward
