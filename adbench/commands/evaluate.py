"""`adbench evaluate DIR`: roll a run's frozen transformers out on its test tasks."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.commands import proceed


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench evaluate`; returns the exit code."""
    return proceed.main(
        "evaluate",
        "Roll the frozen transformers of a run, and the rows they are compared with, out on the\n"
        "test tasks. `adbench report DIR` goes on.",
        arguments,
        stages=("evaluate",),
    )
