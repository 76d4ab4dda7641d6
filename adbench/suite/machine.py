"""How many runs a machine takes at once, and how many threads each of them gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from adbench.resources import free_memory_bytes, usable_cores

RUN_BYTES = 2_000_000_000
"""Memory that is set aside for a run on the CPU; what a stage really needs it asks for itself."""


@dataclass(frozen=True)
class Share:
    """What a machine is divided into.

    Attributes:
        jobs: runs at once.
        threads: of each.
    """

    jobs: int
    threads: int

    def environment(self) -> dict[str, str]:
        """The environment variables of each run's process."""
        shared = {name: str(self.threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        return {"OMP_WAIT_POLICY": "passive", **os.environ, **shared}


def share(
    device: str,
    runs: int,
    *,
    jobs: int | None = None,
    cores: int | None = None,
    free_bytes: int | None = None,
    told: Mapping[str, str] | None = None,
) -> Share:
    """Divide the machine among runs.

    On a CPU cores are divided between runs: small models leave little to share within a step, and a
    training of Dark Room's keeps two cores two thirds busy. A GPU is one run's.

    Args:
        device: "cpu" or "cuda".
        runs: how many there are to do.
        jobs: how many at once, if somebody said so.
        cores: usable ones; none: ask the system.
        free_bytes: of memory; none: ask the system.
        told: environment variables; none: this process's. `OMP_NUM_THREADS` is kept to.
    """
    cores = usable_cores() if cores is None else cores
    free = free_memory_bytes() if free_bytes is None else free_bytes
    told = os.environ if told is None else told
    asked = told.get("OMP_NUM_THREADS", "")
    threads = int(asked) if asked.isdecimal() and int(asked) > 0 else None
    if jobs is None:
        room = cores if free is None else min(cores, free // RUN_BYTES)
        jobs = 1 if device != "cpu" else max(1, min(room // (threads or 1), runs))
    return Share(jobs, threads or max(1, cores // jobs))
