"""What every benchmark records: the machine, its versions and its load, and numbers with units.

    make bench                                      # all, into benchmarks/results/latest.json
    .venv/bin/pytest benchmarks/bench_envs.py       # one

A benchmark proves that what it times is right before it times it, warms up, and says in
`extra_info` how many of what were done a second: `tell(steps, "env_steps")`. Whatever runs on a
GPU asks for `synchronised`, or it times the launch alone.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

PACKAGES = ("torch", "triton", "numpy", "numba", "gymnasium", "h5py", "hdf5plugin")
QUIET_LOAD = 0.5
"""Load a core above which times say more about the neighbours."""


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Add what a time on this machine depends on, and its load when the session began."""
    load = os.getloadavg()[0]
    machine_info["adbench"] = {
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load_average_1_minute": round(load, 2),
    }
    if load > QUIET_LOAD * (os.cpu_count() or 1):
        config.issue_config_time_warning(
            UserWarning(f"load average {load:.1f}: the machine is not idle, times will be high"), 2
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _synchronised_clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@pytest.fixture
def synchronised(benchmark: BenchmarkFixture) -> BenchmarkFixture:
    """`benchmark` with a clock that first waits for the GPU."""
    benchmark._timer = _synchronised_clock
    return benchmark


@pytest.fixture
def tell(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """`tell(count, unit, **facts)` after the run: `unit_per_s` of the median round, and facts."""

    def write(count: float, unit: str, **facts: object) -> None:
        assert benchmark.stats is not None, "tell after the benchmark has run"
        rate = count / benchmark.stats.stats.median
        benchmark.extra_info.update(
            {f"{unit}_per_s": round(rate), "threads": torch.get_num_threads(), **facts}
        )

    return write
