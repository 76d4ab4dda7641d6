"""What MiniWorld needs and a machine may lack, and the settings under which it may be loaded.

Nothing here loads OpenGL before `load` is called.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys

from adbench.errors import UsageError

EXTRA = "pip install 'algorithm-distillation-bench[miniworld]'"

LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libGLU.so.1": "libglu1-mesa",
    "libEGL.so.1": "libegl1",
    "libfreetype.so.6": "libfreetype6",
}
"""What pyglet opens on Linux, and the package of Debian and Ubuntu that has it."""

SETTINGS = {
    # Through EGL, which needs no display.
    "PYGLET_HEADLESS": "True",
    # No threads in Mesa's software renderer: small frames are quicker without, and processes that
    # are forked after it started do not hang.
    "LP_NUM_THREADS": "0",
    # True, which MiniWorld's guide names as the quick setting, is the slow one.
    "PYGLET_DEBUG_GL": "False",
}
"""Environment variables that are set unless they are already."""


def missing() -> list[str]:
    """What has to be installed before MiniWorld can draw here, one sentence each; none: nothing."""
    needs = []
    if importlib.util.find_spec("miniworld") is None:
        needs.append(f"The Python package miniworld is not installed: {EXTRA}.")
    if sys.platform == "linux":
        absent = {name: package for name, package in LIBRARIES.items() if not _opens(name)}
        if absent:
            needs.append(
                f"{', '.join(absent)} cannot be opened: apt-get install --no-install-recommends "
                f"{' '.join(absent.values())}."
            )
    return needs


def require() -> None:
    """Refuse to go on without what MiniWorld needs.

    Raises:
        UsageError: names what is missing and the packages that have it.
    """
    needs = missing()
    if needs:
        raise UsageError(
            f"the miniworld renderer cannot run here. {' '.join(needs)} "
            "Or draw with renderer='raycast', which needs none of it."
        )


def settings() -> dict[str, str]:
    """`SETTINGS`, but for those that the user has set."""
    headless = sys.platform == "linux"
    return {
        name: os.environ.get(name, value)
        for name, value in SETTINGS.items()
        if headless or name != "PYGLET_HEADLESS"
    }


def load() -> None:
    """Import MiniWorld into this process, which opens an OpenGL context.

    Raises:
        UsageError: see `require`; or OpenGL gives no context.
    """
    require()
    os.environ.update(settings())
    try:
        importlib.import_module("miniworld.miniworld")
    except Exception as error:
        pyglet = importlib.import_module("pyglet")
        how = "headless through EGL" if pyglet.options["headless"] else "on a display"
        raise UsageError(
            f"no OpenGL context could be had {how}: {type(error).__name__}: {error}. "
            f"apt-get install --no-install-recommends {' '.join(LIBRARIES.values())} brings all "
            "that Mesa's software renderer needs. PYGLET_HEADLESS=True, set before pyglet is "
            "imported, asks for EGL, False for a display. Or draw with renderer='raycast'."
        ) from error


def _opens(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
