"""What all tests share: how a test says that it needs something that a machine may not have.

    @pytest.mark.requires("triton")

skips the test where Triton is missing, with the reason, and fails it there if the environment
variable ADBENCH_REQUIRE names it (`ADBENCH_REQUIRE=gl,triton`): a build that should have it then
cannot lose those tests in silence.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

import pytest

CAPABILITIES: dict[str, tuple[Callable[[], bool], str]] = {
    "gl": (
        lambda: importlib.util.find_spec("miniworld") is not None,
        "MiniWorld is not installed: pip install 'algorithm-distillation-bench[miniworld]'",
    ),
    "gpu": (lambda: _has_gpu(), "there is no CUDA device"),
    "triton": (
        lambda: importlib.util.find_spec("triton") is not None,
        "Triton is not installed: pip install 'algorithm-distillation-bench[triton]'",
    ),
}


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "requires(name): needs a capability; skipped, or failed under ADBENCH_REQUIRE"
    )
    unknown = _demanded() - set(CAPABILITIES)
    if unknown:
        raise pytest.UsageError(
            f"ADBENCH_REQUIRE names {', '.join(sorted(unknown))}; known: {', '.join(CAPABILITIES)}"
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            requires(name)


def requires(name: str) -> None:
    """Skip or fail the running test unless the machine has this capability."""
    present, reason = CAPABILITIES[name]
    if present():
        return
    if name in _demanded():
        pytest.fail(f"ADBENCH_REQUIRE demands {name!r}, but {reason}", pytrace=False)
    pytest.skip(reason)


def _demanded() -> set[str]:
    return {name.strip() for name in os.environ.get("ADBENCH_REQUIRE", "").split(",")} - {""}


@pytest.fixture(name="requires")
def _requires() -> Callable[[str], None]:
    return requires
