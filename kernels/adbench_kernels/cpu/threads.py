"""Sharing a compiled kernel's independent units among threads.

As many threads as torch uses (`torch.set_num_threads`). The kernels let go of Python's lock; which
thread does a unit has no influence on its outcome.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def share(work: Callable[[int, int], None], units: int) -> None:
    """Call `work(first, end)` on parts of 0 .. units - 1, at once, and wait for all of them."""
    parts = max(1, min(torch.get_num_threads(), units))
    ends = [units * k // parts for k in range(parts + 1)]
    others = [_pool(parts - 1).submit(work, ends[k], ends[k + 1]) for k in range(1, parts)]
    work(ends[0], ends[1])
    for other in others:
        other.result()


def _pool(threads: int) -> ThreadPoolExecutor:
    key = (os.getpid(), threads)  # threads do not survive a fork
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="adbench-kernel")
    return _pools[key]
