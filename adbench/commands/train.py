"""`adbench train DIR`: train a run's transformers on its histories."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.commands import proceed


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench train`; returns the exit code."""
    return proceed.main(
        "train",
        "Train the transformers of a run on its histories, from their last checkpoints if there\n"
        "are any. `adbench evaluate DIR` goes on.",
        arguments,
        stages=("train",),
    )
