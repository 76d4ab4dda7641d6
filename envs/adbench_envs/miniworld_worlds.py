"""The first-person worlds as MiniWorld environments, for gymnasium.

    gymnasium.make("adbench_envs:adbench/WatermazeMiniWorld-v0", render_mode="rgb_array")

This module loads nothing. Its names are those of `worlds.opengl.environments`, which is imported,
and MiniWorld with it, when one of them is asked for.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """A class of `worlds.opengl.environments`.

    Raises:
        UsageError: something that MiniWorld needs is missing; names it.
        AttributeError: there is no such class.
    """
    if not name.endswith("MiniWorld"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from adbench_envs.worlds.opengl.libraries import load

    load()
    from adbench_envs.worlds.opengl import environments

    return getattr(environments, name)
