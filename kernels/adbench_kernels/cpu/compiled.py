"""Compiling kernels at their first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

WRITTEN_IN = ("emit.py", "gelu.py", "lanes.py", "tiles.py", "turning.py")


def compiled(function: Callable[..., None]) -> Any:
    """Compile at first use; keep the machine code on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba's "no locator available": nothing here can be written
        return numba.njit(nogil=True)(function)


def source_of_vectors(*others: str) -> str:
    """The text of what kernels are written in, for them to close over.

    Numba's cache knows when a kernel's own file changes, not when these do; what a function closes
    over is part of its key.

    Args:
        others: further files whose functions the kernel calls.
    """
    here = Path(__file__).parent
    return "".join(
        path.read_text() for path in (*(here / n for n in WRITTEN_IN), *map(Path, others))
    )
