"""What a stage will need of the disk and the memory, asked before it starts.

Estimates err on the high side by up to a half. A stage that would not fit is refused with both
numbers and nothing is started, instead of dying in its last minute.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from adbench.errors import ResourceError

_HEADROOM = 1.1
"""A file system that is filled to the brim slows down, and logs want to be written too."""


def require(
    stage: str,
    folder: Path,
    *,
    disk_bytes: int = 0,
    memory_bytes: int = 0,
    free_disk: int | None = None,
    free_memory: int | None = None,
) -> None:
    """Refuse a stage that the machine has no room for.

    Args:
        stage: what is about to start, in words ("collect, seed 0").
        folder: where it will write.
        disk_bytes: what it will write.
        memory_bytes: what it will hold at once.
        free_disk: bytes free; none: ask the system.
        free_memory: bytes free; none: ask the system.

    Raises:
        ResourceError: with what is needed and what there is.
    """
    disk = free_disk_bytes(folder) if free_disk is None else free_disk
    if disk_bytes * _HEADROOM > disk:
        raise ResourceError(
            f"{stage}: needs about {size(disk_bytes)} of disk at {folder}, {size(disk)} are free. "
            "Nothing was started. Make room, or choose an --out on another disk."
        )
    memory = free_memory_bytes() if free_memory is None else free_memory
    if memory is not None and memory_bytes * _HEADROOM > memory:
        raise ResourceError(
            f"{stage}: needs about {size(memory_bytes)} of memory, {size(memory)} are free. "
            "Nothing was started. Close other programs, or make the run smaller."
        )


def free_disk_bytes(folder: Path) -> int:
    """Bytes that can be written where `folder` is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def free_memory_bytes() -> int | None:
    """Bytes of memory this process can still have; none where the system doesn't say.

    A container's limit counts when it is lower than what the machine has.
    """
    known = [free for free in (_machine_memory(), _container_memory()) if free is not None]
    return min(known) if known else None


def _machine_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, IndexError):
        return None
    return int(kilobytes) * 1024


def _container_memory(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        # Cached files count as used until somebody else wants the memory.
        counters = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(counters.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def usable_cores(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may keep busy.

    A container may see all of a machine's cores and be given the time of two; a thread for each
    that it sees would mostly wait.
    """
    if hasattr(os, "sched_getaffinity"):
        seen = len(os.sched_getaffinity(0))
    else:
        seen = os.cpu_count() or 1
    try:
        quota, period = (group / "cpu.max").read_text().split()
        given = seen if quota == "max" else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        given = seen
    return max(1, min(seen, given))


def size(number: int | float) -> str:
    """Bytes as people say them: "512 kB", "1.4 GB"."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
