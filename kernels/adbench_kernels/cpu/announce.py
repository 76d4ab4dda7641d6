"""Saying why a first call takes seconds: numba compiles, and keeps the machine code on disk."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event

_LOG = logging.getLogger("adbench_kernels")


@contextmanager
def announced(what: str, seconds: int) -> Iterator[None]:
    """Say it, once, if something has to be compiled within.

    Said through the logging module, as a warning: on stderr, unless the application says otherwise.

    Args:
        what: is compiled, in words ("the ray caster").
        seconds: that it takes, about.
    """
    with event.install_listener("numba:compile", _Announcer(what, seconds)):
        yield


class _Announcer(event.Listener):
    def __init__(self, what: str, seconds: int) -> None:
        self._said = False
        self._what, self._seconds = what, seconds

    def on_start(self, event: Any) -> None:
        """The first of several functions speaks for them all."""
        if self._said:
            return
        self._said = True
        place = event.data["dispatcher"].stats.cache_path
        kept = (
            f"once; the machine code is kept in {place}"
            if place
            else "in every process: nothing can be kept (set NUMBA_CACHE_DIR to a folder)"
        )
        _LOG.warning(
            "numba compiles %s for this processor, about %d s, %s", self._what, self._seconds, kept
        )

    def on_end(self, event: Any) -> None:
        """Nothing is said."""
