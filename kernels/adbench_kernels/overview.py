"""What there is on this machine, what is missing, and what "auto" takes: for people and reports."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import NamedTuple

import torch

from adbench_kernels import choice, configs
from adbench_kernels.interval_attention import _BACKWARD as _ATTENTION_BACKWARD
from adbench_kernels.interval_attention import _FORWARD as _ATTENTION
from adbench_kernels.interval_attention.requests import NARROW
from adbench_kernels.interval_attention.sdpa import BACKENDS
from adbench_kernels.patch_embedding import _PROVIDED as _PATCH
from adbench_kernels.ray_casting import _PROVIDED as _RAYCAST
from adbench_kernels.ring_cache.serve import _APPEND as _RING_APPEND
from adbench_kernels.ring_cache.serve import _ATTENTION as _RING_ATTENTION
from adbench_kernels.rotary_attention import _PROVIDED as _ROTARY
from adbench_kernels.rotary_attention import COMPOSED
from adbench_kernels.transformer_step import _PROVIDED as _STEP

PROVIDED: Mapping[str, tuple[str, ...]] = {
    "attention": tuple(_ATTENTION),
    "attention_backward": tuple(_ATTENTION_BACKWARD),
    "rotary_attention": tuple(_ROTARY),
    "ring_append": tuple(_RING_APPEND),
    "ring_attention": tuple(_RING_ATTENTION),
    "TransformerStep": tuple(_STEP),
    "patch_embed": tuple(_PATCH),
    "raycast": tuple(_RAYCAST),
}
"""Every operation with an `implementation=`, and the names that it knows besides "auto"."""

HEADLESS = frozenset({"patch_embed", "raycast"})
"""Operations without heads: their rows have a width of 0."""

_ON_CPU_ONLY = frozenset({"numba"})
_LENGTH_OF_BUCKET = {"<=128": 128, "<=512": 512, "<=2k": 2048, ">2k": 16384}


class Row(NamedTuple):
    """One choice of "auto".

    Attributes:
        op: the operation.
        arch: the architecture behind the device.
        head_dim: D; 0 for an operation without heads.
        length: a bucket of lengths.
        mask: the kind of mask; "" for an operation without one.
        implementation: what is taken.
        reason: why.
    """

    op: str
    arch: str
    head_dim: int
    length: str
    mask: str
    implementation: str
    reason: str


def versions() -> dict[str, str | None]:
    """Versions that decide what runs and how fast; none for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("torch", "triton", "numba", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def missing(op: str, device: torch.device) -> dict[str, str]:
    """Implementations of an operation that cannot run on a device, each with what it lacks."""
    found = {}
    for name in PROVIDED[op]:
        lack = _lack(name, device)
        if lack:
            found[name] = lack
    return found


def available(op: str, device: torch.device) -> tuple[str, ...]:
    """Implementations of an operation that run on a device."""
    lacking = missing(op, device)
    return tuple(name for name in PROVIDED[op] if name not in lacking)


def choices(device: torch.device) -> Iterator[Row]:
    """What "auto" takes, for every width, length and mask that the tables tell apart.

    Args:
        device: where the inputs would be; inputs are taken to be what a GPU is best at (16-bit)
            and, on a CPU, float32.
    """
    where = choice.arch(device)
    for op in PROVIDED:
        for mask in _masks(op):
            here = _for_auto(op, mask, available(op, device))
            for head_dim in (0,) if op in HEADLESS else configs.HEAD_DIMS:
                for bucket, length in _LENGTH_OF_BUCKET.items():
                    name, reason = choice.fastest(
                        op,
                        device=device,
                        head_dim=head_dim,
                        length=length,
                        mask=mask or "causal",
                        available=here,
                    )
                    yield Row(op, where, head_dim, bucket, mask, name, reason)


def notes(device: torch.device) -> list[str]:
    """What a reader should know about this device: unknown to the tables, not measured."""
    if device.type == "cpu":
        return []
    where, found = choice.arch(device), []
    if not configs.has_rows(where):
        found.append(
            f"{where} has no tiles of its own: kernels run with safe ones. `make tune` finds "
            "better ones on this machine."
        )
    if not choice.measured(where):
        found.append(
            f"Nothing was measured on {where}: rules decide. `make bench-gpu` measures, "
            "`make tune` writes what it found into the table."
        )
    return found


def _for_auto(op: str, mask: str, here: tuple[str, ...]) -> tuple[str, ...]:
    """What "auto" chooses from."""
    if op == "attention":
        # Named back ends serve plain causal attention; otherwise torch chooses, with the mask.
        return ("sdpa", *(name for name in here if mask == "causal" or name not in BACKENDS))
    if op == "rotary_attention":
        fused = ("triton",) if mask == "strided" else ("numba", "triton")
        named = ("sdpa-efficient", *NARROW) if mask == "causal" else ()
        # On a CPU torch's own choice among its back ends is as good as any.
        named = named if "sdpa-cudnn" in here else ()
        return (*(name for name in here if name in (*fused, *named)), COMPOSED)
    return here


def _masks(op: str) -> tuple[str, ...]:
    if op in ("attention", "attention_backward"):
        return choice.MASKS
    if op == "rotary_attention":
        return ("causal", "window", "strided")
    return ("window",) if op in ("ring_append", "ring_attention", "TransformerStep") else ("",)


def _lack(name: str, device: torch.device) -> str:
    if name == "triton" and not choice.installed("triton"):
        return "pip install 'algorithm-distillation-bench[triton]' (Linux)"
    if name == "triton" and not choice.runs_triton(device):
        return "needs a GPU (or TRITON_INTERPRET=1, for tests)"
    if name == "numba" and not choice.installed("numba"):
        return "pip install numba"
    if name in choice.CUDA_ONLY and device.type != "cuda":
        return "needs a CUDA device"
    if name in _ON_CPU_ONLY and device.type != "cpu":
        return "runs on the CPU only"
    return ""
