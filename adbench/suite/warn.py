"""What makes the numbers on one page hard to compare, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adbench.suite.merge import World

_FEW_SEEDS = 5
"""With fewer the intervals are clearly too narrow (docs/statistics.md)."""


def warnings(worlds: Sequence[World]) -> list[str]:
    """A sentence each, most important first."""
    found = []
    single = [world.name for world in worlds if len(world.seeds) == 1]
    if single:
        found.append(
            f"{_listed(single)}: one seed. The interval is over tasks only and says nothing of how "
            "another training run would turn out."
        )
    few = {w.name: len(w.seeds) for w in worlds if 1 < len(w.seeds) < _FEW_SEEDS}
    if few:
        shown = ", ".join(f"{name} has {count}" for name, count in few.items())
        found.append(
            f"With fewer than {_FEW_SEEDS} seeds intervals tend to be too narrow: {shown}."
        )
    estimated = [
        world.name
        for world in worlds
        if any(piece.results["optimal_estimated"] for piece in world.pieces)
    ]
    if estimated:
        found.append(
            f"{_listed(estimated)}: the optimal return is an estimate, the best of the run's own "
            "source; normalised scores there have a unit of their own."
        )
    unscored = [world.name for world in worlds if not world.scored.any()]
    if unscored:
        found.append(
            f"{_listed(unscored)}: no normalised scores, because its results have no row `random` "
            "or `optimal`, or no room between the two; it does not count in the mean over worlds."
        )
    for world in worlds:
        for method, seeds in world.incomplete.items():
            found.append(
                f"{world.name}: {method} is left out, because it was not run with seed "
                f"{', '.join(map(str, seeds))}."
            )
        mixed = [p for p in world.pieces if len(p.seeds) < len(p.results["seeds"])]
        if mixed:
            found.append(
                f"{world.name}: some seeds are taken from a run of more; what the source did after "
                "the evaluation's last episode is the mean over all seeds of that run."
            )
    return found + _differences(worlds)


def _differences(worlds: Sequence[World]) -> list[str]:
    """What differs between files, of one world or of several."""
    every = [piece.results for world in worlds for piece in world.pieces]
    looks: tuple[tuple[str, Callable[[Mapping[str, Any]], Any], str], ...] = (
        ("machines or devices", _machine, "times and rates are not comparable"),
        ("numbers of threads", lambda r: r["threads"], "times and rates are not comparable"),
        ("versions of packages", lambda r: r["versions"], "results may differ by rounding"),
        ("commits of the code", lambda r: r["commit"], "the code is not the same"),
    )
    return [
        f"The runs are of different {what}: {so}."
        for what, look, so in looks
        if any(look(results) != look(every[0]) for results in every)
    ]


def _machine(results: Mapping[str, Any]) -> Any:
    return results["device"], results["machine"]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
