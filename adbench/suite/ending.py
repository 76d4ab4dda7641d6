"""How a command's work on many runs ends: time was up, some failed, or all is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.cli import command_line
from adbench.errors import Stopped
from adbench.progress import Reporter, duration


def conclude(
    reporter: Reporter, out: Path, seconds: float, typed: Sequence[str], *, stopped: bool, code: int
) -> int:
    """Say how it ended and which command goes on.

    Args:
        reporter: where to.
        out: the folder of the runs.
        seconds: since the command began.
        typed: the words after `adbench` that go on with it.
        stopped: time was up before the work was.
        code: 1 if a run failed, else 0.

    Returns:
        `code`.

    Raises:
        Stopped: time was up.
    """
    if stopped:
        raise Stopped(
            f"Time is up after {duration(seconds)}. What was finished is kept in {out}.\n"
            f"Go on with:  {command_line(*typed)}"
        )
    if code:
        reporter.say(f"Some runs failed. To try them again:  {command_line(*typed)}")
    else:
        reporter.say(f"Done in {duration(seconds)}.")
    return code
