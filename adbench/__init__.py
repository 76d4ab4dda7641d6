"""adbench: Algorithm Distillation from source learners to in-context evaluation, measured.

`import adbench` is free: the public names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbench.config import RunConfig
    from adbench.errors import AdbenchError
    from adbench.gym_adapter import gym_family
    from adbench.task import BatchedEnv, TaskFamily, split_indices

__version__ = "0.1.0"

_HOME = {
    "AdbenchError": "adbench.errors",
    "BatchedEnv": "adbench.task",
    "RunConfig": "adbench.config",
    "TaskFamily": "adbench.task",
    "gym_family": "adbench.gym_adapter",
    "split_indices": "adbench.task",
}

__all__ = [
    "AdbenchError",
    "BatchedEnv",
    "RunConfig",
    "TaskFamily",
    "__version__",
    "gym_family",
    "split_indices",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'adbench' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
