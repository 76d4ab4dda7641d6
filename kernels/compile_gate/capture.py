"""Compile where a launcher would launch: a stand-in for the driver, and for `kernel[grid]`.

Triton looks a GPU up before it compiles, and hands what it compiled to that GPU. Inside `capture`
it meets a driver that only knows which GPU to compile for, and a launch ends after compilation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from compile_gate.targets import Target

# Line numbers change with every comment; they are no part of what a kernel costs.
os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime.jit import JITFunction


class Compiled(NamedTuple):
    """One launch that was compiled in place of running.

    Attributes:
        name: of the kernel.
        binary: Triton's compiled kernel, with `asm` and `metadata`.
    """

    name: str
    binary: Any


class _Driver(DriverBase):  # type: ignore[misc]
    """Enough of a driver to compile: it knows the target, and has no device."""

    def __init__(self, target: Target) -> None:
        self.target = GPUTarget(target.backend, target.arch, target.warp)

    @classmethod
    def is_active(cls) -> bool:
        return False

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")

    def get_benchmarker(self) -> Callable[..., Any]:
        raise RuntimeError("compile_gate: there is no device to time anything on")


@contextmanager
def capture(target: Target) -> Iterator[list[Compiled]]:
    """Inside, `kernel[grid](...)` compiles for `target` and is noted in the list, not launched.

    Raises:
        RuntimeError: kernels are interpreted in this process, or the launcher asked for a timing.
    """
    if os.environ.get("TRITON_INTERPRET", "0") == "1":
        raise RuntimeError("compile_gate: TRITON_INTERPRET=1 is set, so nothing is compiled")
    compiled: list[Compiled] = []

    def getitem(self: Any, grid: Any) -> Callable[..., None]:
        def launch(*args: Any, **options: Any) -> None:
            # Kept by device number, and all targets are device 0 here.
            self.device_caches.clear()
            name = self.fn.__name__
            compiled.append(Compiled(name, self.run(*args, grid=grid, warmup=True, **options)))

        return launch

    config = triton.runtime.driver
    driver, own = config._active, JITFunction.__dict__.get("__getitem__")
    config.set_active(_Driver(target))
    JITFunction.__getitem__ = getitem
    try:
        yield compiled
    finally:
        config._active = driver
        if own is None:
            del JITFunction.__getitem__
        else:
            JITFunction.__getitem__ = own
