"""Training: a model learns to continue learning histories.

The loop draws rows, takes updates, writes metrics and checkpoints, and can be killed at any moment:
it goes on from the last checkpoint and, on a CPU, ends with the same weights to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from adbench import checkpoint as checkpoints
from adbench.checkpoint import Checkpoint
from adbench.config import RunConfig, TrainConfig
from adbench.errors import CheckpointError, Stopped, TrainingError
from adbench.metrics import MetricsLog
from adbench.model import DistillationModel
from adbench.noise import torch_generator
from adbench.optimise import (
    Optimizer,
    apply_gradients,
    learning_rate,
    make_optimizer,
    set_gradients,
)
from adbench.progress import Progress, Stop, never, silent
from adbench.tokens import Tokens

Validate = Callable[[DistillationModel], float]
"""A model's score on validation tasks; larger is better."""

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
        loss: mean loss of the last line in `metrics.jsonl`, nats a target.
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


def identity(config: RunConfig, *, method: str, seed: int) -> checkpoints.Identity:
    """What a checkpoint belongs to: everything that its weights are a function of."""
    plain = config.model_dump(mode="json")
    parts = {name: plain[name] for name in ("env", "tasks", "source", "collect", "model", "train")}
    return {**parts, "method": method, "seed": seed}


def train(
    config: RunConfig,
    *,
    method: str,
    seed: int,
    sampler: Sampler,
    model: DistillationModel,
    folder: Path,
    metrics: Path,
    progress: Progress = silent,
    stop: Stop = never,
    validate: Validate | None = None,
) -> TrainSummary:
    """Train a model for `config.train.updates` updates, going on from the folder's last checkpoint.

    Args:
        config: the run.
        method: "ad", "ed" or "ad-shuffled"; keys dropout and masks, and names the lines in
            `metrics`.
        seed: the run's seed.
        sampler: rows to learn from.
        model: freshly built, on the device to train on; it ends with the last weights.
        folder: where its checkpoints go.
        metrics: the run's `metrics.jsonl`.
        progress: told the updates done.
        stop: asked after every update; where it says yes a checkpoint is written.
        validate: scores each checkpoint on validation tasks; needed with `choose_best`.

    Raises:
        Stopped: `stop` said so.
        TrainingError: the loss or its gradient is not a number; the last good checkpoint is kept.
        CheckpointError: the folder's checkpoints are damaged or of another configuration.
        ResourceError: the disk is full.
    """
    with torch.random.fork_rng(devices=_cuda_devices(model)):
        _key_generators(model, seed, method)
        training = _Training(config, method, seed, sampler, model, folder, metrics, validate)
        return training.run(progress, stop)


def load_model(
    model: DistillationModel, folder: Path, config: RunConfig, *, method: str, seed: int
) -> Path:
    """Give a freshly built model the trained weights that count, and set it to evaluation.

    Args:
        model: built as for training; on any device.
        folder: the training's checkpoints.
        config: the run; with `train.choose_best` the best checkpoint counts, else the last.
        method: as trained.
        seed: as trained.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: there is none, it is damaged, unfinished or of another configuration.
    """
    ours = identity(config, method=method, seed=seed)
    find = checkpoints.best if config.train.choose_best else checkpoints.latest
    last = checkpoints.latest(folder, identity=ours)
    if last is None or last.update < config.train.updates:
        done = (
            "no checkpoint" if last is None else f"{last.update} of {config.train.updates} updates"
        )
        raise CheckpointError(
            f"{method!r} is not trained: {folder} holds {done}. "
            "Run `adbench train` on this run's folder first."
        )
    found = find(folder, identity=ours) if config.train.choose_best else last
    assert found is not None
    _load_weights(model, found)
    model.eval()
    return found.path


def precision(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """What the forward pass is cast to on a device; none: nothing, it stays in float32."""
    if config.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else None
    return torch.bfloat16 if config.precision == "bfloat16" else None


class _Training:
    """The state of one training, and the loop over it."""

    def __init__(
        self,
        config: RunConfig,
        method: str,
        seed: int,
        sampler: Sampler,
        model: DistillationModel,
        folder: Path,
        metrics: Path,
        validate: Validate | None,
    ) -> None:
        self.config = config.train
        self.identity = identity(config, method=method, seed=seed)
        self.sampler = sampler
        self.model = model
        self.folder = folder
        self.metrics = MetricsLog(metrics, method=method, seed=seed)
        self.validate = validate if config.train.choose_best else None
        if config.train.choose_best and validate is None:
            raise TrainingError(
                "train.choose_best needs a way to score checkpoints; none was given"
            )
        self.optimizer = make_optimizer(model, config.train)
        self.autocast = precision(config.train, model.device)
        self.forward = _compiled(model) if config.train.compile else model
        self.update = self.tokens = self.targets = 0
        self.seconds, self.loss = 0.0, math.nan
        # Loss and gradient norm since the last line stay on the device: reading them makes it wait.
        self._sums = torch.zeros(2, device=model.device)
        self._line_update, self._line_tokens = 0, 0
        self._resume()
        self._line_began = time.perf_counter()

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
            progress(self.update, total, f"loss {self.loss:.3f}")
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
        loss = set_gradients(
            self.forward,
            self.optimizer,
            tokens.to(self.model.device, non_blocking=True),
            label_smoothing=self.config.label_smoothing,
            rows_at_once=rows_at_once(self.model),
            autocast=self.autocast,
        )
        rate = learning_rate(self.config, self.update)
        norm = apply_gradients(self.optimizer, rate=rate, clip=self.config.gradient_clip)
        self._sums += torch.stack((loss, norm))
        self.update += 1

    def _write_line(self) -> None:
        updates = self.update - self._line_update
        loss, norm = (self._sums / updates).tolist()
        rate = learning_rate(self.config, self.update - 1)
        if not (math.isfinite(loss) and math.isfinite(norm)):
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
            learning_rate=rate,
            gradient_norm=norm,
            tokens=self.tokens,
            tokens_per_second=(self.tokens - self._line_tokens) / seconds,
            seconds=self.seconds,
        )
        self._begin_line()

    def _begin_line(self) -> None:
        self._sums.zero_()
        self._line_update, self._line_tokens = self.update, self.tokens
        self._line_began = time.perf_counter()

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
            optimizer={**_optimizer_tensors(self.model, self.optimizer), **_generators(self.model)},
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
        with torch.random.fork_rng(devices=_cuda_devices(self.model)), torch.no_grad():
            score = float(self.validate(self.model))
        self.model.train()
        return score

    def _resume(self) -> None:
        found = checkpoints.latest(self.folder, identity=self.identity)
        self.metrics.rewind(found.update if found else 0)
        if found is None:
            return
        _load_weights(self.model, found)
        try:
            _load_optimizer(self.model, self.optimizer, found.optimizer)
            _load_generators(self.model, found.optimizer)
            self.sampler.load_state_dict(found.training["sampler"])
            self.tokens, self.targets = (
                int(found.training["tokens"]),
                int(found.training["targets"]),
            )
            self.seconds, self.loss = (
                float(found.training["seconds"]),
                float(found.training["loss"]),
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise _unusable(found, error) from None
        self.update = found.update
        self._begin_line()


def rows_at_once(model: DistillationModel) -> int | None:
    """Rows in one pass; none: all of them."""
    return None


def _compiled(model: DistillationModel) -> Callable[[Tokens], Tensor]:
    return cast(Callable[[Tokens], Tensor], torch.compile(model, dynamic=False))


def _load_weights(model: DistillationModel, found: Checkpoint) -> None:
    ours = model.state_dict()
    wrong = sorted(
        name
        for name in {*ours, *found.model}
        if name not in ours
        or name not in found.model
        or ours[name].shape != found.model[name].shape
        or ours[name].dtype != found.model[name].dtype
    )
    if wrong:
        raise _unusable(
            found, f"weights that are missing, unknown or of another shape: {wrong[:4]}"
        )
    model.load_state_dict(found.model)


def _optimizer_tensors(model: DistillationModel, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory, "weight/moment" to tensor."""
    return {
        f"{name}/{moment}": value
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.memory(parameter).items()
    }


def _load_optimizer(
    model: DistillationModel, optimizer: Optimizer, tensors: dict[str, Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        for moment, shape in optimizer.moments(parameter).items():
            value = tensors[f"{name}/{moment}"]
            if value.shape != shape:
                raise ValueError(f"{name}/{moment} has shape {tuple(value.shape)}")
            optimizer.memory(parameter)[moment] = value.to(parameter.device, torch.float32)


def _key_generators(model: DistillationModel, seed: int, method: str) -> None:
    generator = torch_generator(seed, "train", method)
    torch.set_rng_state(generator.get_state())
    if model.device.type == "cuda":
        torch.cuda.manual_seed(generator.initial_seed())


def _generators(model: DistillationModel) -> dict[str, Tensor]:
    """States of the generators that dropout and masks draw from."""
    states = {"generator/cpu": torch.get_rng_state()}
    if model.device.type == "cuda":
        states["generator/cuda"] = torch.cuda.get_rng_state(model.device)
    return states


def _load_generators(model: DistillationModel, tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors["generator/cpu"])
    if model.device.type == "cuda" and "generator/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator/cuda"], model.device)


def _cuda_devices(model: DistillationModel) -> list[torch.device]:
    return [model.device] if model.device.type == "cuda" else []


def _unusable(found: Checkpoint, why: object) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {found.path} cannot be gone on from: {why}. "
        "Move it away to use the one before it."
    )
