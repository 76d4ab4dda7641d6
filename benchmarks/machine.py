"""What a time depends on: processor, GPUs with their clocks and driver, versions, threads, load."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from typing import Any

import torch

from adbench.provenance import commit
from adbench.provenance import machine as kind_of_machine

PACKAGES = (
    "torch", "triton", "numpy", "numba", "gymnasium", "h5py", "hdf5plugin", "stable-baselines3",
    "miniworld",
)  # fmt: skip
_SMI = {
    "name": "name", "driver_version": "driver", "memory.total": "memory_mib",
    "clocks.sm": "sm_clock_mhz", "clocks.max.sm": "max_sm_clock_mhz",
    "clocks.mem": "memory_clock_mhz", "power.limit": "power_limit_w",
}  # fmt: skip


def load_average() -> float:
    """Processes that wanted a core, over the last minute."""
    return round(os.getloadavg()[0], 2)


def describe(*, load_before: float) -> dict[str, Any]:
    """The record of this machine; no name of it or of its owner.

    Args:
        load_before: the load average before anything was measured.
    """
    return {
        **kind_of_machine(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": commit() or os.environ.get("ADBENCH_COMMIT"),
        "torch_threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "gpus": _gpus(),
        "load_average_before": load_before,
        "load_average_after": load_average(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> list[dict[str, str]]:
    """Each GPU that torch sees, with clocks and driver where nvidia-smi tells them."""
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if not names:
        return []
    asked = ["nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return [{"name": name} for name in names]
    lines = [[word.strip() for word in line.split(",")] for line in done.stdout.splitlines()]
    told = [dict(zip(_SMI.values(), words, strict=False)) for words in lines if len(words) > 1]
    return told or [{"name": name} for name in names]
