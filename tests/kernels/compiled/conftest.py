"""Tests that compile the Triton kernels for GPUs, without one.

They never run with TRITON_INTERPRET=1 (there is no compiler then): `make test-kernels`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_checks import collect


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    if collect.has_triton() and not collect.interpreted():
        return None
    return collect.stand_aside(
        module_path,
        parent,
        needs="triton",
        reason="compiles kernels, which a process with TRITON_INTERPRET=1 cannot",
    )
