"""Tests of the compiled kernels on a CUDA device; skipped where there is none.

Fresh memory is full of NaN in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kernel_checks import collect, memory

HERE = torch.cuda.is_available() and collect.has_triton() and not collect.interpreted()


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    if HERE:
        return None
    return collect.stand_aside(
        module_path,
        parent,
        needs="gpu",
        reason="needs Triton, and no TRITON_INTERPRET=1",
    )


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    with memory.poisoned():
        yield
