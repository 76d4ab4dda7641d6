"""The table of scores, once for people at a terminal and once for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from adbench.paper_curves import SOURCE as PAPER
from adbench.paper_curves import paper_bandit_score
from adbench.report.null_words import goal_sentences, sight_sentences
from adbench.report.numbers import NOTHING, bounds, fixed, large, percent, short
from adbench.report.words import data_efficiency_lines, difference_lines, setting, wrapped

Results = Mapping[str, Any]
Score = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One place in the table.

    Attributes:
        text: the number.
        interval: its interval, or nothing.
        reason: why there is no number.
    """

    text: str
    interval: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """One score.

    Attributes:
        title: heading on the page.
        brief: heading at the terminal; none: only on the page, which has room.
        explained: what it is.
        cell: from a method and its score record to its cell.
        intervals: whether the terminal shows intervals, too.
    """

    title: str
    brief: str | None
    explained: str
    cell: Callable[[str, Score], Cell]
    intervals: bool = False


def columns(results: Results, test_set: str) -> list[Column]:
    """The table's columns for one test set."""
    share = "share of tasks whose score is under one half"
    taken = "in training, one seed"
    return [
        _number("score", "score", "final_mean", "normalised score, last tenth of episodes", True),
        *_share_of_source(results, test_set),
        _number("return at the end", "return", "final_return", "return, last tenth of episodes"),
        _number("AUC", "AUC", "auc", "normalised score, all episodes"),
        _number(
            "worst quarter", "worst 1/4", "worst_quarter_mean", "score, worst quarter of tasks"
        ),
        Column("under half", "< half", share, _share_under_half),
        *_steps_to_goal(results, test_set),
        _episodes("episodes to 50 %", "to 50 %", "episodes_to_50"),
        _episodes("episodes to 90 %", "to 90 %", "episodes_to_90"),
        _number("IQM", None, "iqm", "score, tasks between the quartiles (interquartile mean)"),
        _amount("updates", None, results["updates"], f"gradient updates {taken}"),
        _amount("tokens", "tokens", results["tokens"], f"tokens read {taken}"),
    ]


def rows(results: Results, test_set: str, shown: list[Column]) -> list[tuple[str, list[Cell]]]:
    """The table's rows for one test set: a method and a cell a column."""
    scores = results["test_sets"][test_set]["scores"]
    return [
        (name, [column.cell(name, score) for column in shown]) for name, score in scores.items()
    ]


def results_table(results: Results) -> str:
    """Results as plain text: a table a test set, AD minus the others, data efficiency.

    Args:
        results: as `read_results` gives them.
    """
    parts = []
    for test_set in results["test_sets"]:
        shown = [column for column in columns(results, test_set) if column.brief is not None]
        lines = [["row", *(str(column.brief) for column in shown)]]
        for method, cells in rows(results, test_set, shown):
            pairs = zip(shown, cells, strict=True)
            texts = [f"{cell.text} {cell.interval * column.intervals}" for column, cell in pairs]
            lines.append([method, *(text.strip() for text in texts)])
        parts.append(f"{setting(results, test_set)}\n\n{aligned(lines)}")
    notes = [*difference_lines(results), *data_efficiency_lines(results)]
    notes += wrapped([*goal_sentences(results), *sight_sentences(results)])
    for name, seeds in results["incomplete"].items():
        notes.append(
            f"{name} is left out: not evaluated yet with seed {', '.join(map(str, seeds))}"
        )
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip()


def aligned(lines: list[list[str]]) -> str:
    """Rows of words as columns: names to the left, numbers to the right, a rule below the first."""
    widths = [max(len(word) for word in column) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(
            word.rjust(width) if i else word.ljust(width)
            for i, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (lines[0], rule, *lines[1:])
    )


def _cell(score: Score, key: str, text: str) -> Cell:
    return Cell(text, bounds(score.get(f"{key}_interval")), score["reasons"].get(key, ""))


def _number(title: str, brief: str | None, key: str, what: str, intervals: bool = False) -> Column:
    return Column(
        title, brief, f"mean {what}", lambda _, s: _cell(s, key, fixed(s[key])), intervals
    )


def _share_under_half(_: str, score: Score) -> Cell:
    low_high = score["share_under_half_interval"]
    within = "" if low_high is None else f"[{percent(low_high[0])}, {percent(low_high[1])}]"
    cell = _cell(score, "share_under_half", percent(score["share_under_half"]))
    return replace(cell, interval=within)


def _steps_to_goal(results: Results, test_set: str) -> list[Column]:
    if "steps_to_goal" not in results["test_sets"][test_set]:
        return []
    what = "mean steps until the goal, last tenth of episodes; the longest where it is not reached"

    def cell(_: str, score: Score) -> Cell:
        key = "final_steps_to_goal"
        if key not in score:
            return Cell(NOTHING, reason="it is computed from the tasks, not rolled out")
        return Cell(short(score[key]), bounds(score[f"{key}_interval"], digits=1))

    return [Column("steps to the goal", "to goal", what, cell)]


def _episodes(title: str, brief: str, key: str) -> Column:
    explained = "last of the five episodes whose mean first gets that far from random to optimal"
    return Column(title, brief, explained, lambda _, score: _cell(score, key, short(score[key])))


def _amount(title: str, brief: str | None, amounts: Mapping[str, int], explained: str) -> Column:
    return Column(title, brief, explained, lambda method, _: Cell(large(amounts.get(method))))


def _share_of_source(results: Results, test_set: str) -> list[Column]:
    """Where an episode is a single step, as a bandit's pull is, the sum over all of them counts."""
    env, record = results["env"], results["test_sets"][test_set]
    curves = [curve for curve in record["curves"].values() if curve["env_steps"][-1] is not None]
    if not curves or any(curve["env_steps"] != curve["episode"] for curve in curves):
        return []
    what = "return of all episodes, as (r - random) / (source - random)"
    found = [_number("share of source", "of source", "share_of_source", what, True)]
    if any(paper_bandit_score(env, test_set, method) is not None for method in record["scores"]):
        found.append(
            Column(
                "the paper's",
                "paper's",
                f"share of source in {PAPER}, figure 3",
                lambda method, _: Cell(fixed(paper_bandit_score(env, test_set, method))),
            )
        )
    return found
