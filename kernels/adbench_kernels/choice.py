"""Which implementation runs: chosen by name, never swapped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Literal, get_args

import torch

from adbench_kernels.errors import ImplementationUnavailableError

Implementation = Literal[
    "auto",
    "reference",
    "blocked",
    "sdpa-math",
    "sdpa-efficient",
    "sdpa-flash",
    "sdpa-cudnn",
    "flex",
    "triton",
    "numba",
]
"""auto: the fastest that was measured for the device and the request. The others run or raise."""

IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)

CUDA_ONLY = frozenset({"sdpa-efficient", "sdpa-cudnn"})
OPTIONAL = frozenset({"triton", "numba"})
"""Implementations whose name is also that of the package they need."""


def _can_be_imported(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was imported, but has no spec
        return False


# Looked up once, here: torch.compile can neither search for packages nor see through a cache.
_INSTALLED = frozenset(name for name in OPTIONAL if _can_be_imported(name))


def installed(package: str) -> bool:
    """Whether one of `OPTIONAL` can be imported."""
    return package in _INSTALLED


def require(name: str, *, op: str, provided: Mapping[str, object], device: torch.device) -> None:
    """Check that `op` has the implementation `name` on `device`.

    Args:
        name: one of `IMPLEMENTATIONS` but "auto".
        op: public name of the operation.
        provided: the operation's implementations, by name.
        device: where its inputs are.

    Raises:
        ValueError: no implementation has that name.
        ImplementationUnavailableError: the name is known, but `op` has no such path on `device`.
    """
    if name not in IMPLEMENTATIONS:
        raise ValueError(
            f"implementation: no implementation named {name!r}; known: {', '.join(IMPLEMENTATIONS)}"
        )
    here = [n for n in provided if device.type == "cuda" or n not in CUDA_ONLY]
    if name not in here:
        needs = " without a CUDA device" if name in provided else ""
        raise ImplementationUnavailableError(
            f"{op} has no {name!r} implementation{needs} (inputs are on {device}). "
            f"Available here: {', '.join(['auto', *here])}."
        )
    if name in OPTIONAL and not installed(name):
        raise ImplementationUnavailableError(
            f"{op} with {name!r} needs a package that is not installed: pip install {name}"
        )
