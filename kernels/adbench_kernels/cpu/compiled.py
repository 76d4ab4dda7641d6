"""Compiling kernels at their first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from adbench_kernels.cpu import lanes


def compiled(function: Callable[..., None]) -> Any:
    """Compile at first use; keep the machine code on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba's "no locator available": nothing here can be written
        return numba.njit(nogil=True)(function)


def source_of_lanes() -> str:
    """The text of `lanes`, for kernels to close over.

    Numba's cache knows when a kernel's own file changes, not when `lanes` does; what a function
    closes over is part of its key.
    """
    return Path(lanes.__file__).read_text()
