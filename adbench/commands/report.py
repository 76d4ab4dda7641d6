"""`adbench report DIR`: draw a run's results and report from what is there."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.commands import proceed


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench report`; returns the exit code."""
    return proceed.main(
        "report",
        "Write results.json and report.html of a run from the evaluations that are there. Rows\n"
        "that were not run are left out.",
        arguments,
        stages=("report",),
    )
