"""A first call that has to wait for numba says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numba
import pytest

from adbench_kernels.cpu.announce import announced


def _kernels(path: Path, *, cache: bool) -> tuple[Any, ...]:
    """Two functions, of a file whose folder takes their machine code."""
    module = path / "twice.py"
    module.write_text("def twice(x):\n    return 2 * x\n\ndef halved(x):\n    return x / 2\n")
    names: dict[str, Any] = {}
    exec(compile(module.read_text(), str(module), "exec"), names)
    return tuple(numba.njit(cache=cache)(names[name]) for name in ("twice", "halved"))


def test_compiling_is_announced_once_with_the_reason_and_the_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twice, halved = _kernels(tmp_path, cache=True)
    with announced("the abacus", 7):
        assert (twice(3), halved(6)) == (6, 3)
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "numba compiles the abacus" in line.message and "about 7 s, once" in line.message
    assert str(tmp_path) in line.message


def test_what_is_compiled_already_or_kept_on_disk_is_not_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twice, _ = _kernels(tmp_path, cache=True)
    twice(3)
    again, _ = _kernels(tmp_path, cache=True)  # as another process would
    with announced("the abacus", 7):
        assert twice(4) == again(4) == 8
    assert not caplog.records


def test_where_nothing_can_be_kept_it_is_said_what_to_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    twice, _ = _kernels(tmp_path, cache=False)
    with announced("the abacus", 7):
        twice(3)
    assert "in every process" in caplog.text and "NUMBA_CACHE_DIR" in caplog.text
