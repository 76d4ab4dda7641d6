from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adbench.data_efficiency import (
    Stream,
    Target,
    compare_with_sources,
    ratio,
    ratio_interval,
    round_returns,
    share_targets,
)
from adbench.stats import Resamples, draw_resamples


def resamples(seeds: int = 1, tasks: int = 2) -> Resamples:
    return draw_resamples(seeds, tasks, np.random.Generator(np.random.Philox(key=0)), resamples=200)


def stream(
    name: str, curve: list[float], *, steps: float | list[float] = 20.0, tasks: int = 2
) -> Stream:
    """One seed whose tasks all do the same."""
    returns = np.tile(np.array(curve), (1, tasks, 1))
    return Stream(
        name, returns, np.broadcast_to(np.array(steps), returns.shape), resamples(1, tasks)
    )


def at(value: float) -> Target:
    return Target(value, value)


def ramp(per_episode: float, episodes: int) -> list[float]:
    return [per_episode * episode for episode in range(episodes)]


def test_steps_are_those_of_all_episodes_up_to_the_end_of_the_window() -> None:
    reaching = stream("ad", [0, 0, 0, 0, 0, 10, 10, 10, 10, 10])
    assert reaching.episodes_to(at(4.0)) == 7  # 0 0 0 10 10
    assert reaching.steps_to(at(4.0)) == 140.0
    assert reaching.steps_to(at(10.0)) == 200.0


def test_episodes_of_unequal_length_count_their_own_steps() -> None:
    reaching = stream("ad", [0, 0, 0, 0, 10, 10], steps=[50, 50, 40, 30, 20, 10])
    assert reaching.steps_to(at(2.0)) == 190.0
    assert reaching.steps_to(at(4.0)) == 200.0


def test_five_episodes_are_the_fewest() -> None:
    assert stream("ad", [10.0] * 9).steps_to(at(1.0)) == 100.0
    few = stream("ad", [10.0] * 4)
    assert few.steps_to(at(1.0)) is None
    assert few.why_not(at(1.0)) == "ad played 4 episodes, fewer than the 5 that are averaged"


def test_what_is_never_reached_has_a_reason_with_both_numbers() -> None:
    never = stream("source", [1.0] * 30)
    assert never.steps_to(at(2.0)) is None
    assert never.why_not(at(2.0)) == (
        "source never reached a 5-episode mean return of 2 in its 30 episodes "
        "(600 environment steps)"
    )
    assert never.why_not(at(1.0)) is None


def test_the_curve_is_that_of_all_lanes_not_of_the_tasks_one_by_one() -> None:
    # One task is solved at once, the other never: the mean of 5 is under 6 although one task is
    # over it.
    returns = np.zeros((1, 2, 10))
    returns[:, 0] = 10.0
    both = Stream("ad", returns, np.full(returns.shape, 20.0), resamples())
    assert both.steps_to(at(5.0)) == 100.0
    assert both.steps_to(at(6.0)) is None


def test_a_method_that_needs_half_the_steps_has_a_ratio_of_2() -> None:
    slow, fast = stream("source", ramp(1.0, 60)), stream("ad", ramp(1.0, 60), steps=10.0)
    assert ratio(slow, fast, at(20.0)) == (2.0, None)
    assert ratio_interval(slow, fast, at(20.0)) == (2.0, 2.0)


def test_a_ratio_names_whoever_never_got_there() -> None:
    good, bad = stream("source", ramp(1.0, 60)), stream("ad", [0.0] * 60)
    assert ratio(good, bad, at(20.0)) == (None, bad.why_not(at(20.0)))
    assert ratio(bad, good, at(20.0)) == (None, bad.why_not(at(20.0)))
    value, why = ratio(bad, bad, at(20.0))
    assert value is None
    assert str(why).count("never reached") == 2


def test_a_bound_is_open_where_resamples_never_get_there() -> None:
    # Two tasks, of which one is never learnt: a quarter of the draws hold that one twice.
    half = np.zeros((1, 2, 40))
    half[:, 0] = 10.0
    whole = np.full((1, 2, 40), 10.0)
    steps = np.full(whole.shape, 20.0)
    drawn = resamples()
    sometimes, always = Stream("a", half, steps, drawn), Stream("b", whole, steps, drawn)
    assert ratio_interval(always, sometimes, at(5.0)) == (None, 1.0)
    assert ratio_interval(sometimes, always, at(5.0)) == (1.0, None)
    assert ratio_interval(sometimes, sometimes, at(5.0)) == (None, None)


def test_of_one_seed_and_one_task_there_is_no_interval() -> None:
    one = stream("ad", ramp(1.0, 60), tasks=1)
    assert one.steps_to(at(10.0)) is not None
    assert ratio_interval(one, one, at(10.0)) == (None, None)


def test_copying_keeps_every_kth_episode_and_counts_their_steps_alone() -> None:
    copied = stream("source", ramp(1.0, 20), steps=ramp(2.0, 20)).every(5)
    assert copied.curve.tolist() == [4.0, 9.0, 14.0, 19.0]
    assert copied.total_steps.tolist() == [8.0, 26.0, 54.0, 92.0]


def test_copying_every_kth_episode_is_about_k_times_as_fast() -> None:
    source = stream("source", ramp(0.01, 2000))
    for k in (2, 5, 10):
        value, _ = ratio(source, source.every(k), at(15.0))
        assert value == pytest.approx(k, rel=0.02)  # the five episodes that are averaged lie wider


def test_targets_lie_between_random_and_optimal_of_the_tasks_at_hand() -> None:
    random, optimal = np.array([[0.0, 2.0]]), np.array([[10.0, 20.0]])
    targets = share_targets(random, optimal, resamples())
    assert {key: target.value for key, target in targets.items()} == {
        "50": 8.0,
        "90": pytest.approx(13.6),
    }
    # Whoever draws the easier task alone must get half of 10, the harder one alone half way from 2
    # to 20.
    draws = targets["50"].draws
    assert isinstance(draws, np.ndarray)
    assert set(draws.round(9).tolist()) == {5.0, 8.0, 11.0}


def compared(
    streams: dict[str, Stream], *, k: int = 5, actors: int = 1, returns: tuple[float, ...] = ()
) -> dict[str, Any]:
    shape = (1, 2)
    targets = share_targets(np.zeros(shape), np.full(shape, 20.0), resamples())
    return compare_with_sources(streams, targets, subsample=k, actors=actors, at_returns=returns)


SOURCE = stream("source", ramp(0.2, 300))
BEST = stream("source-best", ramp(0.4, 300))
AD = stream("ad", ramp(1.0, 100))


def test_the_headline_is_against_the_best_source() -> None:
    record = compared({"ad": AD, "source": SOURCE, "source-best": BEST})
    assert record["against"] == "source-best"
    # AD's 5-episode mean is 10 at episode 13 (means of 8 to 12), the best source's at 28, the
    # source's at 53.
    assert record["steps"]["ad"]["50"] == 13 * 20
    assert record["vs_source_single_stream"]["50"] == pytest.approx(28 / 13)
    assert record["by_source"]["source"]["vs_source_single_stream"]["50"] == pytest.approx(53 / 13)


def test_without_a_best_source_the_headline_is_against_the_source() -> None:
    assert compared({"ad": AD, "source": SOURCE})["against"] == "source"


def test_copying_is_of_the_distilled_source_whichever_source_it_is_set_against() -> None:
    record = compared({"ad": AD, "source": SOURCE, "source-best": BEST})
    # Every 5th episode of a ramp of 0.2 from 0: 0.8, 1.8, 2.8 ...: its 5-episode mean is 10.8 at
    # number 13.
    copied = 13 * 20
    assert SOURCE.every(5).steps_to(at(10.0)) == copied
    assert record["by_source"]["source"]["copying_ratio"]["50"] == pytest.approx(53 * 20 / copied)
    assert record["by_source"]["source-best"]["copying_ratio"]["50"] == pytest.approx(
        28 * 20 / copied
    )


def test_in_total_steps_the_actors_of_one_network_count_together() -> None:
    record = compared({"ad": AD, "source": SOURCE}, actors=100)
    single = record["vs_source_single_stream"]
    assert record["vs_source_total"] == {key: 100 * value for key, value in single.items()}
    assert record["reasons"] == {}


def test_independent_learners_have_no_total_and_the_reason_is_there() -> None:
    record = compared({"ad": AD, "source": SOURCE}, actors=1)
    assert record["vs_source_total"] == {"50": None, "90": None}
    assert "independent" in record["reasons"]["vs_source_total.50"]


def test_at_absolute_returns_the_same_numbers_are_given() -> None:
    record = compared({"ad": AD, "source": SOURCE}, actors=100, returns=(10.0, 1e6))
    reached, never = record["at_returns"]
    assert reached["return"] == 10.0
    assert (reached["steps"], reached["source_steps"]) == (13 * 20, 53 * 20)
    assert reached["ratio_single"] == pytest.approx(53 / 13)
    assert reached["ratio_total"] == pytest.approx(5300 / 13)
    assert reached["reason"] is None
    assert never["ratio_single"] is None
    assert never["ratio_total"] is None
    assert "never reached" in never["reason"]


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ({"source": SOURCE}, "no ad row was run"),
        ({"ad": AD}, "no source row was run"),
    ],
)
def test_without_one_of_the_two_every_number_is_null_with_the_reason(
    streams: dict[str, Stream], reason: str
) -> None:
    record = compared(streams, returns=(10.0,))
    assert record["vs_source_single_stream"] == {"50": None, "90": None}
    assert set(record["reasons"].values()) == {reason}
    assert len(record["reasons"]) == 4
    assert record["at_returns"] == []


def test_without_an_optimum_there_are_no_targets_but_absolute_returns() -> None:
    record = compare_with_sources(
        {"ad": AD, "source": SOURCE}, {}, subsample=1, actors=1, at_returns=(10.0,)
    )
    assert record["targets"] == {"50": None, "90": None}
    assert set(record["reasons"].values()) == {"the optimal return is not known"}
    assert record["at_returns"][0]["ratio_single"] is not None


@pytest.mark.parametrize(
    ("random", "optimal", "extra", "expected"),
    [
        (0.25, 16.5, (5.0, 10.0, 13.0, 14.0), [2.5, 5.0, 7.5, 10.0, 12.5, 13.0, 14.0, 15.0]),
        (0.04, 1.0, (0.2, 0.4, 0.6), [0.2, 0.4, 0.6, 0.8]),
        (0.25, 2.0, (), [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]),
        (-250.0, -110.0, (), [-240.0, -220.0, -200.0, -180.0, -160.0, -140.0, -120.0]),
        (3.0, 3.0, (), []),
        (3.0, 2.0, (2.5,), []),
    ],
)
def test_round_returns_lie_between_random_and_optimal(
    random: float, optimal: float, extra: tuple[float, ...], expected: list[float]
) -> None:
    assert round_returns(random, optimal, extra) == expected
