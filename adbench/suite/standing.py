"""How AD stands to its source in one world: steps it needs, and what both earn with as many.

S seeds, T tasks, E episodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adbench import stats
from adbench.data_efficiency import SOURCES, Stream, compare_with_sources, share_targets
from adbench.scores import OURS
from adbench.stats import Floats
from adbench.suite.merge import Curve, World

_ROUNDING = 1e-6
"""Relative error that 7 digits leave in a sum of steps, with room."""


def data_efficiency(world: World) -> dict[str, Any]:
    """Steps of the source for each step of AD, single stream and in total, as results.json says it.

    A run of several seeds by itself says it with an interval over seeds and tasks. From several
    files the interval is over seeds alone: they keep no single task's full length.
    """
    pieces = world.pieces
    if len(pieces) == 1 and len(pieces[0].seeds) == len(pieces[0].results["seeds"]):
        own: dict[str, Any] = pieces[0].results["data_efficiency"]
        return own | {"interval_over": world.resamples.over}
    whole = all(len(piece.results["seeds"]) == 1 for piece in pieces)
    from adbench.noise import generator  # torch

    how_many = int(world.results["intervals"]["resamples"])
    source = generator("data efficiency", world.name)
    drawn = stats.draw_resamples(len(world.seeds) if whole else 1, 1, source, resamples=how_many)
    streams = {
        name: Stream(name, *_by_seed(curve, whole), drawn)
        for name, curve in world.curves.items()
        if curve.steps is not None
    }
    targets = {}
    if world.random is not None and world.optimal is not None and world.scored.any():
        ends = (each.mean(axis=1, keepdims=True) for each in (world.random, world.optimal))
        low, high = (each if whole else each.mean(axis=0, keepdims=True) for each in ends)
        targets = share_targets(low, high, drawn)
    config = world.results["config"]
    record = compare_with_sources(
        streams,
        targets,
        method=OURS,
        subsample=config["train"]["subsample"],
        actors=config["source"]["actors"],
        at_returns=(),
    )
    return record | {"interval_over": drawn.over}


def _by_seed(curve: Curve, whole: bool) -> tuple[Floats, Floats]:
    """Returns and steps of each episode, [S, 1, E]; of all seeds together where a file has only
    the mean of several, [1, 1, E]."""
    assert curve.steps is not None
    returns, steps = curve.returns, np.diff(curve.steps, axis=-1, prepend=0.0)
    if not whole:
        returns, steps = (each.mean(axis=0, keepdims=True) for each in (returns, steps))
    return returns[:, None], steps[:, None]


def at_equal_steps(world: World) -> dict[str, Any]:
    """What AD and its source earn with equally many environment steps of one stream.

    AD's last tenth of episodes is set against the source's episodes that end within the same
    steps, task by task where the results keep them.

    Returns:
        `against`: the source row; `steps`: of one stream, at AD's end; `ad`, `source`: mean
        returns; `difference`, `interval`: theirs; `verdict`: won, lost or undecided (the interval
        has both signs, or there is none); `reason`: why something is none.
    """
    record: dict[str, Any] = {
        "against": None, "steps": None, "ad": None, "source": None, "difference": None,
        "interval": None, "verdict": None, "reason": None,
    }  # fmt: skip
    against = next((name for name in SOURCES if name in world.curves), None)
    if OURS not in world.curves or against is None:
        missing = OURS if OURS not in world.curves else "source"
        return record | {"reason": f"no {missing} row was run"}
    ours, theirs = world.curves[OURS], world.curves[against]
    assert ours.steps is not None and theirs.steps is not None
    ours_steps, theirs_steps = ours.steps.mean(axis=0), theirs.steps.mean(axis=0)
    tenth = stats.last_tenth(len(ours_steps))
    begin = ours_steps[tenth.start - 1] if tenth.start else 0.0
    end = float(ours_steps[-1])
    record |= {"against": against, "steps": end}
    final = world.final_returns(OURS)
    record["ad"] = float(stats.mean(final))
    if theirs_steps[-1] < end * (1 - _ROUNDING):
        return record | {
            "reason": f"{against} played {theirs_steps[-1]:.0f} steps, fewer than AD's {end:.0f}"
        }
    low, high = np.searchsorted(
        theirs_steps, [begin * (1 + _ROUNDING), end * (1 + _ROUNDING)], side="right"
    )
    if low >= high:  # one long episode of the source lies over all of them
        high = low + 1
    kept = world.returns[against]
    record["source"] = float(theirs.returns[:, low:high].mean())
    record["difference"] = record["ad"] - record["source"]
    if high > kept.shape[-1]:
        return record | {
            "verdict": "undecided",
            "reason": f"no interval: results keep {kept.shape[-1]} episodes of {against} task by "
            f"task, and as many steps take it {high}",
        }
    paired = kept[..., low:high].mean(axis=-1)
    difference, interval = stats.paired_difference(final, paired, world.resamples)
    record |= {"source": float(stats.mean(paired)), "difference": difference, "interval": interval}
    return record | {"verdict": _verdict(interval)}


def _verdict(interval: tuple[float, float] | None) -> str:
    if interval is None or interval[0] <= 0.0 <= interval[1]:
        return "undecided"
    return "won" if interval[0] > 0.0 else "lost"
