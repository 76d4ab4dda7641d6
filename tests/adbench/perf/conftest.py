"""Benchmark files for tests: small documents of the kind that benchmarks/conftest.py writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Document = dict[str, Any]


def benchmark(
    name: str,
    median: float,
    *,
    stage: str = "training",
    case: str = "an update",
    by: str = "adbench",
    ours: bool | None = None,
    over: str | None = "context",
    size: int | None = 128,
    unit: str = "tokens",
    amount: float = 1000,
    items: int = 1,
    iqr: float = 0.0,
    rounds: int = 25,
    threads: int = 2,
    **more: Any,
) -> Document:
    """One entry of `benchmarks`; times in seconds, quartiles even about the median."""
    told = {
        "case": case,
        "implementation": by,
        "ours": by == "adbench" if ours is None else ours,
        "device": "cpu",
        "precision": "float32",
        "threads": threads,
        "unit": unit,
        "amount": amount,
        "items": items,
        "flops": None,
        "bytes": None,
        "peak_bytes": None,
        **more,
    }
    if over is not None:
        told |= {"over": over, "size": size}
    return {
        "group": stage,
        "name": name,
        "fullname": f"benchmarks/bench_x.py::{name}",
        "extra_info": told,
        "stats": {
            "min": median - iqr,
            "q1": median - iqr / 2,
            "median": median,
            "q3": median + iqr / 2,
            "max": median + iqr,
            "rounds": rounds,
        },
    }


def document(*benchmarks: Document, untimed: tuple[Document, ...] = (), **machine: Any) -> Document:
    """A whole file."""
    return {
        "datetime": "2026-01-02T03:04:05",
        "machine_info": {},
        "benchmarks": list(benchmarks),
        "adbench": {
            "schema": 1,
            "machine": {
                "processor": "Abacus 9",
                "cores": 2,
                "torch_threads": 2,
                "versions": {"torch": "2.13.0", "triton": None},
                "commit": "abc123",
                "gpus": [],
                "load_average_before": 0.1,
                "load_average_after": 1.5,
                **machine,
            },
            "untimed": list(untimed),
        },
    }


def untimed(name: str, status: str, reason: str, **told: Any) -> Document:
    """One entry of `adbench.untimed`; with `size` it came far enough to say what it is about."""
    about = benchmark(name, 1.0, **told)
    return {
        "fullname": about["fullname"],
        "group": about["group"],
        "status": status,
        "reason": reason,
        "extra_info": about["extra_info"] if told else {},
    }


@pytest.fixture
def bench() -> Callable[..., Document]:
    """`benchmark`."""
    return benchmark


@pytest.fixture
def lost() -> Callable[..., Document]:
    """`untimed`."""
    return untimed


@pytest.fixture
def doc() -> Callable[..., Document]:
    """`document`."""
    return document


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of these benchmarks; `name`, and what else `document` takes."""

    def write(*benchmarks: Document, name: str = "measured.json", **more: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(document(*benchmarks, **more)))
        return path

    return write


@pytest.fixture
def contest() -> tuple[Document, ...]:
    """Ours in linear time and a peer in quadratic time, over context; ours and theirs equal at 128.

    With them the machine's ceilings: 10 GFLOP/s and 1 GB/s on two threads.
    """
    ours = [
        benchmark(f"ours[{size}]", 1e-3 * size / 128, size=size, iqr=1e-5, flops=1e3 * size,
                  bytes=100.0 * size, peak_bytes=2000 * size)
        for size in (128, 256, 512, 1024)
    ]  # fmt: skip
    theirs = [
        benchmark(f"theirs[{size}]", 1e-3 * (size / 128) ** 2, size=size, by="theirs", iqr=1e-5,
                  peak_bytes=20 * size**2)
        for size in (128, 256, 512)
    ]  # fmt: skip
    machine: dict[str, Any] = {"stage": "ceilings", "by": "torch", "unit": "calls", "amount": 1}
    return (
        *ours,
        *theirs,
        benchmark("matmul", 1.0, case="matmul", over="matrix", flops=5e9, **machine),
        benchmark("larger matmul", 1.0, case="matmul", over="matrix", flops=1e10, **machine),
        benchmark("copy", 2.0, case="copy", over="copy", bytes=2e9, **machine),
    )
