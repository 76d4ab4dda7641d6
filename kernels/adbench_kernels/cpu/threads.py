"""Sharing a compiled kernel's independent units among threads.

As many threads as torch uses (`torch.set_num_threads`), and, where torch runs on GNU OpenMP, the
very same ones. Threads of another pool would have to share the cores with torch's, which go on
spinning for milliseconds after each operation in case there is more to do. The kernels let go of
Python's lock; which thread does a unit has no influence on its outcome.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import torch

Work = Callable[[int, int], None]

_TEAM_MEMBER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def share(work: Work, units: int) -> None:
    """Call `work(first, end)` on parts of 0 .. units - 1, at once, and wait for all of them.

    Raises:
        Exception: whatever `work` raised first.
    """
    parts = max(1, min(torch.get_num_threads(), units))
    ends = [units * k // parts for k in range(parts + 1)]
    calls = [partial(work, ends[k], ends[k + 1]) for k in range(parts)]
    if parts == 1:
        calls[0]()
    elif gnu_openmp() is not None:
        in_torch_s_threads(calls)
    else:
        in_a_pool(calls)


def in_torch_s_threads(calls: Sequence[Callable[[], None]]) -> None:
    """Make all calls, each in a thread of the team that runs torch's operations."""
    parallel = gnu_openmp()
    assert parallel is not None
    left = list(calls)
    errors: list[BaseException] = []

    def member(_: object) -> None:
        # A team may be smaller than was asked for, so nobody has calls of its own.
        while left:
            try:
                call = left.pop()
            except IndexError:  # another member was quicker
                return
            try:
                call()
            except BaseException as error:  # must not cross the C library
                errors.append(error)

    parallel(_TEAM_MEMBER(member), None, len(calls), 0)
    if errors:
        raise errors[0]


def in_a_pool(calls: Sequence[Callable[[], None]]) -> None:
    """Make all calls, the first in this thread, the others in threads of our own."""
    others = [_pool(len(calls) - 1).submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def gnu_openmp() -> Callable[..., None] | None:
    """`GOMP_parallel(member, data, num_threads, flags)` of the OpenMP that torch has loaded.

    None where there is none (macOS, Windows). ctypes lets go of Python's lock around the call.
    """
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    parallel.argtypes = (_TEAM_MEMBER, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None
    return parallel


def _pool(threads: int) -> ThreadPoolExecutor:
    key = (os.getpid(), threads)  # threads do not survive a fork
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(threads, thread_name_prefix="adbench-kernel")
    return _pools[key]
