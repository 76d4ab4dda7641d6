"""How fast this machine multiplies matrices and copies memory, in about two seconds.

A rough reading for a bug report: what the machine gives just now, whatever else runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_CPU_SIZE, _GPU_SIZE = 1024, 8192
"""Rows and columns of the matrices: large enough to keep all units busy, over in milliseconds."""
_COPY_BYTES = 2**27
"""Far above what a processor's caches hold; half of it read and half of it written would not be."""
_FEWEST = 3


def measure(device: str, *, seconds: float = 0.8) -> dict[str, Any]:
    """The best of some repetitions of each, on one device.

    Args:
        device: "cpu" or "cuda".
        seconds: time for each of the two.

    Returns:
        `device`, `threads`, `matmul` (`dtype`, `size`, `flops_per_s`) and `copy` (`bytes`,
        `bytes_per_s`, reading and writing both counted).
    """
    import torch

    threads = torch.get_num_threads()
    on_gpu = torch.device(device).type == "cuda"
    dtype, size = (torch.bfloat16, _GPU_SIZE) if on_gpu else (torch.float32, _CPU_SIZE)
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.rand(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize(device)

    multiplied = _best(lambda: torch.matmul(a, b, out=product), wait, seconds)
    copied = _best(lambda: target.copy_(source), wait, seconds)
    return {
        "device": device,
        "threads": threads,
        "matmul": {
            "dtype": str(dtype).removeprefix("torch."),
            "size": size,
            "flops_per_s": 2.0 * size**3 / multiplied,
        },
        "copy": {"bytes": _COPY_BYTES, "bytes_per_s": 2.0 * _COPY_BYTES / copied},
    }


def _best(work: Callable[[], object], wait: Callable[[], None], seconds: float) -> float:
    """Seconds of the quickest repetition; the first one only warms up."""
    work()
    wait()
    best, repetitions, end = float("inf"), 0, time.perf_counter() + seconds
    while repetitions < _FEWEST or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        wait()
        best = min(best, time.perf_counter() - began)
        repetitions += 1
    return best
