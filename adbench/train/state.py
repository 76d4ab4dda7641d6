"""What a checkpoint holds, to and from a model, its optimiser and the generators.

Also which run a checkpoint belongs to, and how an evaluation gets its weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from adbench import checkpoint as checkpoints
from adbench.checkpoint import Checkpoint
from adbench.config import RunConfig
from adbench.errors import CheckpointError
from adbench.model import DistillationModel
from adbench.noise import torch_generator
from adbench.train.optimise import Optimizer


def identity(config: RunConfig, *, method: str, seed: int) -> checkpoints.Identity:
    """What a checkpoint belongs to: everything that its weights are a function of."""
    plain = config.model_dump(mode="json")
    parts = {name: plain[name] for name in ("env", "tasks", "source", "collect", "model", "train")}
    if config.env_settings:
        parts["env_settings"] = plain["env_settings"]
    return {**parts, "method": method, "seed": seed}


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
    found = checkpoints.latest(folder, identity=ours)
    if found is None or found.update < config.train.updates:
        updates = config.train.updates
        done = "no checkpoint" if found is None else f"{found.update} of {updates} updates"
        raise CheckpointError(
            f"{method!r} is not trained: {folder} holds {done}. "
            "Run `adbench train` on this run's folder first."
        )
    if config.train.choose_best:
        found = checkpoints.best(folder, identity=ours) or found
    load_weights(model, found)
    model.eval()
    return found.path


def load_weights(model: DistillationModel, found: Checkpoint) -> None:
    """Give a model a checkpoint's weights.

    Raises:
        CheckpointError: they are not this model's.
    """
    ours, theirs = model.state_dict(), found.model
    wrong = sorted({*ours} ^ {*theirs})
    wrong += [
        name
        for name in sorted({*ours} & {*theirs})
        if (ours[name].shape, ours[name].dtype) != (theirs[name].shape, theirs[name].dtype)
    ]
    if wrong:
        raise unusable(found, f"weights are missing, unknown or misshapen: {', '.join(wrong[:4])}")
    model.load_state_dict(theirs)


def optimizer_tensors(model: DistillationModel, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory, "weight/moment" to tensor."""
    return {
        f"{name}/{moment}": value
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.memory(parameter).items()
    }


def load_optimizer(
    model: DistillationModel, optimizer: Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Give an optimiser the memory that `optimizer_tensors` took of it.

    Raises:
        KeyError: a moment is missing.
        ValueError: a moment has another shape.
    """
    for name, parameter in model.named_parameters():
        moments = optimizer.moments(parameter)
        if not any(f"{name}/{moment}" in tensors for moment in moments):
            continue  # a weight that no loss depended on was never stepped
        for moment, shape in moments.items():
            value = tensors[f"{name}/{moment}"]
            if value.shape != shape:
                raise ValueError(f"{name}/{moment} has shape {tuple(value.shape)}")
            optimizer.memory(parameter)[moment] = value.to(parameter.device, torch.float32)


def key_generators(model: DistillationModel, *, seed: int, method: str) -> None:
    """Set torch's generators, from which dropout and masks draw, to a function of who trains."""
    generator = torch_generator(seed, "train", method)
    torch.set_rng_state(generator.get_state())
    if model.device.type == "cuda":
        torch.cuda.manual_seed(generator.initial_seed())


def generator_tensors(model: DistillationModel) -> dict[str, Tensor]:
    """States of torch's generators."""
    states = {"generator/cpu": torch.get_rng_state()}
    if model.device.type == "cuda":
        states["generator/cuda"] = torch.cuda.get_rng_state(model.device)
    return states


def load_generators(model: DistillationModel, tensors: dict[str, Tensor]) -> None:
    """Set torch's generators to states of `generator_tensors`.

    Raises:
        KeyError: the state is missing.
        RuntimeError: torch's, where it is not a state.
    """
    torch.set_rng_state(tensors["generator/cpu"])
    if model.device.type == "cuda" and "generator/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator/cuda"], model.device)


def cuda_devices(model: DistillationModel) -> list[torch.device]:
    """Devices with a generator of their own, for `torch.random.fork_rng`."""
    return [model.device] if model.device.type == "cuda" else []


def unusable(found: Checkpoint, why: object) -> CheckpointError:
    """The error for a checkpoint that is whole and yet cannot be used."""
    return CheckpointError(
        f"checkpoint {found.path} cannot be used: {why}. Move it away to use the one before it."
    )
