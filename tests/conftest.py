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


def _gl() -> str:
    from adbench_envs.worlds.opengl.libraries import missing

    return " ".join(missing())


def _gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "there is no CUDA device"


def _triton() -> str:
    if importlib.util.find_spec("triton") is not None:
        return ""
    return "Triton is not installed: pip install 'algorithm-distillation-bench[triton]'"


CAPABILITIES: dict[str, Callable[[], str]] = {"gl": _gl, "gpu": _gpu, "triton": _triton}
"""Each says what is missing here and which package has it; nothing: it is there."""


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
    missing = CAPABILITIES[name]()
    if not missing:
        return
    if name in _demanded():
        pytest.fail(f"ADBENCH_REQUIRE demands {name!r}, but {missing}", pytrace=False)
    pytest.skip(missing)


def _demanded() -> set[str]:
    return {name.strip() for name in os.environ.get("ADBENCH_REQUIRE", "").split(",")} - {""}


@pytest.fixture(name="requires")
def _requires() -> Callable[[str], None]:
    return requires
