"""Test files that need a process of their own stand aside, with a reason, in any other.

They may import Triton at the top, so they must not even be imported where it is missing.
"""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
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


def where_interpreted(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """What `pytest_pycollect_makemodule` returns for files that run kernels in the interpreter.

    TRITON_INTERPRET=1 must be set before a kernel is defined: in a process of their own.
    """
    if has_triton() and interpreted():
        return None
    return stand_aside(
        module_path,
        parent,
        needs="triton",
        reason="runs through Triton's interpreter in a process of its own: make test-kernels",
    )


def keep_share(config: pytest.Config, items: list[pytest.Item], folder: Path) -> None:
    """Keep one in ADBENCH_KERNEL_SHARE of the cases of each test in `folder`, the first included.

    What `pytest_collection_modifyitems` does.
    """
    share = int(os.environ.get("ADBENCH_KERNEL_SHARE", "1"))
    seen: Counter[str] = Counter()
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        here = folder in item.path.parents
        test = item.nodeid.partition("[")[0]
        (kept if not here or seen[test] % share == 0 else left_out).append(item)
        seen[test] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
