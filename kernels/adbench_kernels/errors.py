"""What goes wrong besides a bad argument (which is a ValueError that names the argument)."""

from __future__ import annotations


class ImplementationUnavailableError(RuntimeError):
    """The implementation that was asked for cannot run here; nothing else was run in its place."""
