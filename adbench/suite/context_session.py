"""One command's work on a context-length study: holds its folder, runs what is missing, draws."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adbench import plugins
from adbench.errors import Stopped
from adbench.folder import held
from adbench.progress import Reporter, deadline
from adbench.suite import context_page, context_words, machine, reporting, state
from adbench.suite.cells import Cell
from adbench.suite.context_plan import Planned
from adbench.suite.context_points import study_record
from adbench.suite.context_run import collect_histories, sharing_command
from adbench.suite.ending import conclude
from adbench.suite.runner import Command, Progress, run_cells, run_command
from adbench.suite.state import State
from adbench.suite.watch import Lines


def default_folder(env: str, *, full: bool = False) -> Path:
    """Where a study's runs lie if nobody says otherwise."""
    return Path("runs", f"context-{env}{'-full' if full else ''}")


def run(
    planned: Planned,
    out: Path,
    *,
    jobs: int | None = None,
    stop_after_minutes: float | None = None,
    as_json: bool = False,
    typed: Sequence[str] = (),
    command: Command = run_command,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run what is missing of a study and draw its page.

    Args:
        planned: the study.
        out: its folder.
        jobs: runs at once; none: what the machine takes.
        stop_after_minutes: when to stop cleanly; none: never.
        as_json: print the outcome as JSON.
        typed: the words after `adbench` that also go on with it.
        command: what starts a run's process.
        clock: seconds from anywhere.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UsageError: the folder is another's.
        Stopped: time was up before the work was.
    """
    began = clock()
    reporter = Reporter()
    states = {cell: state.inspect(cell, out) for cell in planned.cells}
    reporting.make_folder(out)
    with held(out):
        rest = [cell for cell in planned.cells if states[cell].kind != "finished"]
        at_once = machine.share(planned.cells[0].config.device, max(1, len(rest)), jobs=jobs)
        table: list[Progress] = []
        stopped = False
        if not rest:
            reporter.say(f"{out}: all {len(states)} runs are finished.")
        else:
            reporter.say(_introduction(planned, rest, at_once, out))
            try:
                stop = deadline(began, stop_after_minutes, clock)
                collect_histories(rest, out, reporter=reporter, stop=stop)
                table = _run_rest(
                    planned, states, rest, out, at_once, command, reporter,
                    _left(began, stop_after_minutes, clock),
                )  # fmt: skip
            except Stopped:
                stopped = True
            states |= {cell: state.inspect(cell, out) for cell in rest}
        code = _draw(planned, states, out, at_once.jobs, as_json)
    stopped = stopped or any(each.phase == "stopped" for each in table)
    return conclude(reporter, out, clock() - began, typed, stopped=stopped, code=code)


def _introduction(planned: Planned, rest: Sequence[Cell], at_once: machine.Share, out: Path) -> str:
    study = planned.study
    lengths = "; ".join(
        f"{name} {', '.join(map(str, study.lengths(name)))}"
        for name in ("exact", "banded")
        if study.lengths(name)
    )
    threads = f"{at_once.threads} thread{'s' * (at_once.threads > 1)}"
    return (
        f"context lengths on {planned.env}: {lengths}; {study.trained_tokens:,} tokens each\n"
        f"{len(rest)} of {len(planned.cells)} runs to do, {at_once.jobs} at once with {threads} "
        f"each, on {rest[0].config.device}; in {out}"
    )


def _run_rest(
    planned: Planned,
    states: dict[Cell, State],
    rest: Sequence[Cell],
    out: Path,
    at_once: machine.Share,
    command: Command,
    reporter: Reporter,
    minutes_left: float | None,
) -> list[Progress]:
    took = {cell: each.seconds for cell, each in states.items() if each.seconds is not None}
    return run_cells(
        rest,
        out,
        jobs=at_once.jobs,
        environment=at_once.environment(),
        command=sharing_command(out, command),
        stop_after_minutes=minutes_left,
        watch=Lines(reporter.say, planned.cells, took, out, jobs=at_once.jobs),
    )


def _draw(planned: Planned, states: dict[Cell, State], out: Path, jobs: int, as_json: bool) -> int:
    """Write the study's files and print what it found."""
    results = {cell: each.results for cell, each in states.items() if each.results is not None}
    failed = {cell.name: each.why or "" for cell, each in states.items() if each.kind == "failed"}
    record = study_record(
        planned,
        results,
        failed=failed,
        episode_steps=plugins.family_of(planned.cells[0].config).max_episode_steps,
        runs_at_once=jobs,
    )
    files = context_page.write(out, record)
    if as_json:
        print(json.dumps(_outcome(record, files, out)))
    else:
        for sentence in context_words.pays_sentences(record):
            print(sentence)
        for run, why in failed.items():
            print(f"failed: {run}: {why}")
        print(f"\npage     {files['page']}\nnumbers  {files['json']}, {files['csv']}")
    return 1 if failed else 0


def _outcome(record: dict[str, Any], files: dict[str, Path], out: Path) -> dict[str, Any]:
    return {
        "folder": str(out),
        "finished": not record["missing"],
        "page": str(files["page"]),
        "pays": record["pays"],
        "missing": record["missing"],
        "failed": record["failed"],
    }


def _left(began: float, minutes: float | None, clock: Callable[[], float]) -> float | None:
    return None if minutes is None else minutes - (clock() - began) / 60
