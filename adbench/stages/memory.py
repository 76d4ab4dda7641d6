"""Peak memory of a run's stages: of its process, and of the GPU."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from adbench.folder import write_text

STAGES = ("collect", "train", "evaluate")
KINDS = ("process", "gpu")

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"
"""What Linux is told to forget a process's peak (proc(5), clear_refs)."""


class PeakMemory:
    """The most memory that each stage held, over every process that took part.

    *process*: resident memory of the whole process, Python and torch included. *gpu*: what torch
    had allocated for tensors.

    Args:
        path: the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._peaks = _read(path)

    def of(self) -> dict[str, dict[str, int | None]]:
        """Bytes, by kind and stage; none: not measured."""
        return {
            kind: {stage: self._peaks.get(f"{kind}/{stage}") for stage in STAGES} for kind in KINDS
        }

    @contextmanager
    def watch(self, stage: str) -> Iterator[None]:
        """Note the peak inside, where it is higher than before; of other stages nothing."""
        if stage not in STAGES:
            yield
            return
        with _process_peak() as process, _gpu_peak() as gpu:
            yield
        for kind, told in (("process", process), ("gpu", gpu)):
            if told:
                name = f"{kind}/{stage}"
                self._peaks[name] = max(told[0], self._peaks.get(name, 0))
        write_text(self._path, json.dumps(self._peaks, indent=1) + "\n")


@contextmanager
def _process_peak() -> Iterator[list[int]]:
    """Gives a list that holds the peak afterwards; empty where the system does not tell it."""
    told: list[int] = []
    forgets = _forget_peak()
    before = _peak_ever()
    yield told
    if forgets and (peak := _peak_since()):
        told.append(peak)
    elif (after := _peak_ever()) > before:  # it rose, so it is of the time in between
        told.append(after)


def _forget_peak() -> bool:
    try:
        _CLEAR.write_text(_CLEAR_PEAK)
    except OSError:  # not Linux, or not allowed
        return False
    return True


def _peak_since() -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, IndexError):
        return None
    return int(kilobytes) * 1024


def _peak_ever() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def _gpu_peak() -> Iterator[list[int]]:
    told: list[int] = []
    if _gpu_is_awake():
        torch.cuda.reset_peak_memory_stats()
    yield told
    if _gpu_is_awake():
        told.append(torch.cuda.max_memory_allocated())


def _gpu_is_awake() -> bool:
    """Whether torch works on a GPU already; asking for its memory would wake it up."""
    asked: Any = torch.cuda.is_initialized
    return bool(asked())


def _read(path: Path) -> dict[str, int]:
    """What was noted so far; a damaged file starts anew, since no outcome depends on it."""
    try:
        told: Any = json.loads(path.read_text())
        return {str(name): max(0, int(peak)) for name, peak in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
