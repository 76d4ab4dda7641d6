"""Writing histories: one shard at a time, whole or not at all.

A shard is written beside its place (`.tmp`), flushed to disk, renamed, and only then listed in the
manifest, which is rewritten in the same way. Whatever kills the process leaves the shards that were
listed, and at most a stray `.tmp`. Equal contents give equal bytes, so checksums can be compared
between runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from adbench.errors import ContractError, ResourceError, UsageError
from adbench.history.consistency import boundaries_problem, values_problem
from adbench.history.hdf5 import new_file, zstd
from adbench.history.manifest import (
    check_same_kind,
    list_shard,
    sync_folder,
    write_errors_explained,
)
from adbench.history.schema import (
    FIXED_DTYPES,
    ONE_AXIS,
    SHARD_BYTES_MAX,
    FieldRecord,
    ManifestLine,
    ShardMeta,
    axis_of,
    shard_name,
)
from adbench.history.spaces import BoxSpace, DiscreteSpace, storage_dtype

_CHUNK_BYTES = 2**19
# Room left on the disk for the manifest, the run's logs and everybody else.
_SPARE_BYTES = 32 * 2**20
_NARROWER = {"u2": "i4", "u4": "i8", "b1": "u1"}


def named_arrays(name: str, values: object) -> dict[str, np.ndarray]:
    """Fields from a tensor or a dictionary of them: {"state": x} or {"state/KEY": x[KEY], ...}."""
    if isinstance(values, Mapping):
        return {f"{name}/{key}": np.asarray(value) for key, value in values.items()}
    return {name: np.asarray(values)}


def write_shard(
    folder: Path, index: int, arrays: Mapping[str, np.ndarray], meta: ShardMeta
) -> ManifestLine:
    """Write one shard and list it in the manifest.

    Args:
        folder: where the histories of a run lie; made if it is not there.
        index: the shard's number; a shard of that number is replaced once the new one is whole.
        arrays: fields by name (`schema`), [H, S, ...], [H, E, ...], [H, ...] or [P, ...]. Whole
            numbers are stored as narrowly as their spaces allow; rewards as float32.
        meta: where the histories come from.

    Raises:
        ContractError: the fields do not fit the schema, their spaces or each other.
        UsageError: the shard would be larger than a gigabyte.
        HistoryError: the folder holds histories of another environment, or cannot be written.
        ResourceError: the disk is full; nothing that was there before has changed.
    """
    folder = Path(folder)
    stored = {name: _narrowed(name, arrays[name], meta) for name in _in_order(arrays)}
    line = _line(index, stored, meta)
    path = folder / line.file
    partial = folder / f"{line.file}.tmp"
    with write_errors_explained(path):
        folder.mkdir(parents=True, exist_ok=True)
        check_same_kind(folder, line)
        _check_room(folder, sum(record.num_bytes for record in line.fields.values()))
        try:
            partial.unlink(missing_ok=True)
            _write_file(partial, stored)
            line = _sealed(line, partial)
            os.replace(partial, path)
            sync_folder(folder)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        list_shard(folder, line)
    return line


def _in_order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Big fields first, then by name: one order, so that equal contents give equal bytes."""
    rank = {"step": 0, "episode": 1, "history": 2, "sample": 3, None: 4}
    return sorted(arrays, key=lambda name: (rank[axis_of(name)], name))


def _narrowed(name: str, values: np.ndarray, meta: ShardMeta) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ContractError(
            f"field {name!r} is of type {array.dtype}; histories hold numbers and flags"
        )
    space = meta.spaces.get(name)
    wanted: str
    if name in FIXED_DTYPES:
        wanted = FIXED_DTYPES[name]
    elif space is not None:
        wanted = storage_dtype(space)
    else:
        code = f"{array.dtype.kind}{array.dtype.itemsize}"
        wanted = _NARROWER.get(code, code)
    narrow = array.astype(f"<{wanted}", order="C", copy=False)
    # float64 rewards and observations may lose digits; whole numbers may not change.
    if array.dtype.kind != "f" and not np.array_equal(narrow, array):
        raise ContractError(
            f"field {name!r} holds {array.min()} to {array.max()}, which does not fit {wanted}"
            f"{f' as its space {space} says' if space else ''}."
        )
    if array.dtype.kind == "f" and wanted[0] != "f" and not np.array_equal(narrow, array):
        raise ContractError(
            f"field {name!r} holds fractions; its space {space} is of whole numbers."
        )
    return np.ascontiguousarray(narrow)


def _line(index: int, arrays: Mapping[str, np.ndarray], meta: ShardMeta) -> ManifestLine:
    """The manifest's line but for size and checksum."""
    where = f"histories of {meta.env} for {shard_name(index)}"
    meta_fields = {name: getattr(meta, name) for name in ShardMeta.model_fields}
    meta_fields.pop("spaces")
    try:
        line = ManifestLine(
            **meta_fields,
            file=shard_name(index),
            bytes=1,
            blake2b="0" * 64,
            steps=1,
            return_curve=(0.0,),
            fields={name: _field(name, array, meta) for name, array in arrays.items()},
        )
    except ValidationError as error:
        raise ContractError(f"{where}: {error.errors(include_url=False)[0]['msg']}") from None
    length = arrays["length"]
    plain = {name: array for name, array in arrays.items() if name != "frame"}
    problem = boundaries_problem(arrays["episode_end"], length, arrays["action"].shape[1])
    problem = problem or values_problem(plain, line.fields)
    if problem:
        raise ContractError(f"{where}: {problem}. `adbench check-env {meta.env}` looks closer.")
    num_bytes = sum(record.num_bytes for record in line.fields.values())
    if "frame" not in arrays and num_bytes > SHARD_BYTES_MAX:
        raise _too_large(line.file, num_bytes)
    curve = tuple(
        float(f"{value:.6g}") for value in return_curve(arrays["reward"], arrays["episode_end"])
    )
    return line.with_(steps=int(length.sum()), return_curve=curve)


def _field(name: str, array: np.ndarray, meta: ShardMeta) -> FieldRecord:
    lead = 1 if axis_of(name) in ONE_AXIS else 2
    default = BoxSpace.model_validate({"shape": array.shape[lead:], "dtype": array.dtype.str[1:]})
    flag = DiscreteSpace(n=2) if name in ("terminated", "truncated") else default
    return FieldRecord.model_validate(
        {"dtype": array.dtype.str[1:], "shape": array.shape, "space": meta.spaces.get(name, flag)}
    )


def return_curve(reward: np.ndarray, episode_end: np.ndarray) -> np.ndarray:
    """Mean return of each episode over the histories that have it, float64 [E].

    Args:
        reward: float32 [H, S].
        episode_end: int32 [H, E], padded with -1.
    """
    total = np.zeros(episode_end.shape[1])
    count = np.zeros(episode_end.shape[1], np.int64)
    for rewards, padded in zip(reward, episode_end, strict=True):
        ends = padded[padded >= 0]
        starts = np.concatenate([[0], ends[:-1]])
        total[: len(ends)] += np.add.reduceat(rewards[: ends[-1]].astype(np.float64), starts)
        count[: len(ends)] += 1
    return total[count > 0] / count[count > 0]


def _write_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with new_file(path) as file:
        for name, array in arrays.items():
            if name == "frame":
                frames = max(1, min(array.shape[1], _CHUNK_BYTES // array[0, 0].nbytes))
                chunk = (1, frames, *array.shape[2:])
                file.create_dataset(name, data=array, chunks=chunk, track_times=False, **zstd())
            else:
                file.create_dataset(name, data=array, track_times=False)


def _sealed(line: ManifestLine, path: Path) -> ManifestLine:
    size = path.stat().st_size
    if size > SHARD_BYTES_MAX:
        raise _too_large(line.file, size)
    return line.with_(bytes=size, blake2b=checksum(path))


def _too_large(file: str, num_bytes: int) -> UsageError:
    return UsageError(
        f"{file} would take {num_bytes:,} bytes; a shard is at most {SHARD_BYTES_MAX:,}. "
        "Spread the histories over more files: raise collect.shards."
    )


def checksum(path: Path) -> str:
    """BLAKE2b-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def _check_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes + _SPARE_BYTES:
        raise ResourceError(
            f"{folder}: a shard needs {num_bytes:,} bytes and {_SPARE_BYTES:,} to spare; the disk "
            f"has {free:,} free. Nothing was written. Free some space or choose another folder."
        )
