"""What a roll-out came to, and its file.

T tasks, N lanes, K episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.errors import ResultsError
from adbench.tensor_file import load_tensors, refusal, save_tensors

SCHEMA = 1
_KIND = "adbench roll-out"
_FIELDS = ("returns", "lengths", "task_index", "tasks")


@dataclass(frozen=True)
class Rollout:
    """N lanes that each played K whole episodes.

    Attributes:
        returns: return of each episode, float32 [N, K].
        lengths: its environment steps, int32 [N, K].
        task_index: which of the tasks each lane played, int64 [N].
        tasks: [T, ...].
        about: what made it, JSON values (environment, stage, seed).
    """

    returns: Tensor
    lengths: Tensor
    task_index: Tensor
    tasks: Tensor
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise ResultsError(f"not a roll-out: {problem}.")

    @property
    def env_steps(self) -> int:
        """Environment steps of all episodes."""
        return int(self.lengths.sum(dtype=torch.int64))

    def curve(self) -> Tensor:
        """Mean return of each episode over all lanes, float64 [K]."""
        return self.returns.double().mean(dim=0)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            ResultsError: it cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _FIELDS}
        save_tensors(path, _KIND, SCHEMA, tensors, self.about)

    @classmethod
    def load(cls, path: Path, *, about: Mapping[str, Any] | None = None) -> Rollout:
        """Read what `save` wrote.

        Args:
            path: the file.
            about: what it must say of itself, at least.

        Raises:
            ResultsError: it is missing, damaged, altered, of another schema or about something
                else; names the file and what is wrong.
        """
        tensors, said = load_tensors(path, _KIND, SCHEMA, _FIELDS, about=about)
        try:
            return cls(**{name: tensors[name] for name in _FIELDS}, about=said)
        except ResultsError as error:
            raise refusal(path, str(error).rstrip(".")) from None


def _problem(rollout: Rollout) -> str:
    """What is wrong with a roll-out's tensors; nothing: the empty string."""
    wanted = {"returns": torch.float32, "lengths": torch.int32, "task_index": torch.int64}
    for name, dtype in wanted.items():
        if (tensor := getattr(rollout, name)).dtype != dtype:
            return f"{name} are {tensor.dtype}, not {dtype}"
    shape = tuple(rollout.returns.shape)
    if len(shape) != 2 or 0 in shape or rollout.lengths.shape != shape:
        return (
            f"returns are {list(shape)} and lengths {list(rollout.lengths.shape)}, not [N, K] both"
        )
    if rollout.task_index.shape != shape[:1] or rollout.tasks.ndim == 0:
        return f"task_index is {list(rollout.task_index.shape)}, not [{shape[0]}]"
    if not bool(rollout.returns.isfinite().all()):
        return "some returns are not finite numbers"
    if bool((rollout.lengths < 1).any()):
        return "some episodes have no steps"
    index = rollout.task_index
    if bool(((index < 0) | (index >= len(rollout.tasks))).any()):
        return (
            f"task_index goes from {index.min()} to {index.max()}, tasks are {len(rollout.tasks)}"
        )
    return ""
