"""Opening one shard without trusting it.

An HDF5 file can ask its reader to open other files: external links, external storage, virtual data
sets. It can also carry types and filters that run code. None of that is in our format, so every
object in a shard is looked at before it is opened, and a shard that holds anything else is refused
by name.

H histories, S steps (of the longest), E episodes (of the longest).
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from adbench.errors import HistoryError
from adbench.history.consistency import boundaries_problem, values_problem
from adbench.history.hdf5 import ZSTD_FILTER, zstd
from adbench.history.manifest import DamageError
from adbench.history.schema import SHARD_NAME, FieldRecord, ManifestLine, axis_of

if TYPE_CHECKING:
    import h5py

_MAX_CHUNK_BYTES = 2**26
_MAX_FRAME_BYTES = 2**42
_HASH_BLOCK_BYTES = 2**22
# Whatever h5py makes of a file that is not sound.
_HDF5_ERRORS = (ArithmeticError, KeyError, OSError, RuntimeError, TypeError, ValueError)


class Shard:
    """One shard whose structure has been checked; its numbers are memory-mapped, not read.

    Attributes:
        line: its line in the manifest.
        path: where it lies.
        arrays: every field but frames, name -> [H, ...], backed by the file (copy-on-write: the
            file never changes).
    """

    def __init__(self, folder: Path, line: ManifestLine, *, verify: bool) -> None:
        """Open, check, and map one shard.

        Args:
            folder: the history folder.
            line: the shard's line in the manifest.
            verify: also read the whole file: its checksum, and whether its numbers make sense
                together.

        Raises:
            DamageError: anything at all is not as the manifest says, or not allowed in a shard.
        """
        self.line = line
        self.path = _path_within(folder, line.file)
        try:
            with _open_plain(self.path) as file:
                self.arrays = _open(file, line, verify=verify)
        except OSError as error:
            raise DamageError(f"cannot be read: {error.strerror or error}") from None
        problem = boundaries_problem(
            self.arrays["episode_end"], self.arrays["length"], self.num_steps
        )
        if problem is None and verify:
            problem = values_problem(self.arrays, line.fields)
        if problem:
            raise DamageError(problem)
        self._frames: tuple[int, h5py.Dataset] | None = None

    @property
    def num_steps(self) -> int:
        """S."""
        return self.line.fields["action"].shape[1]

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.line.fields["episode_end"].shape[1]

    def frames(self, history: int, start: int, steps: int) -> np.ndarray:
        """Frames of a history's steps, uint8 [steps, Y, X, C], decompressed.

        Raises:
            HistoryError: they cannot be read, although the file's checksum is the manifest's.
            ResourceError: zstandard is not installed.
        """
        import h5py

        # A handle that was opened before a fork reads rubbish after it (PyTorch issue 11929).
        if self._frames is None or self._frames[0] != os.getpid():
            zstd()
            self._frames = None
        try:
            if self._frames is None:
                self._frames = (os.getpid(), h5py.File(self.path, "r")["frame"])
            frames: np.ndarray = self._frames[1][history, start : start + steps]
        except _HDF5_ERRORS as error:
            raise HistoryError(f"{self.path}: frames cannot be read: {error}") from None
        return frames


def _path_within(folder: Path, name: str) -> Path:
    if not SHARD_NAME.fullmatch(name):
        outside = any(part in name for part in ("/", "\\", "..")) or Path(name).is_absolute()
        what = "points outside its folder" if outside else "is not a shard's name"
        raise DamageError(f"{what}; expected a name such as shard-00000.h5")
    return Path(folder) / name


def _open_plain(path: Path) -> BinaryIO:
    """Open a file that is itself, not a link, a pipe or a device."""
    if path.is_symlink():
        raise DamageError("is a symbolic link; a shard must be a plain file in its folder")
    # O_NONBLOCK: opening a pipe must not wait for somebody to write to it.
    flags = (
        os.O_RDONLY
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_NONBLOCK", 0)
        | getattr(os, "O_BINARY", 0)
    )
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise DamageError("is listed in the manifest, but is not there") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamageError("is not a plain file")
    return os.fdopen(descriptor, "rb")


def _open(file: BinaryIO, line: ManifestLine, *, verify: bool) -> dict[str, np.ndarray]:
    size = os.fstat(file.fileno()).st_size
    if size != line.bytes:
        what = "truncated" if size < line.bytes else "altered"
        raise DamageError(f"is {what}: it has {size:,} bytes, the manifest says {line.bytes:,}")
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if verify and _checksum(mapped) != line.blake2b:
        raise DamageError("is altered: its checksum is not the manifest's")
    offsets = _structure(file, line)
    return {
        name: np.frombuffer(
            mapped,
            line.fields[name].numpy_dtype,
            count=math.prod(line.fields[name].shape),
            offset=offset,
        ).reshape(line.fields[name].shape)
        for name, offset in offsets.items()
    }


def _checksum(mapped: mmap.mmap) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with memoryview(mapped) as view:
        for start in range(0, len(view), _HASH_BLOCK_BYTES):
            digest.update(view[start : start + _HASH_BLOCK_BYTES])
    return digest.hexdigest()


def _structure(file: BinaryIO, line: ManifestLine) -> dict[str, int]:
    """Check every object of the file against the manifest; byte offsets of the fields to map."""
    import h5py

    try:
        # Through Python's file object: HDF5 itself then has no path from which to look for others.
        with h5py.File(file, "r") as root:
            found: dict[str, int | None] = {}
            _walk(root, "", found, line)
    except DamageError:
        raise
    except _HDF5_ERRORS as error:
        raise DamageError(f"is not a sound HDF5 file: {error}") from None
    missing = sorted(set(line.fields) - set(found))
    if missing:
        raise DamageError(f"has no field {missing[0]!r}, which the manifest lists")
    return {name: offset for name, offset in found.items() if offset is not None}


def _walk(group: h5py.Group, prefix: str, found: dict[str, int | None], line: ManifestLine) -> None:
    import h5py

    # Far more than a schema's fields; a file that claims millions is not walked through.
    if len(group) > 256:
        raise DamageError(f"holds {len(group)} objects in {group.name}, expected at most 256")
    for name in group:
        path = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise DamageError(
                f"holds a link {path!r} that points elsewhere; a shard must hold its own numbers"
            )
        kind = h5py.h5o.get_info(group.id, name.encode()).type
        expected = any(field.startswith(f"{path}/") for field in line.fields)
        if kind == h5py.h5o.TYPE_GROUP and not prefix and expected:
            _walk(group[name], f"{path}/", found, line)
        elif kind == h5py.h5o.TYPE_DATASET and path in line.fields:
            found[path] = _field_offset(h5py.h5d.open(group.id, name.encode()), path, line)
        else:
            raise DamageError(f"holds an unknown object {path!r}")


def _field_offset(dataset: Any, name: str, line: ManifestLine) -> int | None:
    """Check one data set; its byte offset, or none where it is compressed.

    The creation properties come first: asking a virtual data set for its shape may already open its
    sources.
    """
    import h5py

    record = line.fields[name]
    created = dataset.get_create_plist()
    layout = created.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise DamageError(f"field {name!r} is a virtual data set, which reads other files")
    if created.get_external_count():
        raise DamageError(f"field {name!r} lies in external storage, outside its folder")
    _check_filters(created, name)
    _check_type(dataset, name, record)
    if name == "frame":
        _check_frame_chunks(created, layout, record)
        return None
    if layout != h5py.h5d.CONTIGUOUS:
        raise DamageError(f"field {name!r} is not stored in one piece")
    offset: int | None = dataset.get_offset()
    size = record.num_bytes
    whole = dataset.get_storage_size() == size
    if offset is None or not whole or not 0 <= offset <= line.bytes - size:
        raise DamageError(f"field {name!r} does not lie inside the file")
    if offset % record.numpy_dtype.itemsize:
        raise DamageError(
            f"field {name!r} begins at byte {offset}, not at a multiple of its element size"
        )
    return offset


def _check_filters(created: Any, name: str) -> None:
    filters = [created.get_filter(index)[0] for index in range(created.get_nfilters())]
    if filters and (name != "frame" or filters != [ZSTD_FILTER]):
        raise DamageError(
            f"field {name!r} is stored through filters {filters}; only zstandard ({ZSTD_FILTER}) "
            "is allowed, on frames"
        )


def _check_type(dataset: Any, name: str, record: FieldRecord) -> None:
    import h5py

    kind = dataset.get_type()
    is_number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT)
    if not is_number or kind.dtype != record.numpy_dtype:
        got = kind.dtype if is_number else "not a plain number"
        raise DamageError(f"field {name!r} is of type {got}, the manifest says {record.dtype}")
    shape = dataset.shape
    if tuple(shape) != record.shape:
        raise DamageError(
            f"field {name!r} has shape {list(shape)}, the manifest says {list(record.shape)}"
        )


def _check_frame_chunks(created: Any, layout: int, record: FieldRecord) -> None:
    import h5py

    if layout != h5py.h5d.CHUNKED:
        raise DamageError("field 'frame' is not stored in chunks")
    chunk = created.get_chunk()
    if math.prod(chunk) > _MAX_CHUNK_BYTES or record.num_bytes > _MAX_FRAME_BYTES:
        raise DamageError(
            f"field 'frame' is stored in chunks of {list(chunk)}, which are larger than any of ours"
        )


def step_fields(line: ManifestLine) -> tuple[str, ...]:
    """Names of a shard's fields with a value a step, in the manifest's order."""
    return tuple(name for name in line.fields if axis_of(name) == "step")
