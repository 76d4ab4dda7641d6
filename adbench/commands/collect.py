"""`adbench collect ENV`: make a run's learning histories and stop there."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.commands import begin


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench collect`; returns the exit code."""
    return begin.main(
        "collect",
        "Make the learning histories of a run. Shards that are there and whole are kept; damaged\n"
        "ones are made again. `adbench train DIR` goes on.",
        arguments,
        stages=("collect",),
    )
