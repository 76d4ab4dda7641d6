"""Planted faults: a kernel with one thing wrong in it, put in the place of the right one.

A test that passes with a broken kernel proves nothing. `planted` changes a kernel's source text, as
a slip of the hand would, defines it anew, and lets every module of ours use it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

OURS = "adbench_kernels"


def planted(
    monkeypatch: pytest.MonkeyPatch, folder: Path, module: ModuleType, right: str, wrong: str
) -> None:
    """Until the test ends, the kernels of `module` have `wrong` wherever they had `right`.

    Args:
        monkeypatch: of the test.
        folder: where the faulty source may be written.
        module: where the kernels are defined.
        right: text of that file, lines and all.
        wrong: what it becomes.
    """
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert right in source, f"{module.__name__} has no {right!r}: say the fault anew"
    path = folder / f"faulty_{Path(module.__file__).name}"
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(module.__name__, path)
    assert spec is not None and spec.loader is not None
    faulty = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(faulty)
    users = [user for name, user in sys.modules.items() if name.partition(".")[0] == OURS]
    for name, kernel in list(vars(module).items()):
        # Those that are defined here, not those that it imports: they kept their identity.
        if not _is_kernel(kernel) or vars(faulty)[name] is kernel:
            continue
        for user in users:
            for alias, value in list(vars(user).items()):
                if value is kernel:
                    monkeypatch.setattr(user, alias, vars(faulty)[name])


def _is_kernel(value: object) -> bool:
    from triton.runtime.jit import KernelInterface

    return isinstance(value, KernelInterface)
