"""Creating HDF5 files so that a full disk is an error, not a crash.

HDF5 2.0 falls over (segmentation fault) where a write fails while it closes a file. So it writes
through a file object of ours that tells it that all is well, remembers what went wrong, and says so
once HDF5 is done.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.errors import ResourceError

if TYPE_CHECKING:
    import h5py

# Zstandard's number in HDF5's registry of filters, and the level at which it was measured.
ZSTD_FILTER, ZSTD_LEVEL = 32015, 3


class _DeferredErrors(io.RawIOBase):
    """A new file whose writes never fail; the first failure is kept in `error`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
        )
        self._file = os.fdopen(self._descriptor, "r+b", buffering=0)
        self._position = 0
        self._end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; where the file should end counts, not where it does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._position

    def write(self, data: Any) -> int:
        """Write all of it, or remember why not."""
        with memoryview(data).cast("B") as view:
            size = len(view)
            done = 0
            with self._remembered():
                self._file.seek(self._position)
                while self.error is None and done < size:
                    done += self._file.write(view[done:]) or 0
        self._position += size
        self._end = max(self._end, self._position)
        return size

    def readinto(self, buffer: Any) -> int:
        """Read back what was written; zeros where a write failed."""
        with memoryview(buffer).cast("B") as view:
            size = len(view)
            found = b""
            with self._remembered():
                self._file.seek(self._position)
                found = self._file.read(size) or b""
            view[:] = found + bytes(size - len(found))
        self._position += size
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the length, or remember why not."""
        self._end = self._position if size is None else size
        with self._remembered():
            self._file.truncate(self._end)
        return self._end

    def flush(self) -> None:
        """Nothing is buffered."""

    def finish(self) -> None:
        """Flush to disk and close; raises the first error of all."""
        with self._remembered():
            if self.error is None:
                os.fsync(self._descriptor)
        with self._remembered():
            self._file.close()
        self.close()
        if self.error is not None:
            raise self.error

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # an interrupt inside HDF5 would bring it down as well
            self.error = self.error or error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file; when the block ends it is whole and on the disk.

    Every data set begins at a multiple of 64 bytes, so that it can be memory-mapped as it lies.

    Raises:
        OSError: it exists, or could not be written; what was written then is worth nothing.
    """
    import h5py

    target = _DeferredErrors(path)
    try:
        with h5py.File(target, "w", alignment_threshold=1, alignment_interval=64) as file:
            yield file
    finally:
        # Where a write failed, that error comes out, whatever HDF5 complains of in its wake.
        target.finish()


def zstd() -> dict[str, Any]:
    """Arguments of `create_dataset` for zstandard.

    Raises:
        ResourceError: its plug-in is not installed; the message says how to.
    """
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        raise ResourceError(
            "histories with frames are compressed by zstandard, and hdf5plugin is not installed. "
            "Install it: pip install 'algorithm-distillation-bench[zstd]'"
        ) from None
    return {"compression": ZSTD_FILTER, "compression_opts": (ZSTD_LEVEL,)}
