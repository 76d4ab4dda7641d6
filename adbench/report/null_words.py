"""What AD's null rows say of a task, in sentences: whether it asks for sight, and for learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adbench.report.numbers import bounds, fixed, short
from adbench.report.words import count, on_set

Results = Mapping[str, Any]

_FEW_EPISODES = 3
"""So many at the beginning and at the end are set against each other."""


def goal_sentences(results: Results) -> list[str]:
    """Steps that AD needs to the goal, at first and in the end, a sentence a test set."""
    found = []
    for name, record in results["test_sets"].items():
        curve = record.get("steps_to_goal", {}).get("ad")
        if curve is None:
            continue
        steps = curve["mean"]
        few = min(_FEW_EPISODES, len(steps))
        first, last = sum(steps[:few]) / few, sum(steps[-few:]) / few
        found.append(
            f"AD needs {short(first)} steps to the goal{on_set(results, name)} in its first "
            f"{count(few, 'episode')} and {short(last)} in its last; who does not get there counts "
            "as the longest episode."
        )
    return found


def sight_sentences(results: Results) -> list[str]:
    """Whether AD needed to see, and to learn: what its null rows on pixels say; or nothing."""
    found = []
    for name, record in results["test_sets"].items():
        scores, on = record["scores"], on_set(results, name)
        if "ad" in scores and "ad-blind" in scores:
            found.append(_blind(record, on))
        if "ad" in scores and "sweep" in scores:
            found.append(_sweep(record, on))
    return found


def _blind(record: Mapping[str, Any], on: str) -> str:
    kind, value, within, low = _final(record, "ad")
    blind = _final(record, "ad-blind")[1]
    beside = f"AD's {kind}{on} is {fixed(value)} {within}".rstrip()
    if blind < low:
        return f"{beside}; shown one constant frame it is {fixed(blind)}: AD needs to see."
    nothing = record["random_return"] if kind == "return" else 0.0
    if low <= nothing:
        return (
            f"{beside}, not surely above that of random actions, and {fixed(blind)} shown one "
            "constant frame: nothing is seen to be solved here, with sight or without."
        )
    return (
        f"The task was solved without seeing: {beside}; shown one constant frame it is "
        f"{fixed(blind)}, which is not below that interval."
    )


def _sweep(record: Mapping[str, Any], on: str) -> str:
    kind, _, _, low = _final(record, "ad")
    sweep = _final(record, "sweep")[1]
    start = f"The best of 2,000 fixed strings of actions has a {kind} of {fixed(sweep)}{on}"
    if sweep < low:
        return f"{start}; AD is above it."
    return f"{start}, and AD is not surely above it: covering the ground blindly may do as well."


def _final(record: Mapping[str, Any], method: str) -> tuple[str, float, str, float]:
    """A row's final score, or its return where that cannot be normalised.

    Returns:
        Which of the two, the mean, its interval in words, and the interval's lower end (the mean
        where there is none).
    """
    score = record["scores"][method]
    kind, key = ("score", "final_mean")
    if score[key] is None:
        kind, key = ("return", "final_return")
    low_high = score[f"{key}_interval"]
    return kind, score[key], bounds(low_high), score[key] if low_high is None else low_high[0]
