"""From the results of a context-length study's runs to one record: a point for each length.

S seeds, T tasks. Pure: it reads nothing but results. Scores and data efficiency are those that a
leaderboard would show of the same seeds; of rates and memory a point has the mean over seeds and
the lowest and highest seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adbench import stats
from adbench.config import RunConfig
from adbench.data_efficiency import SHARES
from adbench.results_file import plain
from adbench.suite.cells import Cell
from adbench.suite.context_plan import SERIES, Planned
from adbench.suite.leaderboard import leaderboard
from adbench.suite.merge import Piece, World, merge
from adbench.suite.paper_context import WORLD

SCHEMA = 1

_OURS = "ad"
_MACHINE = ("device", "threads", "machine", "versions", "commit")


def study_record(
    planned: Planned,
    results: Mapping[Cell, Mapping[str, Any]],
    *,
    failed: Mapping[str, str] | None = None,
    episode_steps: int,
    runs_at_once: int = 1,
) -> dict[str, Any]:
    """Everything that context.json says.

    Args:
        planned: the study.
        results: of the runs that are finished.
        failed: runs whose last attempt failed, and why.
        episode_steps: of the world's longest episode.
        runs_at_once: how many shared the machine.

    Returns:
        JSON values: what all trainings share; `points`, by series and length; `pays`, for each
        series where longer stops paying; `missing` and `failed` runs; the machine.
    """
    worlds = list(_worlds(planned, results))
    records = leaderboard(worlds)["worlds"] if worlds else []
    points = [
        _point(world, record, planned, episode_steps)
        for world, record in zip(worlds, records, strict=True)
    ]
    some = next(iter(results.values()), None)
    record = {
        "schema": SCHEMA,
        "env": planned.env,
        "origin": planned.origin,
        "same_world_as_paper": planned.env == WORLD,
        "episode_steps": episode_steps,
        "seeds": planned.study.seeds,
        "shared": _shared(planned),
        "points": points,
        "pays": {
            series: _where_it_stops(alike)
            for series in SERIES
            if (alike := [world for world in worlds if world.series == series])
        },
        "missing": [cell.name for cell in planned.cells if cell not in results],
        "failed": [{"run": run, "why": why} for run, why in (failed or {}).items()],
        "runs_at_once": runs_at_once,
        "made_on": {name: some[name] for name in _MACHINE} if some else None,
        "random_return": records[0]["random_return"] if records else None,
        "optimal_return": records[0]["optimal_return"] if records else None,
        "confidence": stats.CONFIDENCE,
    }
    found: dict[str, Any] = plain(record)
    return found


def _worlds(planned: Planned, results: Mapping[Cell, Mapping[str, Any]]) -> Sequence[World]:
    """The seeds of each length side by side, by series and length."""
    groups: dict[tuple[str, int], list[Piece]] = {}
    for cell in planned.cells:
        if cell in results and cell.context_steps is not None:
            piece = Piece(cell.name, results[cell], (cell.seed,))
            groups.setdefault((cell.series, cell.context_steps), []).append(piece)
    return [
        merge(groups[key], name=planned.env, context_steps=key[1], series=key[0])
        for series in SERIES
        for key in sorted(groups)
        if key[0] == series
    ]


def _shared(planned: Planned) -> dict[str, Any]:
    """What every training has in common."""
    config, study = planned.cells[0].config, planned.study
    return {
        "trained_tokens": study.trained_tokens,
        "updates": study.updates,
        "tokens_per_update": study.tokens_per_update,
        "subsample": config.train.subsample,
        "layers": config.model.layers,
        "width": config.model.width,
        "evaluated_episodes": config.evaluate.episodes,
        "lanes_per_task": config.evaluate.lanes_per_task,
        "preset": config.preset,
        "source": config.source.name,
    }


def _point(
    world: World, record: Mapping[str, Any], planned: Planned, episode_steps: int
) -> dict[str, Any]:
    steps = world.context_steps
    assert steps is not None
    config = RunConfig.parse(dict(world.results["config"]))
    row, efficiency = record["rows"].get(_OURS, {}), record["data_efficiency"]
    return {
        "series": world.series,
        "context_steps": steps,
        # An episode of n steps makes n + 1 tokens.
        "context_episodes": steps / (episode_steps + 1),
        "reach_steps": config.reach_steps,
        "row_steps": config.train.row_steps,
        "batch_sequences": config.train.batch_sequences,
        "seeds": world.seeds,
        "final_score": row.get("final_mean"),
        "final_score_interval": row.get("final_mean_interval"),
        "final_return": row.get("final_return"),
        "final_return_interval": row.get("final_return_interval"),
        "worst_quarter_mean": row.get("worst_quarter_mean"),
        "intervals_over": record["intervals_over"],
        "steps_to": {str(s): efficiency["steps"].get(_OURS, {}).get(str(s)) for s in SHARES},
        "vs_source_single_stream": efficiency["vs_source_single_stream"],
        "single_stream_interval": efficiency["single_stream_interval"],
        "vs_source_total": efficiency["vs_source_total"],
        "reasons": efficiency["reasons"],
        "against": efficiency["against"],
        "trained_tokens": record["tokens"].get(_OURS),
        **_measured(world),
    }


def _measured(world: World) -> dict[str, Any]:
    """Rates, memory and times: the mean over seeds, and the lowest and highest seed."""
    pieces = [piece.results for piece in world.pieces]
    places = {
        "train_tokens_per_s": ("throughput", "train_tokens_per_s"),
        "evaluate_env_steps_per_s": ("throughput", "evaluate_env_steps_per_s"),
        "train_peak_bytes": ("peak_memory_bytes", "process", "train"),
        "evaluate_peak_bytes": ("peak_memory_bytes", "process", "evaluate"),
        "train_peak_gpu_bytes": ("peak_memory_bytes", "gpu", "train"),
        "evaluate_peak_gpu_bytes": ("peak_memory_bytes", "gpu", "evaluate"),
        "train_seconds": ("stage_seconds", "train"),
        "evaluate_seconds": ("stage_seconds", "evaluate"),
    }
    return {name: _over_seeds(pieces, place) for name, place in places.items()}


def _over_seeds(
    results: Sequence[Mapping[str, Any]], place: tuple[str, ...]
) -> dict[str, float] | None:
    found = [value for each in results if (value := _at(each, place)) is not None]
    if not found:
        return None
    return {"mean": sum(found) / len(found), "low": min(found), "high": max(found)}


def _at(values: Any, place: tuple[str, ...]) -> float | None:
    for name in place:
        values = values.get(name) if isinstance(values, Mapping) else None
    return None if values is None else float(values)


def _where_it_stops(worlds: Sequence[World]) -> dict[str, Any]:
    """The shortest length that no longer one is better than, as far as these seeds can tell.

    Lengths share seeds and tasks, so differences are paired.

    Args:
        worlds: of one series, the shortest first.

    Returns:
        `at`: that length; `longest`: whether it is the longest tried; `gains`: of each longer one
        over it, `difference` and `interval`; `worth`: of it over the next shorter one.
    """
    shown = [world for world in worlds if world.final_scores(_OURS) is not None]
    for i, world in enumerate(shown):
        gains = [_gain(longer, world) for longer in shown[i + 1 :]]
        if not any(gain["better"] for gain in gains):
            return {
                "at": world.context_steps,
                "longest": not gains,
                "gains": gains,
                "worth": _gain(world, shown[i - 1]) if i else None,
            }
    return {"at": None, "longest": False, "gains": [], "worth": None}


def _gain(longer: World, shorter: World) -> dict[str, Any]:
    """Final score of one length minus another's, over the seeds that both have."""
    seeds = [seed for seed in longer.seeds if seed in shorter.seeds]
    ours, theirs = (
        world.final_scores(_OURS)[[world.seeds.index(seed) for seed in seeds]]  # type: ignore[index]
        for world in (longer, shorter)
    )
    drawn = longer.scored_resamples
    if len(seeds) < len(longer.seeds):
        from adbench.noise import generator  # torch

        drawn = stats.draw_resamples(len(seeds), ours.shape[1], generator("context", longer.name))
    difference, interval = stats.paired_difference(ours, theirs, drawn)
    return {
        "context_steps": longer.context_steps,
        "over": shorter.context_steps,
        "difference": difference,
        "interval": interval,
        # Without an interval nothing can be told apart from chance.
        "better": interval is not None and interval[0] > 0.0,
    }
