"""The leaderboard of a suite, as a record: every row in every world, and over all worlds.

Pure: it reads nothing but what `merge` made of results.json files. Over worlds a score is the mean
of the worlds' means, each world counting the same; its interval draws seeds and tasks anew within
every world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adbench import stats
from adbench.config import METHODS
from adbench.data_efficiency import SHARES
from adbench.paper_curves import paper_bandit_score
from adbench.rows import CONSTANTS
from adbench.scores import OURS
from adbench.suite import standing
from adbench.suite.merge import STATISTICS, World
from adbench.suite.warn import warnings

SCHEMA = 1

Drawn = Mapping[tuple[World, str], dict[str, stats.Floats] | None]
"""`World.drawn_scores` of each row of each world."""

_STAGES = ("collect", "train", "evaluate", "report")
_RATES = ("collect_env_steps_per_s", "train_tokens_per_s", "evaluate_env_steps_per_s")


def leaderboard(
    worlds: Sequence[World],
    *,
    title: str = "",
    missing: Sequence[str] = (),
    failed: Mapping[str, str] | None = None,
    left_out: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Everything that leaderboard.json says.

    Args:
        worlds: as `merge` makes them.
        title: what it is of.
        missing: runs that were asked for and are not finished.
        failed: those among them whose last attempt failed, and why.
        left_out: files that are not shown, and why.

    Returns:
        JSON values: `tables`, one a series and context length, each with a row a method over all
        its worlds; `worlds`, each with its rows, `data_efficiency`, `at_equal_steps`, times and
        rates; `missing`, `failed`, `left_out`, `warnings`.
    """
    drawn = {(world, name): world.drawn_scores(name) for world in worlds for name in world.returns}
    records = [_world(world, drawn) for world in worlds]
    keys = dict.fromkeys((world.series, world.context_steps) for world in worlds)
    tables = [
        _table(
            [(w, r) for w, r in zip(worlds, records, strict=True) if _key(w) == key], drawn, *key
        )
        for key in keys
    ]
    return {
        "schema": SCHEMA,
        "title": title,
        "confidence": stats.CONFIDENCE,
        "tables": tables,
        "worlds": records,
        "missing": list(missing),
        "failed": [{"run": run, "why": why} for run, why in (failed or {}).items()],
        "left_out": [{"file": file, "why": why} for file, why in left_out],
        "warnings": warnings(worlds),
    }


def _key(world: World) -> tuple[str, int | None]:
    return world.series, world.context_steps


def _world(world: World, drawn: Drawn) -> dict[str, Any]:
    results = world.results
    return {
        "world": world.name,
        "env": world.env,
        "env_version": results["env_version"],
        "series": world.series,
        "context_steps": world.context_steps,
        "window_steps": results["config"]["train"]["window_steps"],
        "preset": results["preset"],
        "seeds": list(world.seeds),
        "tasks": world.num_tasks,
        "scored_tasks": int(world.scored.sum()),
        "test_set": world.test_set,
        "episodes": world.episodes,
        "intervals_over": world.resamples.over,
        "random_return": _mean(world.random),
        "optimal_return": _mean(world.optimal),
        "optimal_estimated": any(p.results["optimal_estimated"] for p in world.pieces),
        "rows": {method: _row(world, method, drawn) for method in world.returns},
        "incomplete": dict(world.incomplete),
        "data_efficiency": _efficiency(standing.data_efficiency(world)),
        "at_equal_steps": standing.at_equal_steps(world),
        "seconds": _seconds(world),
        "throughput": {name: _rate(world, name) for name in _RATES},
        "updates": results["updates"],
        "tokens": results["tokens"],
        "parameters": results["parameters"],
        "device": results["device"],
        "threads": results["threads"],
        "machine": results["machine"],
        "versions": results["versions"],
        "commit": results["commit"],
        "command": results["command"],
        "files": [{"file": piece.path, "seeds": list(piece.seeds)} for piece in world.pieces],
    }


def _mean(values: stats.Floats | None) -> float | None:
    return None if values is None else float(stats.mean(values))


def _row(world: World, method: str, drawn: Drawn) -> dict[str, Any]:
    """Scores of a row in one world: the very numbers of a run that had all its seeds."""
    scores = world.final_scores(method)
    draws = drawn[world, method]
    record: dict[str, Any] = {}
    for name, statistic in STATISTICS.items():
        record[name] = None if scores is None else float(statistic(scores))
        record[f"{name}_interval"] = None if draws is None else _interval(draws[name])
    returns = world.final_returns(method)
    within = stats.score_interval(returns, stats.mean, world.resamples)
    record["final_return"] = float(stats.mean(returns))
    record["final_return_interval"] = list(within) if within and world.lanes[method] else None
    record |= _share_of_source(world, method)
    return record


def _share_of_source(world: World, method: str) -> dict[str, Any]:
    """The paper's score of a bandit, (r - random) / (source - random), beside the paper's own."""
    papers = paper_bandit_score(world.env, world.test_set, method)
    if papers is None or world.random is None or "source" not in world.returns:
        return {}
    ours, source = (world.returns[name].mean(axis=-1) for name in (method, "source"))
    share = float(stats.share_between(ours, world.random, source))
    return {"share_of_source": share, "papers_share_of_source": papers}


def _interval(draws: stats.Floats) -> list[float]:
    low, high = stats.interval(draws)
    return [float(low), float(high)]


def _efficiency(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the leaderboard shows of a data-efficiency record."""
    against = record["against"]
    beside = record["by_source"].get(against, {})
    kept = ("against", "targets", "steps", "vs_source_single_stream", "vs_source_total", "reasons",
            "subsampling_k", "actors", "interval_over")  # fmt: skip
    return {name: record[name] for name in kept} | {
        "single_stream_interval": beside.get("single_stream_interval", {}),
        "copying_ratio": beside.get("copying_ratio", {}),
    }


def _seconds(world: World) -> dict[str, Any]:
    """Wall time of one seed, a stage each, and of all seeds together."""
    by_stage: dict[str, float | None] = {}
    for stage in _STAGES:
        each = [
            (took / len(piece.results["seeds"]), len(piece.seeds))
            for piece in world.pieces
            if (took := piece.results["stage_seconds"][stage]) is not None
        ]
        seeds = sum(count for _, count in each)
        by_stage[stage] = sum(took * count for took, count in each) / seeds if seeds else None
    known = [took for took in by_stage.values() if took is not None]
    whole = sum(known) if known else None
    return {
        "per_seed": by_stage,
        "seed": whole,
        "all_seeds": None if whole is None else whole * len(world.seeds),
    }


def _rate(world: World, name: str) -> float | None:
    each = [
        (rate, len(piece.seeds))
        for piece in world.pieces
        if (rate := piece.results["throughput"][name]) is not None
    ]
    seeds = sum(count for _, count in each)
    return sum(rate * count for rate, count in each) / seeds if seeds else None


def _table(
    worlds: Sequence[tuple[World, Mapping[str, Any]]],
    drawn: Drawn,
    series: str,
    context_steps: int | None,
) -> dict[str, Any]:
    """All worlds of one series and context length."""
    names = [world.name for world, _ in worlds]
    rows = [
        _over_worlds(method, [world for world, _ in worlds], drawn)
        for method in METHODS
        if any(method in world.returns for world, _ in worlds)
    ]
    # The best first; computed rows are the ends of the scale, and a row of some worlds no rival.
    rows.sort(key=lambda row: (row["method"] in CONSTANTS, len(row["worlds"]) < len(names),
                               -(row["final_mean"] or 0.0)))  # fmt: skip
    over = {world.resamples.over for world, _ in worlds}
    return {
        "series": series,
        "context_steps": context_steps,
        "worlds": names,
        "seeds": {world.name: len(world.seeds) for world, _ in worlds},
        "intervals_over": sorted(over),
        "rows": rows,
        "data_efficiency": {
            form: {str(share): _ratio(worlds, form, str(share)) for share in SHARES}
            for form in ("vs_source_single_stream", "vs_source_total")
        },
        "at_equal_steps": {
            verdict: [
                world.name for world, r in worlds if r["at_equal_steps"]["verdict"] == verdict
            ]
            for verdict in ("won", "lost", "undecided")
        },
    }


def _over_worlds(method: str, worlds: Sequence[World], drawn: Drawn) -> dict[str, Any]:
    """A row of the table: each world counts the same."""
    scored = {
        world: scores
        for world in worlds
        if method in world.returns and (scores := world.final_scores(method)) is not None
    }
    record: dict[str, Any] = {"method": method, "worlds": [world.name for world in scored]}
    for name, statistic in STATISTICS.items():
        record[name], record[f"{name}_interval"] = None, None
        if not scored:
            continue
        each = [float(statistic(scores)) for scores in scored.values()]
        record[name] = float(np.mean(each))
        draws = [
            _shuffled(of_world[name], world.name)
            for world in scored
            if (of_world := drawn[world, method]) is not None
        ]
        if not draws:
            continue
        # A world of which nothing was drawn stands still.
        still = sum(mean for mean, world in zip(each, scored, strict=True)
                    if drawn[world, method] is None)  # fmt: skip
        many = min(map(len, draws))
        together = (np.sum([one[:many] for one in draws], axis=0) + still) / len(scored)
        record[f"{name}_interval"] = _interval(together)
    return record


def _shuffled(draws: stats.Floats, world: str) -> stats.Floats:
    """Draws in an order of the world's own: worlds of one size are drawn alike, and independent."""
    from adbench.noise import generator  # torch

    return generator("leaderboard", world).permutation(draws)


def _ratio(
    worlds: Sequence[tuple[World, Mapping[str, Any]]], form: str, share: str
) -> dict[str, Any]:
    """Geometric mean of the worlds' ratios; none unless every world with AD has one.

    Of the worlds where both got there alone it would speak too well of either.
    """
    played = {w.name: r["data_efficiency"][form][share] for w, r in worlds if OURS in w.returns}
    there = [ratio for ratio in played.values() if ratio is not None]
    whole = bool(there) and len(there) == len(played)
    return {
        "geometric_mean": math.exp(sum(map(math.log, there)) / len(there)) if whole else None,
        "worlds": len(there),
        "of": len(played),
        "without": [world for world, ratio in played.items() if ratio is None],
    }
