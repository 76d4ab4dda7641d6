"""Runs the cells of a suite, each in a process of its own, several at once.

A cell is `adbench run` on a folder, so all that a run does of itself holds here: it goes on where
it was, it is one process's at a time, it stops at a checkpoint. A process that fails takes no other
with it; its last words are kept in the folder.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adbench import plugins
from adbench.config import Config
from adbench.errors import AdbenchError, FolderInUseError, RunFolderError
from adbench.flags import field_types
from adbench.folder import CONFIG, RunFolder, differences, held
from adbench.suite import state
from adbench.suite.cells import Cell

Phase = Literal["waiting", "running", "finished", "failed", "stopped"]
"""`stopped`: its time was up at a checkpoint, or it was never begun because time was up."""

Command = Callable[[Cell, Path], list[str]]
"""The words that start a cell's process, of the cell and its folder."""

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 60.0
"""How long a process that was asked to end may take: one step of torch, at worst."""
_LAST_WORDS_BYTES, _LAST_WORDS_LINES = 4096, 6


@dataclass(frozen=True)
class Progress:
    """How far one cell is.

    Attributes:
        cell: which.
        phase: what becomes of it.
        seconds: since its process began; of a finished one, until it ended.
        said: the last line of its process; of a failed one, why.
    """

    cell: Cell
    phase: Phase
    seconds: float = 0.0
    said: str = ""


Watch = Callable[[Sequence[Progress]], None]
"""Told again and again how far every cell is, in the order given to `run_cells`."""


def run_command(cell: Cell, folder: Path) -> list[str]:
    """`adbench run` of a cell whose folder has its config.toml."""
    config = cell.config
    words = [sys.executable, "-m", "adbench", "run", config.env, "--preset", config.preset]
    words += ["--config", str(folder / CONFIG), "--out", str(folder)]
    # A file cannot say none, which the preset may have had something else for.
    base: Config = plugins.preset(config.env, config.preset)
    fields = field_types()
    for name, old, new in differences(base, config):
        if name in fields and new is None and old is not None:
            words += [f"--{name.replace('_', '-')}", "none"]
    return words


def shown(command: Sequence[str]) -> str:
    """A command as one would type it, quoted for the shell."""
    return shlex.join(command)


def run_cells(
    cells: Sequence[Cell],
    out: Path,
    *,
    jobs: int = 1,
    environment: Mapping[str, str] | None = None,
    command: Command = run_command,
    stop_after_minutes: float | None = None,
    watch: Watch = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    poll_seconds: float = _POLL_SECONDS,
) -> list[Progress]:
    """Carry out cells, in order, so many at once.

    Ctrl-C and SIGTERM are passed on to every process, and waited for, before they go on from here.

    Args:
        cells: those that are not finished.
        out: the suite's folder, held by this process.
        jobs: processes at once.
        environment: of the processes; none: this one's.
        command: what starts one; `--stop-after` is added to it.
        stop_after_minutes: when to stop cleanly: nothing more is begun, and what runs stops at a
            checkpoint; none: never.
        watch: told of progress, twice a second or so.
        clock: seconds from anywhere.
        poll_seconds: how often processes are looked at.

    Returns:
        What became of each, in the order of `cells`.
    """
    end = None if stop_after_minutes is None else clock() + 60 * stop_after_minutes
    table = {cell: Progress(cell, "waiting") for cell in cells}
    waiting, running = list(cells), dict[Cell, _Job]()

    def minutes_left() -> float | None:
        return None if end is None else (end - clock()) / 60

    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                if (left := minutes_left()) is not None and left <= 0:
                    table |= {cell: Progress(cell, "stopped") for cell in waiting}
                    waiting = []
                    break
                cell = waiting.pop(0)
                try:
                    running[cell] = job = _Job(cell, out, clock())
                    job.start(command, environment, left)
                except AdbenchError as error:
                    table[cell] = Progress(cell, "failed", said=str(error))
                    del running[cell]
                    if (cell.folder(out) / CONFIG).exists():
                        state.note_failure(cell.folder(out), None, str(error))
            for cell, job in list(running.items()):
                table[cell] = job.look(clock())
                if table[cell].phase != "running":
                    del running[cell]
                if table[cell].phase == "waiting":
                    waiting.insert(0, cell)
            watch(list(table.values()))
            if running:
                time.sleep(poll_seconds)
    except BaseException:
        _end(list(running.values()))
        raise
    return list(table.values())


class _Job:
    """A cell's process; or, where another process holds the folder, waiting for that one.

    Such a one is left behind by a suite that was killed: it goes on, and its work is not lost.
    """

    def __init__(self, cell: Cell, out: Path, now: float) -> None:
        self._cell, self._out, self._began = cell, out, now
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self, command: Command, environment: Mapping[str, str] | None, minutes: float | None
    ) -> None:
        """Write the run's configuration and begin.

        Raises:
            RunFolderError: the folder cannot be used, or the process not be started.
        """
        cell, folder = self._cell, self._cell.folder(self._out)
        run = RunFolder.open(folder, cell.config)
        try:
            with run.locked():
                run.settle()
        except FolderInUseError:
            return
        (folder / state.FAILED).unlink(missing_ok=True)
        words = command(cell, folder)
        if minutes is not None:
            words = [*words, "--stop-after", f"{minutes:.4f}"]
        try:
            with (folder / state.LOG).open("ab") as log:
                log.write(f"$ {shown(words)}\n".encode())
                log.flush()
                self.process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=None if environment is None else dict(environment),
                    process_group=0,  # Ctrl-C at a terminal reaches us alone, who pass it on
                )
        except OSError as error:
            raise RunFolderError(
                f"{cell.name} could not be started: {error.strerror or error}."
            ) from None

    def look(self, now: float) -> Progress:
        """How far it is."""
        seconds = now - self._began
        folder = self._cell.folder(self._out)
        if self.process is None:
            return self._look_at_stranger(folder, seconds)
        code = self.process.poll()
        if code is None:
            return Progress(self._cell, "running", seconds, last_line(folder))
        if code == 3:
            return Progress(self._cell, "stopped", seconds)
        return self._ended(folder, seconds, code)

    def _look_at_stranger(self, folder: Path, seconds: float) -> Progress:
        try:
            with held(folder):
                pass
        except FolderInUseError as error:
            return Progress(self._cell, "running", seconds, str(error))
        if state.inspect(self._cell, self._out).kind == "finished":
            return Progress(self._cell, "finished", seconds)
        return Progress(self._cell, "waiting")  # it was left unfinished; now it is ours

    def _ended(self, folder: Path, seconds: float, code: int) -> Progress:
        if code == 0 and state.inspect(self._cell, self._out).kind == "finished":
            return Progress(self._cell, "finished", seconds)
        said = last_words(folder)
        if code == 0:
            said = f"its process ended well, and its results are not what was asked. {said}"
        elif code < 0:
            said = f"its process was ended by {_signal_name(-code)}. {said}"
        state.note_failure(folder, code, said.strip())
        return Progress(self._cell, "failed", seconds, said.strip())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end(jobs: Sequence[_Job]) -> None:
    """Ask every process to end and wait for it; whoever interrupts that ends them at once."""
    processes = [job.process for job in jobs if job.process is not None]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    try:
        for process in processes:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def last_line(folder: Path) -> str:
    """The last whole line that a cell's process said, or what it has begun to say."""
    lines = _tail(folder)
    return lines[-1].removesuffix(" ...") if lines else ""


def last_words(folder: Path) -> str:
    """The last lines that a cell's process said, from its complaint on where there is one."""
    lines = _tail(folder)
    complaint = [i for i, line in enumerate(lines) if line.startswith("adbench: ")]
    return "\n".join(lines[complaint[-1] :] if complaint else lines[-_LAST_WORDS_LINES:])


def _tail(folder: Path) -> list[str]:
    """The last lines of the latest attempt."""
    try:
        with (folder / state.LOG).open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _LAST_WORDS_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    begun = [i for i, line in enumerate(lines) if line.startswith("$ ")]
    latest = lines[begun[-1] + 1 :] if begun else lines
    return [line.rstrip() for line in latest if line.strip()]
