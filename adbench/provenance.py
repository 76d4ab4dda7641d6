"""Where a result comes from: versions, the code's commit and the machine; imports nothing heavy."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("torch", "numpy", "gymnasium", "h5py", "numba", "safetensors", "triton")


@cache
def versions() -> dict[str, str]:
    """Versions of adbench, Python and the installed packages that shape a result."""
    found = {"python": platform.python_version()}
    for name, distribution in (
        ("adbench", "algorithm-distillation-bench"),
        *((p, p) for p in _PACKAGES),
    ):
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Commit of the checkout that adbench runs from, "+changes" if edited; none if installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return (
            f"{head}+changes"
            if _git(root, "status", "--porcelain", "--untracked-files=no")
            else head
        )
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def machine() -> dict[str, str | int]:
    """Kind of machine: processor, usable cores, system. No name of it or of its owner."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ("git", "-C", str(root), *words), capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
