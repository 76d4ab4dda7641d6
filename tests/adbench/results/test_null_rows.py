"""Rows that need neither sight nor learning, and steps to the goal: numbers, words, pages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adbench.errors import ResultsError
from adbench.report import results_table, write_report
from adbench.report.figures import steps_to_goal
from adbench.report.null_words import goal_sentences, sight_sentences
from adbench.results import read_results, validate, write_results
from adbench.rows import Baseline, gather
from adbench.scores import held_out_record

Run = Callable[..., dict[str, Any]]
PIXELS = ("ad", "ed", "ad-blind", "sweep", "source")


class Played:
    """Two lanes on each of two tasks, three episodes."""

    def __init__(self, returns: list[list[float]], lengths: list[list[int]]) -> None:
        self.returns = torch.tensor(returns)
        self.lengths = torch.tensor(lengths, dtype=torch.int32)
        self.task_index = torch.tensor([0, 0, 1, 1])
        self.tasks = torch.tensor([7, 8])


def record(played: Mapping[str, Played], goal_within: int | None) -> dict[str, Any]:
    held_out = gather(
        "test",
        {(method, 0): each for method, each in played.items()},
        {0: Baseline(np.zeros(2), np.ones(2))},
        methods=(*played, "random", "optimal"),
        episodes=3,
        generator=np.random.Generator(np.random.Philox(0)),
        resamples=50,
        goal_within=goal_within,
    )
    return held_out_record(held_out)


# Task 7: the goal after 4 and 6 steps; never, once by an early end with nothing; after 1 and 20.
# Task 8: never and after 10; after 2 and 2; never twice.
PLAYED = Played(
    [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]],
    [[4, 20, 1], [6, 3, 20], [20, 2, 20], [10, 2, 20]],
)


def test_steps_to_the_goal_are_those_one_counts() -> None:
    curve = record({"ad": PLAYED}, 20)["steps_to_goal"]["ad"]
    assert curve["episode"] == [1, 2, 3]
    assert list(curve["mean"]) == [(5 + 15) / 2, (20 + 2) / 2, (10.5 + 20) / 2]
    assert all(low <= mean <= high for low, mean, high in zip(
        curve["ci_low"], curve["mean"], curve["ci_high"], strict=True
    ))  # fmt: skip


def test_the_last_tenth_of_them_is_in_the_scores_of_rows_that_were_played() -> None:
    scores = record({"ad": PLAYED, "sweep": PLAYED}, 20)["scores"]
    assert scores["ad"]["final_steps_to_goal"] == (10.5 + 20) / 2
    assert scores["sweep"]["final_steps_to_goal_interval"] is not None
    assert "final_steps_to_goal" not in scores["random"]


def test_where_no_episode_ends_at_a_goal_there_are_no_such_steps() -> None:
    told = record({"ad": PLAYED}, None)
    assert "steps_to_goal" not in told and "final_steps_to_goal" not in told["scores"]["ad"]


@pytest.fixture(scope="module")
def pixels(make_run: Run, family_of: Any) -> dict[str, Any]:
    """A run on two test sets with every row that pixels ask for."""
    return make_run(
        family=family_of(("test", "region"), ends_at_goal=True), methods=PIXELS, num_tasks=6,
        episodes=12, source_episodes=30,
    )  # fmt: skip


def scored(results: dict[str, Any], test_set: str = "test", **means: float) -> dict[str, Any]:
    """The same with other final scores, `ad_blind=0.9`; AD's interval is [0.7, 0.9]."""
    changed = copy.deepcopy(results)
    scores = changed["test_sets"][test_set]["scores"]
    scores["ad"] |= {"final_mean": 0.8, "final_mean_interval": [0.7, 0.9]}
    for name, mean in means.items():
        scores[name.replace("_", "-")]["final_mean"] = mean
    return changed


def about(results: dict[str, Any], word: str, test_set: str = "test") -> str:
    (found,) = (
        each for each in sight_sentences(results) if word in each and f" on {test_set}" in each
    )
    return found


@pytest.mark.parametrize("blind", [0.7, 0.75, 0.95])
def test_a_task_is_said_to_be_solved_without_seeing_where_the_blind_come_within(
    pixels: dict[str, Any], blind: float
) -> None:
    said = about(scored(pixels, ad_blind=blind), "constant frame")
    assert "solved without seeing" in said and f"{blind:.2f}" in said and "[0.70, 0.90]" in said


def test_where_the_blind_fall_below_the_interval_ad_needs_to_see(pixels: dict[str, Any]) -> None:
    said = about(scored(pixels, ad_blind=0.69), "constant frame")
    assert "AD needs to see" in said and "without seeing" not in said


def test_where_ad_has_learnt_nothing_nothing_is_said_to_be_solved(pixels: dict[str, Any]) -> None:
    changed = scored(pixels, ad_blind=0.02)
    changed["test_sets"]["test"]["scores"]["ad"] |= {
        "final_mean": 0.01, "final_mean_interval": [-0.05, 0.06],
    }  # fmt: skip
    said = about(changed, "constant frame")
    assert "nothing is seen to be solved here" in said and "solved without" not in said


def test_without_scores_returns_are_compared(make_run: Run, family_of: Any) -> None:
    unknown = family_of(knows_optimum=False)
    results = make_run(family=unknown, methods=("ad", "ad-blind"), num_tasks=4, episodes=6)
    score = results["test_sets"]["test"]["scores"]
    assert score["ad"]["final_mean"] is None
    (said,) = sight_sentences(results)
    assert "AD's return is" in said


@pytest.mark.parametrize(
    ("sweep", "says"), [(0.3, "AD is above it"), (0.8, "AD is not surely above it")]
)
def test_ad_is_set_against_the_best_fixed_actions(
    pixels: dict[str, Any], sweep: float, says: str
) -> None:
    assert says in about(scored(pixels, sweep=sweep), "fixed strings")


def test_every_test_set_is_judged_by_itself(pixels: dict[str, Any]) -> None:
    changed = scored(scored(pixels, "test", ad_blind=0.8), "region", ad_blind=0.1)
    assert "without seeing" in about(changed, "constant frame", "test")
    assert "needs to see" in about(changed, "constant frame", "region")


def test_without_those_rows_nothing_is_said(small: dict[str, Any]) -> None:
    assert sight_sentences(small) == [] and goal_sentences(small) == []
    assert steps_to_goal(small) is None


def test_steps_at_first_and_in_the_end_are_means_of_three_episodes(pixels: dict[str, Any]) -> None:
    changed = copy.deepcopy(pixels)
    steps = [18.0, 17.0, 16.0, *[12.0] * 6, 8.0, 7.0, 6.0]
    changed["test_sets"]["test"]["steps_to_goal"]["ad"]["mean"] = steps
    said = goal_sentences(changed)
    assert "AD needs 17.0 steps to the goal on test in its first 3 episodes and 7.00" in said[0]
    assert "on region" in said[1]


def test_page_and_table_show_all_of_it(pixels: dict[str, Any], tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path / "results.json", scored(pixels, ad_blind=0.8)))
    html = write_report(tmp_path, results).read_text()
    table = results_table(results)
    for said in (*sight_sentences(results), *goal_sentences(results)):
        assert said.replace("'", "&#39;") in html
        assert said in " ".join(table.split())
    assert "steps to the goal" in html and "to goal" in table
    assert "AD, blind" in html and "best fixed actions" in html
    assert "test set: region" in (tmp_path / "figures" / "goal.svg").read_text()


def test_the_schema_refuses_goal_steps_that_do_not_fit(pixels: dict[str, Any]) -> None:
    validate(pixels, "these")
    twelve = pixels["steps_to_goal"]["ad"]["mean"]
    for broken in ({"mean": twelve[:-1]}, {"mean": ["many"] * 12}, {"median": twelve}):
        changed = copy.deepcopy(pixels)
        changed["test_sets"]["test"]["steps_to_goal"]["ad"] |= broken
        with pytest.raises(ResultsError, match="steps_to_goal"):
            validate(changed, "these")
