"""Roll-outs become rows: averaged as they should be, refused where they do not fit together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from adbench.errors import ResultsError
from adbench.rows import Baseline, HeldOut, gather, number, task_ids
from adbench.scores import held_out_record, milestones


@dataclass(frozen=True)
class Played:
    returns: Any
    lengths: Any
    task_index: Any
    tasks: Any


def played(
    returns: list[list[float]], index: list[int], *, tasks: int = 2, steps: int = 20
) -> Played:
    """Lanes' returns by episode, and the task of each."""
    values = torch.tensor(returns)
    lengths = torch.full(values.shape, steps, dtype=torch.int32)
    return Played(values, lengths, torch.tensor(index), torch.arange(tasks))


def held_out(
    rollouts: dict[tuple[str, int], Played],
    *,
    random: list[float] | None = None,
    optimal: list[float] | None = None,
    seeds: tuple[int, ...] = (0,),
    episodes: int = 2,
) -> HeldOut:
    base = Baseline(random or [0.0, 0.0], optimal)
    return gather(
        "test",
        rollouts,
        dict.fromkeys(seeds, base),
        methods=("random", "optimal"),
        episodes=episodes,
        generator=np.random.Generator(np.random.Philox(key=0)),
        resamples=100,
    )


def test_lanes_then_tasks_then_seeds_are_averaged() -> None:
    rollouts = {
        ("ad", 0): played([[0.0, 0.0], [4.0, 4.0], [8.0, 8.0]], [0, 0, 1]),  # tasks: 2 and 8
        ("ad", 1): played([[1.0, 3.0], [1.0, 3.0]], [0, 1]),
    }
    record = held_out_record(held_out(rollouts, optimal=[10.0, 10.0], seeds=(0, 1)))
    assert record["curves"]["ad"]["mean"].tolist() == [(5.0 + 1.0) / 2, (5.0 + 3.0) / 2]
    assert record["curves"]["ad"]["n"] == [5, 5]
    assert record["per_task"]["ad"].tolist() == [[[2.0, 2.0], [8.0, 8.0]], [[1.0, 3.0], [1.0, 3.0]]]


def test_environment_steps_add_up_episode_by_episode() -> None:
    lanes = played([[0.0, 1.0], [0.0, 1.0]], [0, 1])
    uneven = replace(lanes, lengths=torch.tensor([[10, 30], [20, 40]]))
    record = held_out_record(held_out({("ad", 0): uneven}, optimal=[1.0, 1.0]))
    assert record["curves"]["ad"]["env_steps"].tolist() == [15.0, 50.0]


def test_random_and_optimal_repeat_their_constant_and_have_no_interval() -> None:
    rollouts = {("ad", 0): played([[0.0, 1.0], [0.0, 1.0]], [0, 1])}
    record = held_out_record(held_out(rollouts, random=[1.0, 3.0], optimal=[5.0, 7.0]))
    curve = record["curves"]["random"]
    assert curve["mean"].tolist() == [2.0, 2.0]
    assert curve["ci_low"] == [None, None]
    assert curve["env_steps"] == [None, None]
    assert curve["n"] == [0, 0]
    assert record["curves"]["optimal"]["mean"].tolist() == [6.0, 6.0]
    assert (record["random_return"], record["optimal_return"]) == (2.0, 6.0)
    optimal = record["scores"]["optimal"]
    assert (optimal["final_mean"], optimal["share_under_half"], optimal["auc"]) == (1.0, 0.0, 1.0)
    assert optimal["final_mean_interval"] is None
    assert "not rolled out" in optimal["reasons"]["episodes_to_50"]


def test_scores_of_a_row_that_can_be_worked_out_by_hand() -> None:
    # 20 episodes: the last tenth is the last two. Task 0 goes from 0 to 10 of 10, task 1 stays at
    # 2 of 0 to 4.
    first = [0.0] * 18 + [8.0, 10.0]
    lanes = played([first, [2.0] * 20], [0, 1])
    record = held_out_record(
        held_out({("ad", 0): lanes}, random=[0.0, 0.0], optimal=[10.0, 4.0], episodes=20)
    )
    score = record["scores"]["ad"]
    assert score["final_mean"] == pytest.approx((0.9 + 0.5) / 2)
    assert score["final_return"] == pytest.approx((9.0 + 2.0) / 2)
    assert score["worst_quarter_mean"] == 0.5
    assert score["share_under_half"] == 0.0
    assert score["auc"] == pytest.approx((18.0 / 20 / 10 + 0.5) / 2)
    # Half the way from 0 to 7 is 3.5; the last five episodes' means are (0 0 0 8 10) / 5 and 2:
    # 2.8 of both.
    assert score["episodes_to_50"] is None
    assert "never reached" in score["reasons"]["episodes_to_50"]
    last = score["at_episodes"][-1]
    assert (last["episode"], last["return"]) == (20, 6.0)
    assert last["share_of_optimal"] == pytest.approx(6.0 / 7.0)


def test_a_source_counts_its_own_episodes_and_its_full_curve_is_kept() -> None:
    long = [[float(i) for i in range(8)]] * 2
    rollouts = {
        ("ad", 0): played([[5.0, 5.0]] * 2, [0, 1]),
        ("source", 0): played(long, [0, 1]),
    }
    record = held_out_record(held_out(rollouts, optimal=[8.0, 8.0]))
    assert record["curves"]["source"]["mean"].tolist() == [0.0, 1.0]
    assert record["full_curves"]["source"]["mean"].tolist() == long[0]
    assert record["full_curves"]["source"]["episode"] == list(range(1, 9))
    assert list(record["full_curves"]) == ["source"]
    assert record["scores"]["source"]["final_return"] == 1.0  # of the first K, as the other rows
    assert record["scores"]["source"]["episodes_to_50"] == 7  # of its own: mean of 2 to 6


def test_a_source_with_fewer_episodes_than_the_others_ends_early() -> None:
    rollouts = {
        ("ad", 0): played([[1.0, 2.0, 3.0]] * 2, [0, 1]),
        ("source", 0): played([[1.0, 1.0]] * 2, [0, 1]),
    }
    record = held_out_record(held_out(rollouts, optimal=[8.0, 8.0], episodes=3))
    assert record["curves"]["source"]["episode"] == [1, 2]
    assert record["full_curves"] == {}
    difference = record["differences"]["source"]
    assert [each["episode"] for each in difference["at_episodes"]] == [1, 2]
    assert difference["final"]["mean"] == 1.0  # at episode 2, the last that both played
    assert difference["all_episodes"]["mean"] == 0.5


def test_ad_minus_another_row_is_paired_over_tasks() -> None:
    rollouts = {
        ("ad", 0): played([[1.0, 11.0], [1.0, 101.0]], [0, 1]),
        ("ed", 0): played([[1.0, 10.0], [1.0, 100.0]], [0, 1]),
    }
    record = held_out_record(held_out(rollouts, optimal=[200.0, 200.0]))
    at_2 = record["differences"]["ed"]["at_episodes"][-1]
    assert (at_2["episode"], at_2["mean"]) == (2, 1.0)
    assert (at_2["ci_low"], at_2["ci_high"]) == (1.0, 1.0)
    assert "ad" not in record["differences"]


def test_the_bandit_score_is_a_share_of_the_source_over_all_episodes() -> None:
    rollouts = {
        ("ad", 0): played([[0.0, 1.0], [0.6, 1.0]], [0, 1], steps=1),
        ("source", 0): played([[0.5, 1.0], [0.5, 1.0]], [0, 1], steps=1),
    }
    record = held_out_record(held_out(rollouts, random=[0.5, 0.3], optimal=[1.0, 1.0]))
    scores = record["scores"]
    assert scores["ad"]["share_of_source"] == pytest.approx((0.65 - 0.4) / (0.75 - 0.4))
    assert scores["source"]["share_of_source"] == 1.0
    assert scores["random"]["share_of_source"] == 0.0


def test_a_source_no_better_than_random_is_no_unit() -> None:
    rollouts = {
        ("ad", 0): played([[1.0, 1.0], [1.0, 1.0]], [0, 1]),
        ("source", 0): played([[0.0, 0.0], [0.0, 0.0]], [0, 1]),
    }
    score = held_out_record(held_out(rollouts, optimal=[1.0, 1.0]))["scores"]["ad"]
    assert score["share_of_source"] is None
    assert score["reasons"]["share_of_source"] == "the source is no better than random"


def test_tasks_without_room_are_left_out_of_scores_and_counted() -> None:
    rollouts = {("ad", 0): played([[1.0, 1.0], [0.5, 0.5]], [0, 1])}
    record = held_out_record(held_out(rollouts, random=[0.0, 1.0], optimal=[2.0, 1.0]))
    assert record["unscored_tasks"] == 1
    assert record["scores"]["ad"]["final_mean"] == 0.5
    assert record["scores"]["ad"]["final_mean_interval"] is None  # one task is left
    assert record["scores"]["ad"]["final_return"] == 0.75  # returns need no room


def test_without_any_room_scores_are_null_with_a_reason() -> None:
    rollouts = {("ad", 0): played([[1.0, 1.0], [0.5, 0.5]], [0, 1])}
    score = held_out_record(held_out(rollouts, random=[1.0, 1.0], optimal=[1.0, 1.0]))["scores"][
        "ad"
    ]
    assert score["final_mean"] is None
    for key in ("final_mean", "auc", "iqm", "worst_quarter_mean", "share_under_half"):
        assert score["reasons"][key] == "no task has room between its random and its optimal return"


def test_an_unknown_optimum_is_the_best_of_the_source_and_marked() -> None:
    # The best mean of two neighbouring episodes, since there are two: 4 and 6.
    rollouts = {
        ("ad", 0): played([[1.0, 2.0], [3.0, 6.0]], [0, 1]),
        ("source", 0): played([[4.0, 4.0], [5.0, 7.0]], [0, 1]),
    }
    record = held_out_record(held_out(rollouts))
    assert record["optimal_estimated"] is True
    assert record["optimal_return"] == 5.0
    assert record["scores"]["ad"]["final_mean"] == pytest.approx((2.0 / 4.0 + 6.0 / 6.0) / 2)


def test_without_optimum_and_source_nothing_is_normalised() -> None:
    record = held_out_record(held_out({("ad", 0): played([[1.0, 2.0], [3.0, 6.0]], [0, 1])}))
    assert record["optimal_return"] is None
    assert record["optimal_estimated"] is False
    assert "optimal" not in record["curves"]
    assert "not known" in record["scores"]["ad"]["reasons"]["final_mean"]
    assert record["scores"]["ad"]["final_return"] == 4.0


def test_a_row_that_lacks_a_seed_is_left_out_and_named() -> None:
    lanes = played([[1.0, 2.0], [3.0, 6.0]], [0, 1])
    rollouts = {("ad", 0): lanes, ("ad", 1): lanes, ("ed", 1): lanes}
    record = held_out_record(held_out(rollouts, optimal=[8.0, 8.0], seeds=(0, 1)))
    assert "ed" not in record["curves"]
    assert record["incomplete"] == {"ed": [0]}


def test_intervals_do_not_depend_on_which_rows_were_run() -> None:
    ad, ed = (played([[x, 2.0], [3.0, 6.0]], [0, 1]) for x in (1.0, 5.0))
    alone = held_out_record(held_out({("ad", 0): ad}, optimal=[8.0, 8.0]))
    together = held_out_record(held_out({("ad", 0): ad, ("ed", 0): ed}, optimal=[8.0, 8.0]))
    assert alone["scores"]["ad"] == together["scores"]["ad"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"returns": torch.ones(2, 3), "lengths": torch.ones(2, 3)},
            r"played 3 episodes; evaluate.episodes is 2",
        ),
        ({"lengths": torch.tensor([[20, 20], [20, 0]])}, r"lane 1 did not play its episode 2"),
        ({"lengths": torch.ones(2, 5)}, r"returns \(2, 2\) and lengths \(2, 5\)"),
        (
            {"returns": torch.tensor([[1.0, float("nan")], [1.0, 1.0]])},
            r"lane 0 has the value nan at episode 2",
        ),
        ({"task_index": torch.tensor([0, 0])}, r"tasks without a lane: \[1\]"),
    ],
)
def test_lanes_that_did_not_play_as_they_should_are_refused(
    change: dict[str, Any], message: str
) -> None:
    lanes = replace(played([[1.0, 1.0], [1.0, 1.0]], [0, 1]), **change)
    with pytest.raises(ResultsError, match=f"ad on test, seed 0: .*{message}"):
        held_out({("ad", 0): lanes}, optimal=[1.0, 1.0])


def test_rows_on_different_tasks_are_refused() -> None:
    lanes = played([[1.0, 1.0], [1.0, 1.0]], [0, 1])
    others = replace(lanes, tasks=lanes.tasks + 1)
    with pytest.raises(ResultsError, match="ad and ed were evaluated on different tasks"):
        held_out({("ad", 0): lanes, ("ed", 0): others}, optimal=[1.0, 1.0])


def test_seeds_with_different_numbers_of_tasks_are_refused() -> None:
    two, one = played([[1.0, 1.0]] * 2, [0, 1]), played([[1.0, 1.0]], [0], tasks=1)
    with pytest.raises(ResultsError, match=r"2 \(seed 0\), 1 \(seed 1\)"):
        held_out({("ad", 0): two, ("ad", 1): one}, optimal=[1.0, 1.0], seeds=(0, 1))


def test_a_seed_without_any_evaluation_is_named() -> None:
    lanes = played([[1.0, 1.0]] * 2, [0, 1])
    with pytest.raises(ResultsError, match="nothing was evaluated with seed 7"):
        held_out({("ad", 0): lanes}, optimal=[1.0, 1.0], seeds=(0, 7))


def test_a_family_whose_optimum_is_no_number_is_refused() -> None:
    lanes = played([[1.0, 1.0]] * 2, [0, 1])
    with pytest.raises(ResultsError, match="optimal return is not finite"):
        held_out({("ad", 0): lanes}, optimal=[1.0, float("nan")])


def test_small_tasks_are_named_by_their_numbers_and_large_ones_by_a_digest() -> None:
    assert task_ids(torch.tensor([3, 5])) == [3, 5]
    assert task_ids(torch.tensor([[3, 5], [0, 1]])) == [[3, 5], [0, 1]]
    assert task_ids(torch.tensor([[0.1, 0.25]])) == [[0.1, 0.25]]
    arms = torch.arange(20.0).reshape(2, 10)
    first, second = task_ids(arms)
    assert first != second
    assert len(first) == 16
    assert task_ids(arms) == [first, second]


def test_numbers_carry_seven_digits_and_are_finite() -> None:
    assert number(np.float32(0.1)) == 0.1
    assert number(np.int64(3)) == 3
    assert number(1 / 3) == 0.3333333
    with pytest.raises(ResultsError, match="nan"):
        number(float("nan"))


def test_milestones_are_round_episodes_and_the_last() -> None:
    assert milestones(1) == [1]
    assert milestones(20) == [1, 2, 5, 10, 15, 20]
    assert milestones(33) == [1, 2, 5, 10, 15, 20, 30, 33]
