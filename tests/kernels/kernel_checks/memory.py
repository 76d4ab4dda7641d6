"""Memory that shows what a kernel must not do: read past its inputs, or leave an output unwritten.

Triton's interpreter, like a GPU, says nothing when a kernel reads beside a tensor or forgets a row
of an output that happened to hold zeros. So inputs lie inside buffers full of NaN, and fresh memory
is full of NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

GUARD_BYTES = 64
"""Around the last dimension: keeps the alignment that 16-byte loads ask for."""


def filler(dtype: torch.dtype) -> float | int:
    """A value of that dtype that no result survives: NaN, or the largest integer."""
    if dtype == torch.bool:
        return 1
    return float("nan") if dtype.is_floating_point else torch.iinfo(dtype).max


def guarded(x: Tensor) -> Tensor:
    """The same values as a view inside a larger buffer whose rest is NaN (integers: the largest).

    Args:
        x: any tensor; its values are copied, its order of dimensions in memory is kept.

    Returns:
        same shape, dtype and `requires_grad`; the last dimension has stride 1, no other one is
        contiguous.
    """
    if x.ndim == 0:
        return x
    last = max(1, GUARD_BYTES // x.element_size())
    margins = [1] * (x.ndim - 1) + [last]
    buffer = torch.full(
        [size + 2 * margin for size, margin in zip(x.shape, margins, strict=True)],
        filler(x.dtype),
        dtype=x.dtype,
        device=x.device,
    )
    inner = buffer
    for dim, (size, margin) in enumerate(zip(x.shape, margins, strict=True)):
        inner = inner.narrow(dim, margin, size)
    inner.copy_(x.detach())
    return inner.requires_grad_(x.requires_grad)


@contextmanager
def poisoned() -> Iterator[None]:
    """Inside, every fresh tensor (`torch.empty`, `new_empty`, `empty_like`) is full of NaN."""
    settings = torch.utils.deterministic
    fill, deterministic = (
        settings.fill_uninitialized_memory,  # type: ignore[attr-defined]
        torch.are_deterministic_algorithms_enabled(),
    )
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    settings.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        settings.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
