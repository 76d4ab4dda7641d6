"""Doing what may fail in any way, and keeping the reason instead of the traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from adbench.errors import AdbenchError

_Found = TypeVar("_Found")

_LONGEST = 400
"""Characters of a reason; loaders of shared libraries write whole pages."""


def tried(what: Callable[[], _Found]) -> _Found | dict[str, Any]:
    """What comes back from a call; `{"error": why}` where it fails, in whatever way.

    What it prints goes to stderr: stdout is for the record.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return what()
    except (Exception, SystemExit) as error:  # a broken installation breaks in every way there is
        return {"error": reason(error)}


def reason(error: BaseException) -> str:
    """Why something failed, in one line; of errors of ours the message alone says it."""
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
    if isinstance(error, AdbenchError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
