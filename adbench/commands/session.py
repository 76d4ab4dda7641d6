"""One command's work in one folder: holds it, carries stages out, and says how it ended."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adbench.cli import command_line
from adbench.errors import Stopped
from adbench.flags import command_of
from adbench.folder import RunFolder, write_text
from adbench.loggers import Loggers
from adbench.progress import Reporter, deadline, duration
from adbench.resources import usable_cores

NEXT = {"collect": "train", "train": "evaluate", "evaluate": "report"}


def carry_out(
    folder: RunFolder,
    stages: tuple[str, ...],
    *,
    command: tuple[str, ...],
    stop_after_minutes: float | None,
    as_json: bool,
    loggers: Loggers | None = None,
) -> int:
    """Carry out stages of a run while holding its folder.

    Args:
        folder: the run.
        stages: which of collect, train, evaluate, report.
        command: the words that were typed after `adbench`; they also go on after an interruption.
        stop_after_minutes: when to stop cleanly; none: never.
        as_json: print the outcome as JSON.
        loggers: hear how training goes; they are started if there is work left.

    Returns:
        0, or 3 where time was up before the work was.
    """
    began = time.monotonic()
    with folder.locked():
        folder.settle()
        from adbench import pipeline  # torch, half a second at least: after the cheap refusals

        with warnings.catch_warnings(action="ignore"):  # what is damaged is told when it is mended
            finished = stages != ("report",) and pipeline.is_finished(folder)
        if finished:
            _conclude(folder, stages, as_json, f"{folder.path}: this run is finished.")
            return 0
        reporter = Reporter()
        reporter.say(introduction(folder))
        stop = deadline(began, stop_after_minutes)
        try:
            with _torch_settings(folder.config.device), warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: reporter.say(f"adbench: {message}")
                _note_start(folder, reporter)
                with (loggers or Loggers()).following(folder.config, folder.path) as listen:
                    pipeline.carry_out(folder, stages, reporter=reporter, stop=stop, listen=listen)
        except Stopped as stopped:
            reporter.say(f"{stopped}\nGo on with:  {command_line(*command)}")
            if as_json:
                print(json.dumps({"folder": str(folder.path), "finished": False}))
            return stopped.exit_code
        took = duration(time.monotonic() - began)
        _conclude(folder, stages, as_json, f"Done in {took}.")
    return 0


@contextmanager
def interruptible(path: Path, command: tuple[str, ...]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM inside say what is kept, and the command that goes on.

    Args:
        path: the run's folder.
        command: the words that were typed after `adbench`.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(
            f"What was finished is kept in {path}; what was half done is done again.\n"
            f"Go on with:  {command_line(*command)}"
        )
        raise


def introduction(folder: RunFolder) -> str:
    """What is about to run, in two lines."""
    config, train = folder.config, folder.config.train
    seeds = f"seed{'s' * (len(config.seeds) > 1)} {', '.join(map(str, config.seeds))}"
    rows = f"{train.batch_sequences} rows of {train.row_steps:,} steps"
    sight = f"a query sees {train.window_steps:,} steps"
    reach = f"{config.model.layers} layers reach {config.reach_steps:,} back"
    return (
        f"{config.env}, preset {config.preset}, {seeds}, on {config.device}; in {folder.path}\n"
        f"  {train.updates:,} updates of {rows}; {sight}, {reach}"
    )


@contextmanager
def _torch_settings(device: str) -> Iterator[None]:
    """Settings of the whole process, which a program may change and a library may not."""
    import torch

    if torch.device(device).type != "cpu":
        yield
        return
    fill: Any = torch.utils.deterministic
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled(), fill.fill_uninitialized_memory
    try:
        # Of two ways to add up gradients the one whose order is fixed: equal runs end equal.
        torch.use_deterministic_algorithms(True)
        # It would also fill every fresh tensor with NaN: a test's job, and slow.
        fill.fill_uninitialized_memory = False
        if not os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(usable_cores())
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        fill.fill_uninitialized_memory = before[1]
        torch.set_num_threads(threads)


def _note_start(folder: RunFolder, reporter: Reporter) -> None:
    """Note how the run was begun; say if going on cannot repeat it to the bit."""
    import torch

    now = {"threads": torch.get_num_threads(), "torch": str(torch.__version__)}
    begun = folder.begun()
    if not begun:
        note = {"command": command_of(folder.config), **now}
        write_text(folder.start, json.dumps(note) + "\n")
        return
    for name, value in now.items():
        if begun.get(name) != value:
            reporter.say(
                f"adbench: this run was begun with {name} {begun.get(name)} and goes on with "
                f"{value}; sums are rounded otherwise, so it will not repeat to the last bit."
            )


def _conclude(folder: RunFolder, stages: tuple[str, ...], as_json: bool, headline: str) -> None:
    """Print what came out: the table and where the report is, or the command that goes on."""
    from adbench.report import results_table
    from adbench.results_file import read_results

    print(headline, file=sys.stderr)
    shown = "report" in stages
    after = None if shown else command_line(NEXT[stages[-1]], str(folder.path))
    results = read_results(folder.results) if shown else None
    if as_json:
        outcome = {
            "folder": str(folder.path),
            "finished": True,
            "results": str(folder.results) if shown else None,
            "report": str(folder.report) if shown else None,
            "scores": results["scores"] if results else None,
            "next": after,
        }
        print(json.dumps(outcome))
        return
    if results is None:
        print(f"folder   {folder.path}\nnext     {after}")
        return
    print(results_table(results))
    print(f"\nreport   {folder.report}\nresults  {folder.results}")
    print(f"next     {command_line('compare', str(folder.path), 'ANOTHER')}", file=sys.stderr)
