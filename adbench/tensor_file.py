"""Safetensors files that say what they hold: whole or absent, refused when altered.

Equal content makes equal files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from adbench.errors import ResultsError


def save_tensors(
    path: Path, kind: str, schema: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: where; folders are made.
        kind: what it is ("adbench roll-out").
        schema: version of that kind.
        tensors: by name.
        about: what made them, JSON values.

    Raises:
        ResultsError: it cannot be written.
    """
    solid = {name: tensor.contiguous() for name, tensor in tensors.items()}
    told = {"schema": schema, "about": about, "checksum": _checksum(solid, about)}
    # One key, because safetensors writes several in any order: equal content, equal files.
    metadata = {kind: json.dumps(told, sort_keys=True)}
    _write_whole(path, safetensors.torch.save(solid, metadata=metadata))


def load_tensors(
    path: Path,
    kind: str,
    schema: int,
    needed: tuple[str, ...],
    *,
    about: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: tensors by name, those needed first, and what made them.

    Args:
        path: the file.
        kind: what it must be.
        schema: the version that is read.
        needed: names of tensors that must be there.
        about: what it must say of itself, at least.

    Raises:
        ResultsError: it is missing, damaged, altered, of another schema or about something else;
            names the file and what is wrong.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if kind not in metadata:
                raise refusal(path, "it is a safetensors file of another kind")
            told = json.loads(metadata[kind])
            if not isinstance(told, dict) or told.get("schema") != schema:
                got = told.get("schema") if isinstance(told, dict) else None
                raise refusal(path, f"its schema is {got}; this version reads {schema}")
            names = file.keys()
            if missing := [name for name in needed if name not in names]:
                raise refusal(path, f"it lacks {', '.join(missing)}")
            ordered = (*needed, *sorted(name for name in names if name not in needed))
            tensors = {name: file.get_tensor(name) for name in ordered}
        said = told.get("about")
        if not isinstance(said, dict) or told.get("checksum") != _checksum(tensors, said):
            raise refusal(path, "its checksum disagrees: it was altered or damaged")
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist. Run `adbench evaluate` first.") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise refusal(path, f"it cannot be read ({error})") from None
    for name, wanted in (about or {}).items():
        if said.get(name) != wanted:
            raise refusal(path, f"its {name} is {said.get(name)!r}, wanted {wanted!r}")
    return tensors, said


def refusal(path: Path, why: str) -> ResultsError:
    """The error for a file that is not what was written."""
    return ResultsError(f"{path} is refused: {why}. Delete it; `adbench evaluate` makes it again.")


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


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
