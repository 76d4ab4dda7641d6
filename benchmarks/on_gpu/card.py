"""The device that is measured: what it is, how it is timed, and how its failures look."""

from __future__ import annotations

import gc
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.choice import arch
from benchmarks.on_gpu.timing import CudaTimer, Timer, WallTimer

ROOT = Path(__file__).resolve().parents[2]
MOST_SETS = 32
"""Sets of inputs that are rotated at most; more would only cost preparation."""

_LOST = (
    "illegal memory access", "illegal instruction", "misaligned address", "launch failure",
    "device-side assert", "hardware stack error", "uncorrectable", "launch timed out",
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """A device with its timer.

    Attributes:
        device: where tensors go.
        timer: what calls are timed with.
        l2_bytes: its last cache; inputs that are rotated are at least twice as large together.
        smoke: sizes are tiny; times mean nothing.
    """

    device: torch.device
    timer: Timer
    l2_bytes: int = 0
    smoke: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    def sets(self, bytes_each: float) -> int:
        """How many sets of inputs to rotate, so that none is in the cache when it comes again."""
        return min(max(2, math.ceil(2 * self.l2_bytes / max(bytes_each, 1.0)) + 1), MOST_SETS)

    def generator(self, seed: int) -> torch.Generator:
        """A generator on the device."""
        return torch.Generator(self.device).manual_seed(seed)

    def normal(self, *shape: int, seed: int, dtype: torch.dtype) -> Tensor:
        """Standard normal numbers; zeros would run faster than real data does."""
        source = self.generator(seed)
        return torch.randn(*shape, generator=source, device=self.device, dtype=dtype)

    def held_bytes(self) -> int:
        """What torch's tensors take on it now; 0 on a CPU, where nobody counts."""
        return int(torch.cuda.memory_allocated(self.device)) if self.on_gpu else 0

    def peak_bytes(self, call: Callable[[], object]) -> int | None:
        """What they take at most while a call runs; none on a CPU."""
        if not self.on_gpu:
            return None
        gc.collect()
        torch.cuda.reset_peak_memory_stats(self.device)
        call()
        torch.cuda.synchronize(self.device)
        return int(torch.cuda.max_memory_allocated(self.device))

    def clear(self) -> None:
        """Give memory back between cases."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a case was too large for the device."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )


def is_lost(error: BaseException) -> bool:
    """Whether the device answers no more in this process, whatever comes next."""
    text = str(error)
    return "CUDA error" in text and any(sign in text for sign in _LOST)


@contextmanager
def gpu(smoke: bool = False) -> Iterator[Card]:
    """The current GPU, with a stream of its own on which everything in the block runs."""
    device = torch.device("cuda", torch.cuda.current_device())
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        l2_bytes = int(torch.cuda.get_device_properties(device).L2_cache_size)
        yield Card(device, CudaTimer(stream), l2_bytes, smoke)


@contextmanager
def cpu() -> Iterator[Card]:
    """The CPU, for trying the benchmark out."""
    yield Card(torch.device("cpu"), WallTimer(), smoke=True)


def machine(card: Card) -> dict[str, Any]:
    """What a time on this machine depends on."""
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(card.device) if card.on_gpu else platform.machine(),
        "arch": arch(card.device),
        "smoke": card.smoke,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cores": os.cpu_count(),
        "load_average_1_minute": round(os.getloadavg()[0], 2),
        "commit": commit(),
    }
    if card.on_gpu:
        properties = torch.cuda.get_device_properties(card.device)
        found["multiprocessors"] = properties.multi_processor_count
        found["memory_bytes"] = properties.total_memory
        found["l2_bytes"] = card.l2_bytes
        found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        found.update(_smi())
    return found


def commit() -> str | None:
    """The commit that is checked out, with "+" where files differ; ADBENCH_COMMIT without git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return os.environ.get("ADBENCH_COMMIT")
    if head.returncode:
        return os.environ.get("ADBENCH_COMMIT")
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _smi() -> dict[str, Any]:
    """Driver, clocks (MHz) and power (W) as nvidia-smi says them; empty where it does not run."""
    fields = {
        "driver_version": "driver", "clocks.sm": "sm_clock_mhz",
        "clocks.max.sm": "max_sm_clock_mhz", "clocks.mem": "memory_clock_mhz",
        "power.limit": "power_limit_w",
        "temperature.gpu": "temperature_c", "utilization.gpu": "utilisation_percent",
    }  # fmt: skip
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode or not done.stdout.strip():
        return {}
    said = [text.strip() for text in done.stdout.splitlines()[0].split(",")]
    return {name: _number(text) for name, text in zip(fields.values(), said, strict=False)}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
