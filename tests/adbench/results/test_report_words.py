"""What the page says in words and numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from adbench.report import results_table, words
from adbench.report.numbers import bounds, fixed, large, ordinal, percent, seconds, short

Run = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0"), (0.8451, "0.845"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"),
        (99999.0, "99999"), (-0.5, "-0.500"), (17, "17"), (9.999, "10.00"),
    ],
)  # fmt: skip
def test_short_numbers(value: float | None, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.845, "0.84"), (-0.001, "0.00"), (-0.01, "-0.01"), (7.0, "7.00")],
)
def test_fixed_numbers_have_no_minus_nought(value: float | None, text: str) -> None:
    assert fixed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (1000, "1,000"), (99_999, "99,999"), (123_456, "123 k"),
     (26_880_000, "26.9 M"), (3.2e9, "3.20 G")],
)  # fmt: skip
def test_large_numbers(value: float | None, text: str) -> None:
    assert large(value) == text


def test_other_numbers() -> None:
    assert percent(0.126) == "13 %"
    assert percent(None) == "–"
    assert bounds((0.41, 0.534)) == "[0.41, 0.53]"
    assert bounds((None, 2.0)) == "[–, 2.00]"
    assert bounds((None, None)) == bounds(None) == ""
    assert [seconds(s) for s in (None, 4.21, 370.0, 59.99, 7500)] == [
        "–", "4.21 s", "6 min 10 s", "60.0 s", "2 h 05 min",
    ]  # fmt: skip
    assert [ordinal(k) for k in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
    ]  # fmt: skip


def test_the_terminal_table_has_a_line_a_row_with_its_numbers(results: dict[str, Any]) -> None:
    text = results_table(results)
    ad = next(line for line in text.splitlines() if line.startswith("ad "))
    score = results["scores"]["ad"]
    for number in (fixed(score["final_mean"]), fixed(score["auc"]), str(score["episodes_to_50"])):
        assert number in ad.split()
    assert bounds(score["final_mean_interval"]) in ad
    assert "26.9 M" in ad
    for method in results["scores"]:
        assert any(line.startswith(f"{method} ") for line in text.splitlines())
    assert text.isprintable() or "\n" in text
    assert "\x1b" not in text


def test_the_terminal_table_says_what_ad_gains_over_each_row_at_episode_20(
    results: dict[str, Any],
) -> None:
    line = next(
        line
        for line in results_table(results).splitlines()
        if line.startswith("ad minus ad-shuffled")
    )
    at_20 = next(
        each
        for each in results["differences"]["ad-shuffled"]["at_episodes"]
        if each["episode"] == 20
    )
    assert f"episode 20: {fixed(at_20['mean'])} " in line
    assert bounds((at_20["ci_low"], at_20["ci_high"])) in line


def test_an_incomplete_row_is_named(results: dict[str, Any]) -> None:
    lacking = results | {"incomplete": {"ed": [1, 2]}}
    assert "ed is left out: not evaluated yet with seed 1, 2" in results_table(lacking)


def test_the_summary_says_where_ad_begins_and_ends(results: dict[str, Any]) -> None:
    text = words.summary(results)
    at = results["scores"]["ad"]["at_episodes"]
    assert "16 tasks that it has never seen" in text
    assert short(at[0]["return"]) in text
    assert short(at[-1]["return"]) in text
    assert percent(at[-1]["share_of_optimal"]) in text
    assert "with its best settings" in text


def test_intervals_are_explained_with_their_limits(make_run: Run, results: dict[str, Any]) -> None:
    assert "With 3 seeds they tend to be too narrow" in words.intervals(results)
    one = make_run(seeds=(0,), num_tasks=3, episodes=5, methods=("ad",), resamples=20)
    assert "say nothing of how another training run would turn out" in words.intervals(one)
    alone = make_run(seeds=(0,), num_tasks=1, episodes=5, methods=("ad",), resamples=20)
    assert "no intervals" in words.intervals(alone)
    five = make_run(seeds=(0, 1, 2, 3, 4), num_tasks=2, episodes=5, methods=("ad",), resamples=20)
    assert "narrow" not in words.intervals(five)


def test_both_forms_of_data_efficiency_are_said_with_their_caveats(make_run: Run) -> None:
    together = make_run(actors=100, facts={"source_privileged": True})
    text = " ".join(words.data_efficiency_sentences(together))
    record = together["data_efficiency"]
    for share in ("50", "90"):
        assert fixed(record["vs_source_single_stream"][share]) in text
        assert short(record["vs_source_total"][share]) in text
        assert fixed(record["by_source"]["source-best"]["copying_ratio"][share]) in text
    assert "every 5th episode" in text
    assert "100 actors that share one network" in text
    assert "sees what the agent does not" in text
    assert "456 k environment steps (of 2.74 M collected)" in text
    assert "mean of 5 neighbouring episodes" in text


def test_what_does_not_apply_is_not_said(make_run: Run) -> None:
    alone = make_run(subsample=1, methods=("ad", "source"), seeds=(0,), resamples=50)
    text = " ".join(words.data_efficiency_sentences(alone))
    assert "the learners are independent" in text
    assert "sees what the agent does not" not in text
    assert "on every episode of the histories" in text
    assert "better ones may need fewer steps" in text
    assert "copying" not in "".join(words.data_efficiency_lines(alone))


def test_a_target_that_was_never_reached_is_said_with_the_reason(make_run: Run) -> None:
    short_run = make_run(episodes=10, source_episodes=140, seeds=(0,), resamples=50)
    record = short_run["data_efficiency"]
    assert record["vs_source_single_stream"]["90"] is None
    text = " ".join(words.data_efficiency_sentences(short_run))
    assert "no ratio, because ad never reached" in text
    lines = words.data_efficiency_lines(short_run)
    assert "none (ad never reached" in " ".join(lines) and max(map(len, lines)) <= 100


def test_lines_below_several_tables_name_the_test_set_they_are_of(
    bandit_results: dict[str, Any], results: dict[str, Any]
) -> None:
    headline = bandit_results["headline"]
    lines = words.difference_lines(bandit_results)
    assert lines and all(f" on {headline}, return at episode" in line for line in lines)
    assert words.data_efficiency_lines(bandit_results)[0].startswith(
        f"data efficiency on {headline}, steps of source"
    )
    assert " on " not in "".join(words.difference_lines(results))


@pytest.mark.parametrize("missing", ["ad", "source"])
def test_without_ad_or_a_source_there_is_nothing_to_compare(make_run: Run, missing: str) -> None:
    methods = tuple(name for name in ("ad", "source") if name != missing)
    one = make_run(methods=methods, seeds=(0,), num_tasks=2, episodes=6, resamples=20)
    assert len(words.data_efficiency_sentences(one)) == 1
    assert words.data_efficiency_lines(one) == []


def test_an_estimated_optimum_is_marked(results: dict[str, Any]) -> None:
    estimated = copy.deepcopy(results)
    estimated["test_sets"]["test"]["optimal_estimated"] = True
    assert "estimated" in results_table(estimated)


def test_the_page_says_what_is_seen_and_what_the_encoder_learnt_beside(
    results: dict[str, Any],
) -> None:
    assert words.sight(results) is None
    seen = copy.deepcopy(results)
    seen["config"]["env_settings"] = {"height": 32, "width": 24, "samples": 4}
    assert words.sight(seen) == "32 x 24 pixels, 4 samples a pixel, read by the encoder 'patch'"
    seen["config"]["train"] |= {"auxiliary": "inverse-dynamics", "auxiliary_weight": 0.5}
    told = words.sight(seen)
    assert told is not None and told.endswith("which also learnt inverse-dynamics (weight 0.500)")
