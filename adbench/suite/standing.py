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

    Steps are counted to where the first of the two stopped playing. AD's last tenth of episodes up
    to there is set against the source's episodes that end within the same steps: task by task and
    seed by seed where the results keep them, else by the two curves alone, whose intervals
    together give one that is no narrower than a paired one.

    Returns:
        `against`: the source row; `steps`: of one stream, at the end; `ad`, `source`: mean
        returns; `difference`, `interval`: theirs; `paired`: whether task by task; `verdict`: won,
        lost or undecided (the interval has both signs, or there is none); `reason`: why something
        is none.
    """
    record: dict[str, Any] = {
        "against": None, "steps": None, "ad": None, "source": None, "difference": None,
        "interval": None, "paired": None, "verdict": None, "reason": None,
    }  # fmt: skip
    against = next((name for name in SOURCES if name in world.curves), None)
    if OURS not in world.curves or against is None:
        missing = OURS if OURS not in world.curves else "source"
        return record | {"reason": f"no {missing} row was run"}
    our_steps, their_steps = (_mean_steps(world.curves[name]) for name in (OURS, against))
    end = min(our_steps[-1], their_steps[-1]) * (1 + _ROUNDING)
    played = int(np.searchsorted(our_steps, end, side="right"))
    if played == 0:
        return record | {
            "against": against,
            "reason": f"{against} stopped before the end of AD's first episode",
        }
    ours = stats.last_tenth(played)
    begin = our_steps[ours.start - 1] * (1 + _ROUNDING) if ours.start else 0.0
    low, high = np.searchsorted(
        their_steps, [begin, our_steps[played - 1] * (1 + _ROUNDING)], "right"
    )
    # Where none ends within, it is the one long episode that lies over all of them.
    theirs = slice(int(low), int(max(high, low + 1)))
    record |= {"against": against, "steps": float(our_steps[played - 1])}
    kept = world.returns[against]
    if theirs.stop <= kept.shape[-1]:
        mine, its = world.returns[OURS][..., ours].mean(-1), kept[..., theirs].mean(-1)
        difference, interval = stats.paired_difference(mine, its, world.resamples)
        means = float(stats.mean(mine)), float(stats.mean(its))
    else:
        means, interval = _unpaired(world.curves[OURS], ours, world.curves[against], theirs)
        difference = means[0] - means[1]
    return record | {
        "ad": means[0],
        "source": means[1],
        "difference": difference,
        "interval": None if interval is None else list(interval),
        "paired": theirs.stop <= kept.shape[-1],
        "verdict": _verdict(interval),
        "reason": None if interval else "nothing was resampled, so there is no interval",
    }


def _mean_steps(curve: Curve) -> Floats:
    assert curve.steps is not None
    return np.asarray(curve.steps.mean(axis=0))


def _unpaired(
    ours: Curve, mine: slice, theirs: Curve, its: slice
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Means of two rows over some episodes, and an interval of their difference: from the worst of
    one to the best of the other."""
    means = float(ours.returns[:, mine].mean()), float(theirs.returns[:, its].mean())
    if ours.low is None or ours.high is None or theirs.low is None or theirs.high is None:
        return means, None
    return means, (
        float(ours.low[:, mine].mean() - theirs.high[:, its].mean()),
        float(ours.high[:, mine].mean() - theirs.low[:, its].mean()),
    )


def _verdict(interval: tuple[float, float] | None) -> str:
    if interval is None or interval[0] <= 0.0 <= interval[1]:
        return "undecided"
    return "won" if interval[0] > 0.0 else "lost"
