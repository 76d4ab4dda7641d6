"""The manifest: a JSON line a shard, read with suspicion and rewritten whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from adbench.errors import AdbenchError, HistoryError, ResourceError
from adbench.history.schema import MANIFEST, SCHEMA, ManifestLine

# A line is a few kilobytes; a shard, at most a gigabyte.
_MAX_BYTES = 2**28


class DamageError(Exception):
    """A shard or a line cannot be used; the message is the reason. Users never see it bare."""


def read_lines(folder: Path) -> tuple[list[ManifestLine], list[tuple[int, str]]]:
    """The manifest's lines, and number and reason of those that cannot be read.

    Raises:
        HistoryError: it is missing or empty, not a plain file, or of another schema.
    """
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        what = "is not a plain file" if path.exists() or path.is_symlink() else "is not there"
        raise HistoryError(f"{path} {what}; expected the list of shards that collecting leaves.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise HistoryError(f"{path} is larger than {_MAX_BYTES:,} bytes; no manifest is.")
        raw = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error.strerror}.") from None
    lines: dict[str, ManifestLine] = {}
    damaged = []
    for number, text in enumerate(raw.splitlines(), start=1):
        try:
            line = _parse(path, text)
            if line.file in lines:
                raise DamageError(f"lists {line.file!r} a second time")
            lines[line.file] = line
        except DamageError as damage:
            damaged.append((number, str(damage)))
    if not lines and not damaged:
        raise HistoryError(
            f"{path} is empty; expected a line a shard. Delete it and collect the histories again."
        )
    return list(lines.values()), damaged


def _parse(path: Path, text: bytes) -> ManifestLine:
    try:
        version = json.loads(text)["schema"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamageError("is not a shard's record in JSON") from None
    if type(version) is not int or version != SCHEMA:
        raise HistoryError(
            f"{path} is of schema {str(version)[:40]!r}; this version of adbench reads schema "
            f"{SCHEMA}. Collect the histories again in another folder, or use what wrote them."
        )
    try:
        return ManifestLine.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamageError(
            f"is not a shard's record: {where}{': ' if where else ''}{first['msg']}"
        ) from None


def list_shard(folder: Path, line: ManifestLine) -> None:
    """Add a shard's line, or replace it; lines that cannot be read are left out.

    Raises:
        OSError: the manifest could not be written, and is what it was.
    """
    with _locked(folder):
        known = read_lines(folder)[0] if (folder / MANIFEST).exists() else []
        by_file = {other.file: other for other in known} | {line.file: line}
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


def check_same_kind(folder: Path, line: ManifestLine) -> None:
    """Refuse to mix two kinds of histories in one folder.

    Raises:
        HistoryError: the folder holds another environment, version, split or schema.
    """
    if not (folder / MANIFEST).exists():
        return
    for other in read_lines(folder)[0]:
        theirs = (other.env, other.env_version, other.split)
        ours = (line.env, line.env_version, line.split)
        if theirs != ours:
            raise HistoryError(
                f"{folder} holds histories of {theirs[0]!r}, version {theirs[1]}, split "
                f"{theirs[2]!r}; these are of {ours[0]!r}, version {ours[1]}, split {ours[2]!r}. "
                "Choose another folder."
            )


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other writers of this machine."""
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
def write_errors_explained(path: Path) -> Iterator[None]:
    """Turn what the system and HDF5 say while a file is written into errors of ours.

    Raises:
        ResourceError: the disk is full.
        HistoryError: anything else.
    """
    try:
        yield
    except AdbenchError:
        raise
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceError(
                f"{path} could not be written, the disk is full ({error}). What was there before "
                "is unchanged; free some space and run the same command again."
            ) from None
        raise HistoryError(f"{path} could not be written: {error}") from None
