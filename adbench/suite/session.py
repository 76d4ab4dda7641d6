"""One command's work on a suite: holds its folder, runs what is missing, says how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adbench.folder import held, write_text
from adbench.progress import Reporter
from adbench.suite import definition, machine, reporting, state
from adbench.suite.cells import Cell, plan
from adbench.suite.ending import conclude
from adbench.suite.estimate import expected_seconds, longest_first
from adbench.suite.overview import default_folder
from adbench.suite.runner import Command, Progress, run_cells, run_command
from adbench.suite.state import State
from adbench.suite.watch import Lines


def run(
    name: str,
    out: Path | None,
    *,
    device: str = "auto",
    jobs: int | None = None,
    adopt: Sequence[Path] = (),
    stop_after_minutes: float | None = None,
    as_json: bool = False,
    typed: Sequence[str] = (),
    command: Command = run_command,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run what is missing of a suite and draw its leaderboard.

    Args:
        name: of the suite, or its file.
        out: its folder; none: `default_folder`.
        device: "auto", "cpu" or "cuda".
        jobs: runs at once; none: what the machine takes.
        adopt: folders in which finished runs may lie.
        stop_after_minutes: when to stop cleanly; none: never.
        as_json: print the outcome as JSON.
        typed: the words after `adbench` that also go on with it.
        command: what starts a cell's process.
        clock: seconds from anywhere.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UsageError: the suite asks for what there is not, or the folder is another's.
        Stopped: time was up before the work was.
    """
    began = clock()
    found = definition.load(definition.find(name))
    out = out or default_folder(name)
    reporter = Reporter()
    cells = plan(found, device=device)
    states = {cell: state.inspect(cell, out) for cell in cells}
    reporting.make_folder(out)
    with held(out):
        write_text(out / reporting.SUITE, found.text)
        missing = [cell for cell in cells if states[cell].kind == "missing"]
        for cell, path in state.adopt(missing, out, adopt).items():
            states[cell] = state.inspect(cell, out)
            reporter.say(f"{cell.name}: adopted from {path}")
        left = None if stop_after_minutes is None else stop_after_minutes - (clock() - began) / 60
        table = _run_rest(cells, states, out, jobs, left, command, reporter)
        states |= {each.cell: state.inspect(each.cell, out) for each in table}
        code = reporting.draw_suite(found, states, reporting.files_of(states, out), out, as_json)
    stopped = any(each.phase == "stopped" for each in table)
    return conclude(reporter, out, clock() - began, typed, stopped=stopped, code=code)


def _run_rest(
    cells: Sequence[Cell],
    states: Mapping[Cell, State],
    out: Path,
    jobs: int | None,
    stop_after_minutes: float | None,
    command: Command,
    reporter: Reporter,
) -> list[Progress]:
    """Run every cell that is not finished."""
    rest = [cell for cell in cells if states[cell].kind != "finished"]
    if not rest:
        reporter.say(f"{out}: all runs are finished.")
        return []
    took = {cell: each.seconds for cell, each in states.items() if each.seconds is not None}
    share = machine.share(rest[0].config.device, len(rest), jobs=jobs)
    threads = f"{share.threads} thread{'s' * (share.threads > 1)}"
    reporter.say(
        f"{len(rest)} of {len(cells)} runs to do, {share.jobs} at once with {threads} each, on "
        f"{rest[0].config.device}; in {out}"
    )
    return run_cells(
        longest_first(rest, expected_seconds(cells, took)),
        out,
        jobs=share.jobs,
        environment=share.environment(),
        command=command,
        stop_after_minutes=stop_after_minutes,
        watch=Lines(reporter.say, cells, took, out, jobs=share.jobs),
    )
