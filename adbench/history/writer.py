"""Writing histories: one shard at a time, whole or not at all.

A shard is written beside its place (`.tmp`), flushed to disk, renamed, and only then listed in the manifest, which is
rewritten in the same way. Whatever kills the process leaves the shards that were listed, and at most a stray `.tmp`.
Equal contents give equal bytes, so checksums can be compared between runs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from adbench.errors import AdbenchError, ContractError, HistoryError, ResourceError
from adbench.history.consistency import boundaries_problem, values_problem
from adbench.history.schema import (
    FIXED_DTYPES,
    MANIFEST,
    SHARD_BYTES_MAX,
    FieldRecord,
    ManifestLine,
    ShardMeta,
    axis_of,
    shard_name,
)
from adbench.history.spaces import BoxSpace, DiscreteSpace, storage_dtype

_CHUNK_BYTES = 2**19
# Filter number of zstandard in HDF5's registry, and the level at which it was measured.
ZSTD_FILTER, ZSTD_LEVEL = 32015, 3
# Room left on the disk for the manifest, the run's logs and everybody else.
_SPARE_BYTES = 32 * 2**20
_NARROWER = {"u2": "i4", "u4": "i8", "b1": "u1"}


def named_arrays(name: str, values: object) -> dict[str, np.ndarray]:
    """Fields from a tensor or from a dictionary of tensors: {"observation": x} or {"observation/KEY": x[KEY], ...}."""
    if isinstance(values, Mapping):
        return {f"{name}/{key}": np.asarray(value) for key, value in values.items()}
    return {name: np.asarray(values)}


def write_shard(folder: Path, index: int, arrays: Mapping[str, np.ndarray], meta: ShardMeta) -> ManifestLine:
    """Write one shard and list it in the manifest.

    Args:
        folder: where the histories of a run lie; made if it is not there.
        index: the shard's number; a shard of that number is replaced once the new one is whole.
        arrays: fields by name (`schema`), [H, S, ...], [H, E, ...] or [H, ...]; types are narrowed to what the spaces need.
        meta: where the histories come from.

    Raises:
        ContractError: the fields do not fit the schema, their spaces or each other.
        HistoryError: the folder holds histories of another environment, or cannot be written.
        ResourceError: the disk is full; nothing that was there before has changed.
    """
    stored = {name: _narrowed(name, arrays[name], meta) for name in _in_order(arrays)}
    line = _line(index, stored, meta)
    folder = Path(folder)
    with _explained(folder / line.file):
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, sum(record.num_bytes for record in line.fields.values()))
    with _locked(folder):
        _check_same_kind(folder, line)
    partial = folder / f"{line.file}.tmp"
    try:
        with _explained(folder / line.file):
            partial.unlink(missing_ok=True)
            _write_file(partial, stored)
            line = _sealed(line, partial)
            os.replace(partial, folder / line.file)
            sync_folder(folder)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    with _explained(folder / MANIFEST), _locked(folder):
        _list_in_manifest(folder, line)
    return line


def _in_order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Big fields first, then by name: one order, so that equal contents give equal bytes."""
    rank = {"step": 0, "episode": 1, "history": 2, None: 3}
    return sorted(arrays, key=lambda name: (rank[axis_of(name)], name))


def _narrowed(name: str, values: np.ndarray, meta: ShardMeta) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ContractError(f"field {name!r} is of type {array.dtype}; histories hold numbers and flags")
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
        raise ContractError(f"field {name!r} holds fractions; its space {space} is of whole numbers.")
    return np.ascontiguousarray(narrow)


def _line(index: int, arrays: Mapping[str, np.ndarray], meta: ShardMeta) -> ManifestLine:
    """The manifest's line but for size and checksum; raises ContractError where the fields do not agree."""
    where = f"histories of {meta.env} for {shard_name(index)}"
    try:
        line = ManifestLine.model_validate(
            {
                **{name: getattr(meta, name) for name in ShardMeta.model_fields if name != "spaces"},
                "file": shard_name(index), "bytes": 1, "blake2b": "0" * 64, "steps": 1, "return_curve": (0.0,),
                "fields": {name: _field(name, array, meta) for name, array in arrays.items()},
            }
        )  # fmt: skip
    except ValidationError as error:
        raise ContractError(f"{where}: {error.errors(include_url=False)[0]['msg']}") from None
    length = arrays["length"]
    plain = {name: array for name, array in arrays.items() if name != "frame"}
    problem = boundaries_problem(arrays["episode_end"], length, arrays["action"].shape[1])
    problem = problem or values_problem(plain, line.fields)
    if problem:
        raise ContractError(f"{where}: {problem}.")
    num_bytes = sum(record.num_bytes for record in line.fields.values())
    if "frame" not in arrays and num_bytes > SHARD_BYTES_MAX:
        raise ContractError(
            f"{where} would take {num_bytes:,} bytes; a shard is at most {SHARD_BYTES_MAX:,}. Raise collect.shards."
        )
    curve = tuple(float(f"{value:.6g}") for value in return_curve(arrays["reward"], arrays["episode_end"]))
    return line.with_(steps=int(length.sum()), return_curve=curve)


def _field(name: str, array: np.ndarray, meta: ShardMeta) -> FieldRecord:
    lead = 1 if axis_of(name) == "history" else 2
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
    sums = np.zeros((len(reward), reward.shape[1] + 1))
    np.cumsum(reward, axis=1, out=sums[:, 1:], dtype=np.float64)
    real = episode_end >= 0
    upto = np.take_along_axis(sums, np.maximum(episode_end, 0), axis=1)
    returns = np.diff(upto, axis=1, prepend=0.0)
    counts = real.sum(0)
    return (returns * real).sum(0)[counts > 0] / counts[counts > 0]


def _write_file(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    import h5py

    # Every field begins at a multiple of 64 bytes, so that it can be memory-mapped as it lies. HDF5 stamps no time.
    with h5py.File(path, "x", alignment_threshold=1, alignment_interval=64) as file:
        for name, array in arrays.items():
            if name == "frame":
                frame_bytes = array[0, 0].nbytes
                chunk = (1, max(1, min(array.shape[1], _CHUNK_BYTES // frame_bytes)), *array.shape[2:])
                file.create_dataset(name, data=array, chunks=chunk, track_times=False, **_zstd())
            else:
                file.create_dataset(name, data=array, track_times=False)
        file.flush()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _zstd() -> dict[str, object]:
    import_zstd()
    return {"compression": ZSTD_FILTER, "compression_opts": (ZSTD_LEVEL,)}


def import_zstd() -> None:
    """Load HDF5's zstandard filter.

    Raises:
        ResourceError: it is not installed; the message says how to.
    """
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        raise ResourceError(
            "histories with frames are compressed by zstandard, and hdf5plugin is not installed. "
            "Install it: pip install 'algorithm-distillation-bench[zstd]'"
        ) from None


def _sealed(line: ManifestLine, path: Path) -> ManifestLine:
    size = path.stat().st_size
    if size > SHARD_BYTES_MAX:
        raise ContractError(
            f"{line.file} would take {size:,} bytes; a shard is at most {SHARD_BYTES_MAX:,}. Raise collect.shards."
        )
    return line.with_(bytes=size, blake2b=checksum(path))


def checksum(path: Path) -> str:
    """BLAKE2b-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()  # type: ignore[arg-type]


def read_manifest_bytes(folder: Path) -> bytes:
    """The manifest as it lies on disk.

    Raises:
        HistoryError: it is not there, or is not a plain file.
    """
    path = Path(folder) / MANIFEST
    if path.is_symlink() or not path.is_file():
        what = "is not a plain file" if path.exists() or path.is_symlink() else "is not there"
        raise HistoryError(f"{path} {what}; expected the list of shards that a finished collection leaves.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}.") from None


def _check_same_kind(folder: Path, line: ManifestLine) -> None:
    for other in _listed(folder):
        theirs = (other.env, other.env_version, other.split)
        ours = (line.env, line.env_version, line.split)
        if theirs != ours:
            raise HistoryError(
                f"{folder} holds histories of {theirs[0]} version {theirs[1]}, split {theirs[2]!r}; these are of "
                f"{ours[0]} version {ours[1]}, split {ours[2]!r}. Choose another folder."
            )


def _listed(folder: Path) -> list[ManifestLine]:
    """Lines of the manifest that can be read; a damaged one is dropped, and its shard collected again."""
    if not (folder / MANIFEST).exists():
        return []
    lines = []
    for raw in read_manifest_bytes(folder).splitlines():
        with contextlib.suppress(ValueError):
            lines.append(ManifestLine.model_validate_json(raw, strict=True))
    return lines


def _list_in_manifest(folder: Path, line: ManifestLine) -> None:
    by_file = {other.file: other for other in _listed(folder)} | {line.file: line}
    text = "".join(f"{by_file[name].to_json()}\n" for name in sorted(by_file))
    partial = folder / f"{MANIFEST}.tmp"
    try:
        partial.unlink(missing_ok=True)
        with open(partial, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / MANIFEST)
        sync_folder(folder)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes + _SPARE_BYTES:
        raise ResourceError(
            f"{folder}: a shard needs {num_bytes:,} bytes and {_SPARE_BYTES:,} to spare, the disk has {free:,} free. "
            "Nothing was written; free some space or choose another folder."
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other writers of this machine while the manifest is rewritten."""
    try:
        import fcntl
    except ImportError:  # no such lock on Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system says into an error of ours. HDF5 gives a full disk as OSError or RuntimeError."""
    try:
        yield
    except AdbenchError:
        raise
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        text = f"{error}"
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space left" in text or "errno = 28" in text:
            raise ResourceError(
                f"{path} could not be written, the disk is full ({text}). What was there before is unchanged; free some "
                "space and run the same command again."
            ) from None
        raise HistoryError(f"{path} could not be written: {text}") from None
