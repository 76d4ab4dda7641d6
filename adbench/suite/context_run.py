"""Carries out a context-length study: histories once a seed, then a run for each length.

OUT/histories/seed-S/                  a run's folder that is collected and no more
OUT/ENV/SERIES/context-N/seed-S/       a run's folder; its shards are those, by another name
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from adbench import pipeline
from adbench.errors import RunFolderError, Stopped
from adbench.folder import RunFolder
from adbench.progress import Reporter, Stop, never
from adbench.suite.cells import Cell
from adbench.suite.runner import Command, run_command

_SHARDS = "*.h5"


def histories_folder(out: Path, seed: int) -> Path:
    """The run's folder in which the histories of a seed are collected."""
    return out / "histories" / f"seed-{seed}"


def collect_histories(
    cells: Sequence[Cell], out: Path, *, reporter: Reporter, stop: Stop = never
) -> None:
    """Collect the histories of every seed that has unfinished runs, or what is missing of them.

    Args:
        cells: unfinished runs; those of one seed differ in nothing that histories depend on.
        out: the study's folder.
        reporter: where progress is shown.
        stop: asked between units of work.

    Raises:
        Stopped: `stop` said so; what was collected is kept.
        RunFolderError: a folder holds another run, or another process works in it.
        AdbenchError: whatever goes wrong in the environment, the source or on the disk.
    """
    for seed in dict.fromkeys(cell.seed for cell in cells):
        if stop():
            raise Stopped(f"Time is up before: histories, seed {seed}. What was finished is kept.")
        # Any of them: what they differ in is trained and evaluated, not collected.
        config = min((c for c in cells if c.seed == seed), key=lambda c: c.parts).config
        path = histories_folder(out, seed)
        folder = RunFolder.read(path) if (path / "config.toml").exists() else None
        folder = folder or RunFolder.open(path, config)
        with folder.locked():
            folder.settle()
            pipeline.carry_out(folder, ("collect",), reporter=reporter, stop=stop)


def sharing_command(out: Path, command: Command = run_command) -> Command:
    """What starts a run's process, once the histories of its seed lie in its folder.

    Args:
        out: the study's folder, with collected histories.
        command: what starts the process then.
    """

    def begin(cell: Cell, folder: Path) -> list[str]:
        share_histories(histories_folder(out, cell.seed), folder, cell.seed)
        return command(cell, folder)

    return begin


def share_histories(source: Path, target: Path, seed: int) -> None:
    """Give a run the histories of another: its shards as hard links, or copies where a file system
    has none.

    Shards are never changed in place; the manifest, which may be written anew, is a copy. The run
    checks what it finds as it checks its own.

    Args:
        source: the folder of the run that collected them.
        target: the folder of the run that gets them; what it has already stays.
        seed: whose they are.

    Raises:
        RunFolderError: they cannot be written there.
    """
    theirs, ours = (folder / "histories" / f"seed-{seed}" for folder in (source, target))
    try:
        ours.mkdir(parents=True, exist_ok=True)
        for shard in sorted(theirs.glob(_SHARDS)):
            _put(shard, ours / shard.name, _link)
        # The manifest last: it says that the shards are there.
        for other in sorted(path for path in theirs.iterdir() if path.suffix == ".jsonl"):
            _put(other, ours / other.name, shutil.copyfile)
    except OSError as error:
        raise RunFolderError(
            f"{ours}: the histories of {theirs} cannot be put there: {error.strerror or error}."
        ) from None


def _put(source: Path, target: Path, how: Callable[[Path, Path], object]) -> None:
    """A file under another name, whole or not at all."""
    if target.exists():
        return
    beside = target.with_name(target.name + ".tmp")
    beside.unlink(missing_ok=True)
    how(source, beside)
    beside.replace(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
