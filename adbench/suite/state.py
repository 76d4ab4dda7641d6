"""How far the runs of a suite have come: what their folders say, and what may be adopted.

OUT/suite.toml  OUT/.lock                    the suite, and who runs it
OUT/WORLD[/context-N]/seed-S/                a run's folder
                             log.txt         what its process said
                             failed.json     why its last attempt failed; there only if it did
                             adopted.json    where its results.json comes from, if elsewhere
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adbench.errors import ResultsError, RunFolderError
from adbench.folder import CONFIG, RunFolder, write_text
from adbench.results_file import read_results
from adbench.suite.answers import why_not
from adbench.suite.cells import Cell

LOG, FAILED, ADOPTED, RESULTS = "log.txt", "failed.json", "adopted.json", "results.json"

Kind = Literal["finished", "begun", "failed", "missing"]


@dataclass(frozen=True)
class State:
    """How far one cell is.

    Attributes:
        kind: finished; begun and interrupted; failed in its last attempt; or not there.
        results: of a finished cell; they may hold more seeds than its own.
        adopted_from: where they were made, if not in this suite.
        why: of a failed one, the last words of its process.
    """

    kind: Kind
    results: dict[str, Any] | None = None
    adopted_from: str | None = None
    why: str | None = None

    @property
    def seconds(self) -> float | None:
        """Wall time of one seed of a finished cell; none: not known."""
        if self.results is None:
            return None
        booked = [each for each in self.results["stage_seconds"].values() if each is not None]
        return sum(booked) / len(self.results["seeds"]) if booked else None


def inspect(cell: Cell, out: Path, *, strict: bool = True) -> State:
    """How far a cell is, by its folder.

    Args:
        cell: which.
        out: the suite's folder.
        strict: refuse a folder of another run; else it counts as begun.

    Raises:
        RunFolderError: the folder holds a run, or results, of another configuration.
    """
    folder = cell.folder(out)
    results, why = _results(folder, cell)
    if results is not None and why is None:
        return State("finished", results, adopted_from=_adopted_from(folder))
    begun = (folder / CONFIG).exists()
    if strict and begun:
        RunFolder.read(folder).must_hold(cell.config)
    elif strict and results is not None:
        raise RunFolderError(
            f"{folder} holds results of another run than {cell.name}: {why}. Choose another --out, "
            "or ask for what it has."
        )
    if (folder / FAILED).exists():
        return State("failed", why=said_of(folder))
    return State("begun" if begun or results is not None else "missing")


def _results(folder: Path, cell: Cell) -> tuple[dict[str, Any] | None, str | None]:
    if not (folder / RESULTS).exists():
        return None, None
    try:
        results = read_results(folder / RESULTS)
    except ResultsError:  # damaged or of an older schema: its run draws it anew
        return None, None
    return results, why_not(results, cell)


def note_failure(folder: Path, code: int | None, said: str) -> None:
    """Keep why an attempt failed.

    Args:
        folder: the run's.
        code: exit code of its process; none: there was no process.
        said: its last words.
    """
    write_text(folder / FAILED, json.dumps({"exit_code": code, "said": said}) + "\n")


def said_of(folder: Path) -> str:
    """Why the last attempt failed."""
    try:
        told = json.loads((folder / FAILED).read_text("utf-8"))
        return str(told["said"])
    except (OSError, ValueError, TypeError, KeyError):
        return f"not known; see {folder / LOG}"


def booked_seconds(folder: Path) -> float:
    """Seconds of work in a run's folder so far, over all processes that took part."""
    try:
        told = json.loads((folder / "seconds.json").read_text("utf-8"))
        return sum(float(seconds) for seconds in told.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return 0.0


def _adopted_from(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / ADOPTED).read_text("utf-8"))["from"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def results_files(folders: Sequence[Path]) -> Iterator[Path]:
    """Every results.json in some folders and what is below them, in order, each once.

    Raises:
        ResultsError: a folder is not there.
    """
    seen = set()
    for folder in folders:
        if not folder.exists():
            raise ResultsError(f"{folder} does not exist; name a folder that holds results.json.")
        if folder.is_file():
            found: Iterable[Path] = [folder]
        else:
            found = _below(folder)
        for path in found:
            if (where := path.resolve()) not in seen:
                seen.add(where)
                yield path


def _below(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if RESULTS in names:
            yield Path(place, RESULTS)


def match(
    cells: Sequence[Cell], folders: Sequence[Path]
) -> dict[Cell, tuple[Path, dict[str, Any]]]:
    """Finished runs that answer cells, wherever they were made.

    Args:
        cells: what is asked.
        folders: where to look, and below.

    Returns:
        The first file that answers, and what it says, of each cell that has one.

    Raises:
        ResultsError: a folder is not there.
    """
    found: dict[Cell, tuple[Path, dict[str, Any]]] = {}
    for path in results_files(folders):
        wanted = [cell for cell in cells if cell not in found]
        if not wanted:
            break
        try:
            results = read_results(path)
        except ResultsError:  # what cannot be read answers nothing
            continue
        found |= {cell: (path, results) for cell in wanted if why_not(results, cell) is None}
    return found


def adopt(cells: Sequence[Cell], out: Path, folders: Sequence[Path]) -> dict[Cell, Path]:
    """Take over finished runs from elsewhere, for cells that have nothing yet.

    Their results.json is copied into the cell's folder; it is all that a leaderboard needs.

    Args:
        cells: those that are missing.
        out: the suite's folder.
        folders: where to look, and below.

    Returns:
        Where each cell that was found comes from.

    Raises:
        ResultsError: a folder is not there.
    """
    found = match(cells, folders) if cells else {}
    for cell, (path, _) in found.items():
        folder = cell.folder(out)
        write_text(folder / RESULTS, path.read_text("utf-8"))
        write_text(folder / ADOPTED, json.dumps({"from": str(path)}) + "\n")
    return {cell: path for cell, (path, _) in found.items()}
