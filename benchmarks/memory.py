"""How much memory there is, and by how much a call makes it grow."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR, _MEMINFO = (
    Path("/proc/self/status"),
    Path("/proc/self/clear_refs"),
    Path("/proc/meminfo"),
)
_RESET_PEAK = "5"
"""Written to clear_refs it lets the kernel forget the process's highest resident size (proc(5))."""


def available(device: str) -> int | None:
    """Bytes that could be had now; none where nobody says."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return _kilobytes(_MEMINFO, "MemAvailable")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a size was too large for the device or the machine."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(said in str(error) for said in ("out of memory", "can't allocate memory"))
    )


def growth(call: Callable[[], object], device: str) -> int | None:
    """Bytes by which memory grows while `call` runs, at the most; none where it cannot be told.

    On a GPU what torch hands out; on a CPU what the process has resident, in pages, after the C
    library gave back what lay free.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    _give_back()
    try:
        _CLEAR.write_text(_RESET_PEAK)
    except OSError:
        return None
    resident = _kilobytes(_STATUS, "VmRSS")
    call()
    peak = _kilobytes(_STATUS, "VmHWM")
    return None if resident is None or peak is None else max(0, peak - resident)


def _give_back() -> None:
    """Let the C library return freed memory to the system, or calls would grow into it unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kilobytes(file: Path, name: str) -> int | None:
    """A line of /proc such as `VmRSS:  123 kB`, in bytes."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0][1]) if found else None
