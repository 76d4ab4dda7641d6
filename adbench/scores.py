"""Curves, scores and differences of one test set, as results.json holds them.

S seeds, T tasks, E episodes of a row, K episodes of an evaluation. Scores are normalised task by
task (random = 0, optimal = 1); what is called a return is in the environment's own unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adbench import stats
from adbench.data_efficiency import SHARES
from adbench.rows import HeldOut, Row
from adbench.stats import Floats, Resamples, Statistic

OURS = "ad"
"""The row that the others are compared with."""

_MILESTONES = (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 160, 200, 300, 500, 750, 1000)

# Statistics of the final normalised scores.
_OF_FINAL: dict[str, Statistic] = {
    "final_mean": stats.mean,
    "worst_quarter_mean": stats.worst_quarter_mean,
    "share_under_half": stats.share_under_half,
    "iqm": stats.iqm,
}


def milestones(episodes: int) -> list[int]:
    """Episodes at which returns and differences are spelled out: round ones and the last."""
    return sorted({episode for episode in _MILESTONES if episode < episodes} | {episodes})


def held_out_record(held_out: HeldOut) -> dict[str, Any]:
    """Everything that results.json says of one test set.

    The sources appear over the first K episodes here; those that went on are in `full_curves` in
    full length.
    """
    rows, drawn, episodes = held_out.rows, held_out.resamples, held_out.episodes
    return {
        "random_return": float(stats.mean(held_out.random)),
        "optimal_return": None if held_out.optimal is None else float(stats.mean(held_out.optimal)),
        "optimal_estimated": held_out.estimated,
        "unscored_tasks": int((~held_out.scored).sum()),
        "curves": {name: curve_record(row, drawn, episodes=episodes) for name, row in rows.items()},
        "full_curves": {
            name: curve_record(row, drawn)
            for name, row in rows.items()
            if row.returns.shape[-1] > episodes
        },
        "task_ids": held_out.task_ids,
        "per_task": {name: row.returns[..., :episodes] for name, row in rows.items()},
        "scores": {name: score_record(name, held_out) for name in rows},
        "differences": differences(held_out),
        "incomplete": held_out.incomplete,
    } | _goal_record(held_out)


def curve_record(row: Row, drawn: Resamples, *, episodes: int | None = None) -> dict[str, Any]:
    """The all-lane curve of a row, one number an episode in each list.

    Args:
        row: what was lived through.
        drawn: draws of the interval.
        episodes: how many to show; none: all.
    """
    returns = row.returns[..., :episodes]
    length = returns.shape[-1]
    nothing: list[None] = [None] * length
    low_high = stats.curve_interval(returns, drawn) if row.lanes else None
    by_episode = np.moveaxis(returns, -1, 0)
    return {
        "episode": list(range(1, length + 1)),
        "mean": stats.mean(by_episode),
        "ci_low": nothing if low_high is None else low_high[0],
        "ci_high": nothing if low_high is None else low_high[1],
        "iqm": stats.iqm(by_episode),
        "n": [row.lanes] * length,
        "env_steps": nothing
        if row.steps is None
        else np.cumsum(stats.mean(np.moveaxis(row.steps, -1, 0)))[:length],
    }


def _goal_record(held_out: HeldOut) -> dict[str, Any]:
    """Steps to the goal, an episode each, of the rows that were rolled out; or nothing at all."""
    record = {}
    for name, row in held_out.rows.items():
        if row.to_goal is None:
            continue
        steps = row.to_goal[..., : held_out.episodes]
        nothing: list[None] = [None] * steps.shape[-1]
        low, high = stats.curve_interval(steps, held_out.resamples) or (nothing, nothing)
        record[name] = {
            "episode": list(range(1, steps.shape[-1] + 1)),
            "mean": stats.mean(np.moveaxis(steps, -1, 0)),
            "ci_low": low,
            "ci_high": high,
        }
    return {"steps_to_goal": record} if record else {}


def score_record(name: str, held_out: HeldOut) -> dict[str, Any]:
    """One row of the table: scores with their intervals, and why one is missing."""
    row, drawn = held_out.rows[name], held_out.resamples
    returns = row.returns[..., : held_out.episodes]
    final_returns = returns[..., stats.last_tenth(returns.shape[-1])].mean(axis=-1)
    record: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    def put(
        key: str, values: Floats | None, statistic: Statistic, draws: Resamples, why: str = ""
    ) -> None:
        record[key] = None if values is None else float(statistic(values))
        record[f"{key}_interval"] = (
            None
            if values is None or not row.lanes
            else stats.score_interval(values, statistic, draws)
        )
        if values is None:
            reasons[key] = why

    final, whole, why = None, None, _why_unscored(held_out)
    if held_out.optimal is not None and held_out.scored.any():
        kept = held_out.scored
        low, high = held_out.random[:, kept], held_out.optimal[:, kept]
        final = stats.normalise(final_returns[:, kept], low, high)
        whole = stats.normalise(returns.mean(axis=-1)[:, kept], low, high)
    for key, statistic in _OF_FINAL.items():
        put(key, final, statistic, held_out.scored_resamples, why)
    put("auc", whole, stats.mean, held_out.scored_resamples, why)
    put("final_return", final_returns, stats.mean, drawn)
    if row.to_goal is not None:
        to_goal = row.to_goal[..., : held_out.episodes]
        last = to_goal[..., stats.last_tenth(to_goal.shape[-1])].mean(axis=-1)
        put("final_steps_to_goal", last, stats.mean, drawn)
    _put_episodes_to(name, held_out, record, reasons)
    _put_share_of_source(name, held_out, record, reasons)
    record["at_episodes"] = [
        _at(episode, row, held_out) for episode in milestones(returns.shape[-1])
    ]
    record["reasons"] = reasons
    return record


def differences(held_out: HeldOut) -> dict[str, Any]:
    """AD minus each other row, in return, over the same seeds and tasks."""
    ours = held_out.rows.get(OURS)
    if ours is None:
        return {}
    record = {}
    for name, row in held_out.rows.items():
        if name == OURS:
            continue
        shared = min(held_out.episodes, row.returns.shape[-1])
        tenth = stats.last_tenth(shared)
        record[name] = {
            "at_episodes": [
                {"episode": episode}
                | _minus(ours.returns[..., episode - 1], row.returns[..., episode - 1], held_out)
                for episode in milestones(shared)
            ],
            "final": _minus(
                ours.returns[..., tenth].mean(-1), row.returns[..., tenth].mean(-1), held_out
            ),
            "all_episodes": _minus(
                ours.returns[..., :shared].mean(-1), row.returns[..., :shared].mean(-1), held_out
            ),
        }
    return record


def _minus(ours: Floats, theirs: Floats, held_out: HeldOut) -> dict[str, Any]:
    difference, low_high = stats.paired_difference(ours, theirs, held_out.resamples)
    low, high = low_high or (None, None)
    return {"mean": difference, "ci_low": low, "ci_high": high}


def _at(episode: int, row: Row, held_out: HeldOut) -> dict[str, Any]:
    returns = row.returns[..., episode - 1]
    low, high = (row.lanes and stats.score_interval(returns, stats.mean, held_out.resamples)) or (
        None,
        None,
    )
    mean = float(stats.mean(returns))
    optimal = 0.0 if held_out.optimal is None else float(stats.mean(held_out.optimal))
    return {
        "episode": episode,
        "return": mean,
        "ci_low": low,
        "ci_high": high,
        "share_of_optimal": mean / optimal if optimal > 0 else None,
    }


def _why_unscored(held_out: HeldOut) -> str:
    if held_out.optimal is None:
        return "the optimal return is not known, and no source was run to estimate it"
    return "no task has room between its random and its optimal return"


def _put_episodes_to(
    name: str, held_out: HeldOut, record: dict[str, Any], reasons: dict[str, str]
) -> None:
    stream = held_out.streams.get(name)
    for share in SHARES:
        key = f"episodes_to_{share}"
        target = held_out.targets.get(str(share))
        record[key] = stream.episodes_to(target) if stream and target else None
        if record[key] is None:
            if stream is None:
                reasons[key] = f"{name} is computed from the tasks, not rolled out"
            else:
                reasons[key] = str(stream.why_not(target)) if target else _why_unscored(held_out)


def _put_share_of_source(
    name: str, held_out: HeldOut, record: dict[str, Any], reasons: dict[str, str]
) -> None:
    """(r - random) / (source - random) of mean returns: the paper's bandit score."""
    key, row, source = "share_of_source", held_out.rows[name], held_out.rows.get("source")
    record |= {key: None, f"{key}_interval": None}
    if source is None:
        reasons[key] = "no source row was run"
        return
    shared = min(held_out.episodes, row.returns.shape[-1], source.returns.shape[-1])
    ours, theirs = (each.returns[..., :shared].mean(axis=-1) for each in (row, source))
    value = float(stats.share_between(ours, held_out.random, theirs))
    if not np.isfinite(value):
        reasons[key] = "the source is no better than random"
        return
    record[key] = value
    drawn = held_out.resamples
    if drawn.over != "nothing" and row.lanes and name != "source":
        draws = stats.share_between(
            drawn.take(ours), drawn.take(held_out.random), drawn.take(theirs)
        )
        if np.isfinite(draws).all():
            low, high = stats.interval(draws)
            record[f"{key}_interval"] = (float(low), float(high))
