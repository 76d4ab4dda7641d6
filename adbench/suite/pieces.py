"""From results.json files to worlds: which belong together, and which must not be mixed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adbench.compare import flattened
from adbench.config import RunConfig
from adbench.errors import ConfigError, ResultsError, UsageError
from adbench.results_file import read_results
from adbench.suite.cells import Cell
from adbench.suite.merge import Piece, World, merge

_NOT_SETTINGS = ("preset", "seeds", "methods", "device")
"""What may differ between seeds that belong together."""
_CONTEXT = ("train.window_steps", "train.sequence_steps")
"""What differs between context lengths of one world."""


@dataclass
class Gathered:
    """What was found.

    Attributes:
        worlds: in order, by environment and context length.
        left_out: files that are not shown, each with why.
        refused: whether some of those could not be read.
    """

    worlds: list[World] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    refused: bool = False


def read_worlds(paths: Iterable[Path]) -> Gathered:
    """Worlds from results.json files alone.

    Files of one environment whose settings differ in the context length alone become one world a
    length; those that differ in anything else cannot stand on one page.

    Args:
        paths: of the files.

    Raises:
        UsageError: one environment with different settings; they are named.
        ResultsError: there is nothing to show.
    """
    found = Gathered()
    by_env: dict[str, list[Piece]] = {}
    for path in paths:
        try:
            results = read_results(path)
        except ResultsError as error:
            found.left_out.append((str(path), str(error)))
            found.refused = True
            continue
        piece = Piece(str(path), results, tuple(results["seeds"]))
        by_env.setdefault(results["env"], []).append(piece)
    if not by_env:
        why = "".join(f"\n  {path}: {reason}" for path, reason in found.left_out)
        raise ResultsError(f"there are no results to show.{why}")
    for env, pieces in by_env.items():
        contexts = _by_context(env, pieces)
        for steps, alike in sorted(contexts.items()):
            several = steps if len(contexts) > 1 else None
            world = merge(_each_seed_once(alike, found), name=env, context_steps=several)
            found.worlds.append(world)
    return found


def _by_context(env: str, pieces: Sequence[Piece]) -> dict[int, list[Piece]]:
    groups: dict[int, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(int(piece.results["config"]["train"]["window_steps"]), []).append(piece)
    settings = [(piece, _settings(piece.results)) for piece in pieces]
    first, its = settings[0]
    for piece, theirs in settings[1:]:
        different = [
            f"{name}: {its.get(name)!r} and {theirs.get(name)!r}"
            for name in {**its, **theirs}
            if its.get(name) != theirs.get(name) and name not in _CONTEXT
        ]
        if different:
            raise UsageError(
                f"{first.path} and {piece.path} are of {env} with different settings ("
                f"{'; '.join(different)}); their scores are not of one thing. Name folders of one "
                "configuration each, or compare two runs with `adbench compare`."
            )
    return groups


def _settings(results: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted name; what came since has its default."""
    try:
        config = RunConfig.parse(results["config"]).model_dump(mode="json")
    except ConfigError:  # of a later version: as it stands
        config = results["config"]
    return {name: value for name, value in flattened(config) if name not in _NOT_SETTINGS}


def _each_seed_once(pieces: Sequence[Piece], found: Gathered) -> list[Piece]:
    """The same with each seed where it is first seen; a copy of a file is not worth a word."""
    kept: list[Piece] = []
    seen: dict[int, str] = {}
    digests: set[str] = set()
    for piece in pieces:
        digest = _digest(piece)
        if digest in digests:
            continue
        digests.add(digest)
        fresh = tuple(seed for seed in piece.seeds if seed not in seen)
        for seed in piece.seeds:
            if seed in seen:
                found.left_out.append(
                    (piece.path, f"seed {seed} is shown from {seen[seed]} already")
                )
        seen |= dict.fromkeys(fresh, piece.path)
        if fresh:
            kept.append(Piece(piece.path, piece.results, fresh))
    return kept


def _digest(piece: Piece) -> str:
    """Equal for copies of one file."""
    return json.dumps([piece.results["command"], piece.results["stage_seconds"], piece.seeds,
                       piece.results["scores"]])  # fmt: skip


def join_copies(pieces: Sequence[Piece]) -> list[Piece]:
    """Pieces that are seeds of copies of one file, as one piece."""
    joined: dict[str, Piece] = {}
    for piece in pieces:
        whole = Piece(piece.path, piece.results, tuple(piece.results["seeds"]))
        key = _digest(whole)
        before = joined[key].seeds if key in joined else ()
        seeds = tuple(dict.fromkeys((*before, *piece.seeds)))
        in_order = tuple(seed for seed in whole.seeds if seed in seeds)
        joined[key] = Piece(
            joined[key].path if key in joined else piece.path, piece.results, in_order
        )
    return list(joined.values())


def worlds_of_cells(finished: Iterable[tuple[Cell, str, Mapping[str, Any]]]) -> list[World]:
    """Worlds of a suite from its finished cells.

    Args:
        finished: each cell with its results and the file that they are in.
    """
    groups: dict[tuple[str, ...], list[tuple[Cell, Piece]]] = {}
    for cell, path, results in finished:
        groups.setdefault(cell.group, []).append((cell, Piece(path, results, (cell.seed,))))
    return [
        merge(
            join_copies([piece for _, piece in group]),
            name=group[0][0].world,
            context_steps=group[0][0].context_steps,
            series=group[0][0].series,
        )
        for group in groups.values()
    ]
