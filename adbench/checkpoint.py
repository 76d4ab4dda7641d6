"""Checkpoints: folders that are whole or not there.

    update-00000200/  model.safetensors  optimizer.safetensors  state.json

A checkpoint is written beside its final name, forced to disk and renamed. Its `state.json` holds a
checksum of the tensor files and of itself, and the configuration it belongs to. Of those in a
folder the last two and the best are kept. Nothing here runs code from a file: tensors are
safetensors, the rest is JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import safetensors.torch
from annotated_types import Ge
from safetensors import SafetensorError
from torch import Tensor

from adbench.config import Config
from adbench.errors import CheckpointError, ConfigError, ResourceError

TENSOR_FILES = ("model.safetensors", "optimizer.safetensors")
_NAME = re.compile(r"update-(\d{8})")
_KEPT = 2

Identity = dict[str, Any]
"""What a checkpoint belongs to: nested records of JSON values; all of it must agree."""


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        path: its folder.
        update: gradient updates done by then.
        score: on validation tasks; none: not evaluated.
        model: weights by name.
        optimizer: the optimiser's and the generators' tensors by name.
        training: everything else that training needs to go on.
    """

    path: Path
    update: int
    score: float | None
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    training: dict[str, Any]


class _State(Config):
    """What `state.json` holds beside its own checksum."""

    schema_version: Literal[1] = 1
    update: Annotated[int, Ge(0)]
    score: float | None
    identity: dict[str, Any]
    checksums: dict[str, str]
    training: dict[str, Any]


def save(
    folder: Path,
    *,
    update: int,
    identity: Identity,
    model: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    training: dict[str, Any],
    score: float | None = None,
) -> Path:
    """Write a checkpoint, then drop those that are neither among the last two nor the best.

    Args:
        folder: where checkpoints of this training live; made if it is not there.
        update: gradient updates done so far; names the checkpoint.
        identity: what it belongs to; JSON values.
        model: weights by name.
        optimizer: the optimiser's and the generators' tensors by name.
        training: whatever else training needs to go on; JSON values.
        score: on validation tasks, larger is better.

    Returns:
        The checkpoint's folder.

    Raises:
        ResourceError: the disk is full or not writable; what was there is as it was.
    """
    final = folder / f"update-{update:08d}"
    part = folder / f"{final.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove(part)
        part.mkdir()
        checksums = {}
        for name, tensors in zip(TENSOR_FILES, (model, optimizer), strict=True):
            raw = safetensors.torch.save({k: t.detach().contiguous() for k, t in tensors.items()})
            checksums[name] = _checksum(raw)
            _write(part / name, raw)
        state = _State(
            update=update, score=score, identity=identity, checksums=checksums, training=training
        )
        _write(part / "state.json", _sealed(state))
        _sync_folder(part)
        _retire(final)  # a damaged one of the same update may stand there
        part.rename(final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise ResourceError(
            f"checkpoint {final} could not be written: {error.strerror or error}. The checkpoints "
            "before it are as they were; make room and run the same command again."
        ) from None
    _prune(folder)
    return final


def load(path: Path, *, identity: Identity | None = None) -> Checkpoint:
    """Read one checkpoint.

    Args:
        path: its folder.
        identity: what it has to belong to; none: anything.

    Raises:
        CheckpointError: it is damaged, or belongs to another configuration (the message names the
            differing fields, and `OtherConfigError` is raised).
    """
    state = _read_state(path)
    if identity is not None:
        _check_identity(path, state.identity, identity)
    model, optimizer = (_read_tensors(path / name, state.checksums[name]) for name in TENSOR_FILES)
    return Checkpoint(path, state.update, state.score, model, optimizer, state.training)


def latest(folder: Path, *, identity: Identity | None = None) -> Checkpoint | None:
    """The last good checkpoint of a folder; none where there is no checkpoint at all.

    A damaged one is passed over with a warning that names it.

    Raises:
        CheckpointError: every checkpoint is damaged, or the last good one is of another
            configuration.
    """
    return _first_good(folder, sorted(_paths(folder), reverse=True), identity)


def best(folder: Path, *, identity: Identity | None = None) -> Checkpoint | None:
    """The checkpoint with the highest validation score, the earliest of equals; the last where none
    has a score.

    Raises:
        CheckpointError: as `latest`.
    """
    scored = {path: _score(path) for path in sorted(_paths(folder), reverse=True)}
    if all(score is None for score in scored.values()):
        return latest(folder, identity=identity)
    order = [path for path, score in scored.items() if score is not None]
    order.sort(key=lambda path: (-cast(float, scored[path]), path))
    return _first_good(folder, order, identity)


class OtherConfigError(CheckpointError):
    """A sound checkpoint, of another configuration."""

    exit_code = 2


def differing_fields(there: object, here: object, prefix: str = "") -> Iterator[str]:
    """Names the fields in which two nested records of JSON values differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in sorted({*there, *here}):
            path = f"{prefix}.{name}" if prefix else str(name)
            yield from differing_fields(there.get(name), here.get(name), path)
    elif there != here:
        yield f"{prefix}: {json.dumps(there)} there, {json.dumps(here)} here"


def _first_good(folder: Path, paths: list[Path], identity: Identity | None) -> Checkpoint | None:
    problems = []
    for path in paths:
        try:
            checkpoint = load(path, identity=identity)
        except OtherConfigError:
            raise
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warnings.warn(f"{problem} Going on from {path.name}.", RuntimeWarning, stacklevel=3)
        return checkpoint
    if problems:
        raise CheckpointError(
            f"no checkpoint in {folder} can be used. {' '.join(problems)} "
            "Move the folder away to train anew."
        )
    return None


def _check_identity(path: Path, there: Identity, here: Identity) -> None:
    # Through JSON, as what was saved: tuples are lists there.
    fields = list(differing_fields(there, json.loads(json.dumps(here))))
    if fields:
        raise OtherConfigError(
            f"checkpoint {path} belongs to another configuration. {'; '.join(fields)}. "
            "Use the configuration it was made with, or another folder."
        )


def _read_state(path: Path) -> _State:
    try:
        sealed = json.loads((path / "state.json").read_bytes())
        if not isinstance(sealed, dict):
            raise ValueError("it is not a record")
        seal = sealed.pop("checksum", None)
        state = _State.parse(sealed, where="state.json")
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise _damaged(path / "state.json", error) from None
    if seal != json.loads(_sealed(state))["checksum"]:
        raise _damaged(path / "state.json", "its content does not match its checksum")
    if set(state.checksums) != set(TENSOR_FILES):
        raise _damaged(path / "state.json", f"it lists {sorted(state.checksums)}")
    return state


def _read_tensors(path: Path, checksum: str) -> dict[str, Tensor]:
    try:
        raw = path.read_bytes()
        if _checksum(raw) != checksum:
            raise ValueError("its content does not match its checksum")
        return safetensors.torch.load(raw)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, why: object) -> CheckpointError:
    return CheckpointError(f"checkpoint file {path} is damaged: {why}.")


def _sealed(state: _State) -> bytes:
    content = state.model_dump(mode="json")
    plain = json.dumps(content, sort_keys=True, allow_nan=False)
    content["checksum"] = _checksum(plain.encode())
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def _checksum(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]


def _score(path: Path) -> float | None:
    try:
        return _read_state(path).score
    except CheckpointError:
        return None


def _prune(folder: Path) -> None:
    paths = sorted(_paths(folder), reverse=True)
    scores = {path: _score(path) for path in paths}
    keep = set(paths[:_KEPT])
    scored = [path for path in paths if scores[path] is not None]
    if scored:
        keep.add(min(scored, key=lambda path: (-cast(float, scores[path]), path)))
    for path in paths:
        if path not in keep:
            _retire(path)


def _retire(path: Path) -> None:
    # Renamed first: a checkpoint that is half removed must not look like a damaged one.
    if path.exists():
        gone = path.with_name(f"{path.name}.old.tmp")
        _remove(gone)
        path.rename(gone)
        _remove(gone)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
