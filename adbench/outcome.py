"""What a roll-out came to, and its file.

T tasks, N lanes, K episodes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adbench.errors import ResultsError

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
        tensors = {name: getattr(self, name).contiguous() for name in _FIELDS}
        told = {"schema": SCHEMA, "about": self.about, "checksum": _checksum(tensors, self.about)}
        # One key, because safetensors writes several in any order: equal roll-outs, equal files.
        metadata = {_KIND: json.dumps(told, sort_keys=True)}
        _write_whole(path, safetensors.torch.save(tensors, metadata=metadata))

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
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if _KIND not in metadata:
                    raise _refusal(path, "it is a safetensors file of another kind")
                told = json.loads(metadata[_KIND])
                if not isinstance(told, dict) or told.get("schema") != SCHEMA:
                    schema = told.get("schema") if isinstance(told, dict) else None
                    raise _refusal(path, f"its schema is {schema}; this version reads {SCHEMA}")
                if missing := [name for name in _FIELDS if name not in file.keys()]:
                    raise _refusal(path, f"it lacks {', '.join(missing)}")
                tensors = {name: file.get_tensor(name) for name in _FIELDS}
            said = told.get("about")
            if not isinstance(said, dict) or told.get("checksum") != _checksum(tensors, said):
                raise _refusal(path, "its checksum disagrees: it was altered or damaged")
        except FileNotFoundError:
            raise ResultsError(f"{path} does not exist. Run `adbench evaluate` first.") from None
        except (OSError, SafetensorError, ValueError) as error:
            raise _refusal(path, f"it cannot be read ({error})") from None
        for name, wanted in (about or {}).items():
            if said.get(name) != wanted:
                raise _refusal(path, f"its {name} is {said.get(name)!r}, wanted {wanted!r}")
        try:
            return cls(**tensors, about=said)
        except ResultsError as error:
            raise _refusal(path, str(error).rstrip(".")) from None


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


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for name in _FIELDS:
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _refusal(path: Path, why: str) -> ResultsError:
    return ResultsError(f"{path} is refused: {why}. Delete it; `adbench evaluate` makes it again.")


def _write_whole(path: Path, raw: bytes) -> None:
    beside = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}.") from None
