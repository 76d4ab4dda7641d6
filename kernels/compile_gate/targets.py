"""The GPUs that kernels are compiled for."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A GPU as the compiler and the gate see it.

    Attributes:
        name: as `adbench_kernels.choice.arch` says it.
        backend: Triton's: "cuda" or "hip".
        arch: what that backend calls it.
        warp: threads of a warp.
        shared_bytes: shared memory that one block may have; none: not checked.
        matrix: the tensor-core instruction that this chip is fast with, a field of
            `binary.Facts`; none: not checked.
    """

    name: str
    backend: str
    arch: int | str
    warp: int
    shared_bytes: int | None
    matrix: str | None


# Shared memory: CUDA C++ Programming Guide, table "Technical Specifications per Compute
# Capability", of 164 and 228 KiB less 1 KiB for the system.
TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", "cuda", 80, 32, 163 * 1024, "mma_sync"),
        Target("sm_90", "cuda", 90, 32, 227 * 1024, "wgmma"),
        Target("sm_100", "cuda", 100, 32, 227 * 1024, "tcgen05"),
        Target("gfx942", "hip", "gfx942", 64, 64 * 1024, None),
    )
}
"""A100, H100 and H200, B200, MI300X."""
