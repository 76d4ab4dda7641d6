"""What every launch of a Triton kernel has in common: its device, and options said by name."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

LAUNCH_OPTIONS = {"enable_fp_fusion": True}
"""Asked for by name, since its default changes with Triton's version: it makes multiply-adds."""


def launching_on(device: torch.device) -> AbstractContextManager[object]:
    """Inside, Triton launches on this device; by itself it takes the current one.

    Args:
        device: where the tensors are.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
