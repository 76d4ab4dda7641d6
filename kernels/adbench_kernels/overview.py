"""What there is on this machine, what is missing, and what "auto" takes: for people and reports."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import NamedTuple

import torch

from adbench_kernels import choice, configs

_SDPA = ("sdpa-math", "sdpa-efficient", "sdpa-flash", "sdpa-cudnn")
PROVIDED: Mapping[str, tuple[str, ...]] = {
    "attention": ("reference", "blocked", "triton", *_SDPA),
    "attention_backward": ("reference", "blocked", "triton"),
    "rotary_attention": ("reference", "numba", "triton", "blocked", *_SDPA),
    "ring_attention": ("reference", "numba", "triton"),
    "patch_embed": ("reference", "triton"),
}
"""Every operation with an `implementation=`, and the names that it knows besides "auto"."""

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
        here = available(op, device)
        if op.startswith(("attention", "rotary")):
            here = ("sdpa", *here) if op == "attention" else here
        for mask in _masks(op):
            for head_dim in (0,) if op == "patch_embed" else configs.HEAD_DIMS:
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


def _masks(op: str) -> tuple[str, ...]:
    if op in ("attention", "attention_backward"):
        return choice.MASKS
    return ("causal", "window") if op == "rotary_attention" else ("",)


def _lack(name: str, device: torch.device) -> str:
    if name == "triton":
        if not choice.installed("triton"):
            return "pip install 'algorithm-distillation-bench[triton]' (Linux)"
        if device.type == "cpu" and choice.arch(device) != "interpreter":
            return "needs a GPU (or TRITON_INTERPRET=1, for tests)"
    if name == "numba" and not choice.installed("numba"):
        return "pip install numba"
    if name in choice.CUDA_ONLY and device.type != "cuda":
        return "needs a CUDA device"
    if name in _ON_CPU_ONLY and device.type != "cpu":
        return "runs on the CPU only"
    return ""
