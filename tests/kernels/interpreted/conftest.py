"""Tests of the Triton kernels through Triton's interpreter, on the CPU: `make test-kernels`.

Fresh memory is full of NaN in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_checks import collect, interpreter_bfloat16, memory

if collect.has_triton() and collect.interpreted():
    interpreter_bfloat16.install()

pytest_pycollect_makemodule = collect.where_interpreted


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a share of the cases."""
    collect.keep_share(config, items, Path(__file__).parent)


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    with memory.poisoned():
        yield
