"""Tests of the Triton kernels through Triton's interpreter, on the CPU.

They run only with TRITON_INTERPRET=1, which must be set before a kernel is defined, hence in a
process of their own: `make test-kernels`. Fresh memory is full of NaN in all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_checks import collect, interpreter_bfloat16, memory

HERE = collect.has_triton() and collect.interpreted()

if HERE:
    interpreter_bfloat16.install()


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    if HERE:
        return None
    return collect.stand_aside(
        module_path,
        parent,
        needs="triton",
        reason="runs through Triton's interpreter in a process of its own: make test-kernels",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one in ADBENCH_KERNEL_SHARE of each test's cases, the first among them."""
    share = int(os.environ.get("ADBENCH_KERNEL_SHARE", "1"))
    seen: Counter[str] = Counter()
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        here = Path(__file__).parent in item.path.parents
        test = item.nodeid.partition("[")[0]
        (kept if not here or seen[test] % share == 0 else left_out).append(item)
        seen[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    with memory.poisoned():
        yield
