"""`adbench run ENV`: collect, train, evaluate and report, from start to figure."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.commands import begin


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench run`; returns the exit code."""
    return begin.main(
        "run",
        "Collect learning histories, train transformers on them, evaluate them frozen on tasks\n"
        "they have never seen, and report. An interrupted run goes on where it was.",
        arguments,
        stages=("collect", "train", "evaluate", "report"),
    )
