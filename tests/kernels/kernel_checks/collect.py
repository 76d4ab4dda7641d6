"""Test files that need a process of their own stand aside, with a reason, in any other.

They may import Triton at the top, so they must not even be imported where it is missing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import pytest


def interpreted() -> bool:
    """Whether this process runs Triton kernels through its interpreter."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def has_triton() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


class Aside(pytest.Module):
    """A test file that is not imported: one test that says why."""

    def __init__(self, *, needs: str, reason: str, **given: object) -> None:
        super().__init__(**given)  # type: ignore[arg-type]
        self.needs, self.reason = needs, reason

    def collect(self) -> Iterable[pytest.Item]:
        """One test in place of the file's."""
        item = Reason.from_parent(self, name="all")
        # The marker skips, or fails where ADBENCH_REQUIRE names it: see tests/conftest.py.
        item.add_marker(pytest.mark.requires(self.needs))
        return [item]


class Reason(pytest.Item):
    """Skips, saying why."""

    def runtest(self) -> None:
        """Reached where the machine has what is needed, but the process is another one."""
        assert isinstance(self.parent, Aside)
        pytest.skip(self.parent.reason)


def stand_aside(
    module_path: Path, parent: pytest.Collector, *, needs: str, reason: str
) -> pytest.Module:
    """What `pytest_pycollect_makemodule` returns for a file that is not to be imported here."""
    module = Aside.from_parent(parent, path=module_path, needs=needs, reason=reason)
    assert isinstance(module, pytest.Module)
    return module
