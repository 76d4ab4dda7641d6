"""The device that kernels are launched on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def launching_on(device: torch.device) -> AbstractContextManager[object]:
    """Inside, Triton launches on this device; by itself it takes the current one.

    Args:
        device: where the tensors are.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
