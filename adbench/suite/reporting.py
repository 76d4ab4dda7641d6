"""From finished runs to a leaderboard's files: of a suite's folder, or of any results.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.errors import ResultsError, RunFolderError, UsageError
from adbench.suite import definition, export, pieces, state
from adbench.suite.cells import Cell, plan
from adbench.suite.definition import Definition
from adbench.suite.leaderboard import leaderboard
from adbench.suite.merge import World
from adbench.suite.state import State
from adbench.suite.table import leaderboard_table

SUITE = "suite.toml"
"""The suite that a folder is of, as it was read."""


def report(folders: Sequence[Path], *, suite: str | None, out: Path | None, as_json: bool) -> int:
    """Draw a leaderboard of what is there.

    Args:
        folders: where results.json files lie, or a suite's folder.
        suite: show only what this suite asks; none: the folder's own suite, or everything.
        out: where to write; none: into the one suite's folder.
        as_json: print the outcome as JSON.

    Returns:
        0; 1 if a file could not be read, or a run failed.

    Raises:
        UsageError: nowhere to write, or results that cannot stand on one page.
        ResultsError: there is nothing to show.
    """
    home = folders[0] if len(folders) == 1 and (folders[0] / SUITE).is_file() else None
    target = out or home
    if target is None:
        raise UsageError("say where to write: --out DIR (only a suite's folder is its own place).")
    if home is not None and suite is None:
        found = definition.load(home / SUITE, name=home.name)
        cells = plan(found, check=False)
        states = {cell: state.inspect(cell, home, strict=False) for cell in cells}
        if not any(each.results for each in states.values()):
            raise ResultsError(f"{home}: none of its {len(cells)} runs is finished yet.")
        return draw_suite(found, states, files_of(states, home), target, as_json)
    if suite is not None:
        found = definition.load(definition.find(suite))
        matched = state.match(cells := plan(found, check=False), folders)
        if not matched:
            raise ResultsError(f"nothing there answers the suite {found.name!r}.")
        states = {
            cell: State("finished", matched[cell][1]) if cell in matched else State("missing")
            for cell in cells
        }
        files = {cell: str(path) for cell, (path, _) in matched.items()}
        return draw_suite(found, states, files, target, as_json)
    gathered = pieces.read_worlds(state.results_files(folders))
    record = leaderboard(gathered.worlds, left_out=gathered.left_out)
    publish(record, gathered.worlds, target, as_json)
    return 1 if gathered.refused else 0


def files_of(states: Mapping[Cell, State], out: Path) -> dict[Cell, str]:
    """Where the results of a suite's finished cells lie."""
    return {
        cell: str(cell.folder(out) / state.RESULTS)
        for cell, each in states.items()
        if each.results is not None
    }


def draw_suite(
    found: Definition,
    states: Mapping[Cell, State],
    files: Mapping[Cell, str],
    target: Path,
    as_json: bool,
) -> int:
    """Write and print the leaderboard of what is finished of a suite.

    Args:
        found: the suite.
        states: of all its cells.
        files: where the results of those that are finished lie.
        target: where to write.
        as_json: print the outcome as JSON.

    Returns:
        0; 1 if a run failed.
    """
    worlds = pieces.worlds_of_cells(
        (cell, files[cell], each.results)
        for cell, each in states.items()
        if each.results is not None
    )
    failed = {cell.name: str(each.why) for cell, each in states.items() if each.kind == "failed"}
    record = leaderboard(
        worlds,
        title=found.suite.title or found.name,
        missing=[cell.name for cell, each in states.items() if each.kind != "finished"],
        failed=failed,
    )
    publish(record, worlds, target, as_json)
    return 1 if failed else 0


def publish(record: dict[str, Any], worlds: Sequence[World], out: Path, as_json: bool) -> None:
    """Write a leaderboard's files, where there is something to show, and print what is in them.

    Raises:
        RunFolderError: they cannot be written.
    """
    files = {}
    if worlds:
        make_folder(out)
        files = export.write(out, record, worlds)
    if as_json:
        said = {key: record[key] for key in ("missing", "failed", "left_out", "tables")}
        where = {name: str(path) for name, path in files.items()}
        print(json.dumps({"folder": str(out), "files": where, **said}))
        return
    print(leaderboard_table(record))
    if files:
        print(f"\npage     {files['page']}\ndata     {files['csv']}\n         {files['json']}")


def make_folder(path: Path) -> None:
    """Make a folder if it is not there.

    Raises:
        RunFolderError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be made: {error.strerror or error}.") from None
