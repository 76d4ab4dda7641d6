"""One command's work in one folder: holds it, carries stages out, and says how it ended."""

from __future__ import annotations

import json
import time

from adbench.cli import command_line
from adbench.errors import Stopped
from adbench.folder import RunFolder
from adbench.progress import Reporter, Stop, duration, never

NEXT = {"collect": "train", "train": "evaluate", "evaluate": "report"}


def carry_out(
    folder: RunFolder,
    stages: tuple[str, ...],
    *,
    command: tuple[str, ...],
    stop_after_minutes: float | None,
    as_json: bool,
) -> int:
    """Carry out stages of a run while holding its folder.

    Args:
        folder: the run.
        stages: which of collect, train, evaluate, report.
        command: the words that were typed after `adbench`; they also go on after an interruption.
        stop_after_minutes: when to stop cleanly; none: never.
        as_json: print the outcome as JSON.

    Returns:
        0, or 3 where time was up before the work was.
    """
    began = time.monotonic()
    with folder.locked():
        folder.settle()
        from adbench import pipeline  # torch, half a second at least: after the cheap refusals

        if stages != ("report",) and pipeline.is_finished(folder):
            _conclude(folder, stages, as_json, f"{folder.path}: this run is finished.")
            return 0
        reporter = Reporter()
        try:
            pipeline.carry_out(
                folder, stages, reporter=reporter, stop=_deadline(began, stop_after_minutes)
            )
        except Stopped as stopped:
            reporter.say(f"{stopped}\nGo on with:  {command_line(*command)}")
            if as_json:
                print(json.dumps({"folder": str(folder.path), "finished": False}))
            return stopped.exit_code
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(
                f"What was finished is kept in {folder.path}; what was half done is done again.\n"
                f"Go on with:  {command_line(*command)}"
            )
            raise
        took = duration(time.monotonic() - began)
        _conclude(folder, stages, as_json, f"{' and '.join(stages[-1:])}: done in {took}.")
    return 0


def _deadline(began: float, stop_after_minutes: float | None) -> Stop:
    if stop_after_minutes is None:
        return never
    end = began + 60 * stop_after_minutes
    return lambda: time.monotonic() >= end


def _conclude(folder: RunFolder, stages: tuple[str, ...], as_json: bool, headline: str) -> None:
    """Print what came out: the table and where the report is, or the command that goes on."""
