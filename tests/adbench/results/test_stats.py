from __future__ import annotations

import math

import numpy as np
import pytest

from adbench import stats
from adbench.errors import ResultsError
from adbench.stats import Floats, Resamples, draw_resamples


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


def test_lanes_are_averaged_within_their_task() -> None:
    lanes = np.array([[1.0, 10.0], [3.0, 20.0], [7.0, 70.0]])
    means = stats.task_means(lanes, np.array([1, 1, 0]), 2)
    assert means.tolist() == [[7.0, 70.0], [2.0, 15.0]]


def test_a_task_with_more_lanes_counts_no_more_than_another() -> None:
    lanes = np.array([[0.0], [0.0], [0.0], [1.0]])
    means = stats.task_means(lanes, np.array([0, 0, 0, 1]), 2)
    assert stats.mean(means.T[:, None, :]).tolist() == [0.5]


def test_a_task_without_a_lane_is_refused_by_number() -> None:
    with pytest.raises(ResultsError, match=r"tasks without a lane: \[1\]"):
        stats.task_means(np.ones((2, 3)), np.array([0, 2]), 3)


def test_a_lane_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(ResultsError, match="highest task index: 2"):
        stats.task_means(np.ones((3, 3)), np.array([0, 1, 2]), 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_return_that_is_no_number_is_refused_with_its_place(bad: float) -> None:
    values = np.ones((2, 3))
    values[1, 2] = bad
    with pytest.raises(ResultsError, match=f"lane 1 has the value {bad} at episode 3"):
        stats.task_means(values, np.array([0, 1]), 2)


def test_random_scores_0_and_optimal_1_on_every_task() -> None:
    random, optimal = np.array([[1.0, -2.0]]), np.array([[3.0, 8.0]])
    assert stats.normalise(random, random, optimal).tolist() == [[0.0, 0.0]]
    assert stats.normalise(optimal, random, optimal).tolist() == [[1.0, 1.0]]
    assert stats.normalise(np.array([[2.0, 0.0]]), random, optimal).tolist() == [[0.5, 0.2]]


def test_normalising_task_by_task_is_not_normalising_the_mean() -> None:
    random, optimal = np.array([[0.0, 0.0]]), np.array([[1.0, 99.0]])
    returns = np.array(
        [[1.0, 0.0]]
    )  # one task solved, one not: 0.5, although 1 of 100 returns was earned
    assert stats.mean(stats.normalise(returns, random, optimal)) == 0.5


def test_a_task_without_room_between_random_and_optimal_has_no_score() -> None:
    room = stats.has_room(np.array([1.0, 1.0, 1.0, 1000.0]), np.array([1.0, 0.5, 1.1, 1000.0001]))
    assert room.tolist() == [False, False, True, False]


def test_the_worst_quarter_is_taken_in_each_seed() -> None:
    # Seed 0: worst of four is 0; seed 1: worst of four is 3.
    scores = np.array([[0.0, 9.0, 9.0, 9.0], [3.0, 9.0, 9.0, 9.0]])
    assert stats.worst_quarter_mean(scores) == 1.5


@pytest.mark.parametrize(("tasks", "worst"), [(1, 0.0), (4, 0.0), (5, 0.5), (8, 0.5), (9, 1.0)])
def test_a_quarter_is_rounded_up_to_whole_tasks(tasks: int, worst: float) -> None:
    scores = np.arange(tasks, dtype=float)[None, ::-1]
    assert stats.worst_quarter_mean(scores) == worst


def test_exactly_half_is_not_under_half() -> None:
    assert stats.share_under_half(np.array([[0.49, 0.5, 0.51, 1.0]])) == 0.25


def test_iqm_drops_the_lowest_and_highest_quarter_of_all_seeds_together() -> None:
    scores = np.array([[100.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, -100.0]])
    assert stats.iqm(scores) == np.mean([2.0, 3.0, 4.0, 5.0])  # sorted: -100 1 | 2 3 4 5 | 6 100
    assert (
        stats.iqm(np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])) == 2.5
    )  # floor(6 / 4) = 1 at either end
    assert stats.iqm(np.array([[7.0]])) == 7.0


def test_statistics_reduce_the_last_two_axes_only() -> None:
    scores = rng().normal(size=(4, 3, 8))
    for statistic in (stats.mean, stats.worst_quarter_mean, stats.share_under_half, stats.iqm):
        each = [float(statistic(one)) for one in scores]
        assert statistic(scores).tolist() == pytest.approx(each)


@pytest.mark.parametrize(
    ("episodes", "first"), [(1, 0), (5, 4), (10, 9), (11, 9), (50, 45), (100, 90), (1000, 900)]
)
def test_the_last_tenth_is_rounded_up_to_whole_episodes(episodes: int, first: int) -> None:
    assert list(range(episodes))[stats.last_tenth(episodes)] == list(range(first, episodes))


def test_a_target_is_reached_at_the_last_episode_of_the_first_window_whose_mean_reaches_it() -> (
    None
):
    curve = np.array([0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 4.0, 4.0])
    assert stats.first_reaching(curve, 1.0, window=5) == 5  # (0 + 0 + 5 + 0 + 0) / 5
    assert stats.first_reaching(curve, 1.5, window=5) == 9  # (0 + 0 + 0 + 4 + 4) / 5
    assert stats.first_reaching(curve, 1.61, window=5) == 0
    assert stats.first_reaching(curve, 5.0, window=1) == 3


def test_a_constant_at_the_target_has_reached_it() -> None:
    assert stats.first_reaching(np.full(7, 0.1), 0.1, window=5) == 5


def test_fewer_episodes_than_a_window_reach_nothing() -> None:
    assert stats.first_reaching(np.full(4, 9.0), 1.0, window=5) == 0
    assert stats.first_reaching(np.full((3, 0), 9.0), np.zeros(3), window=5).tolist() == [0, 0, 0]


def test_each_curve_is_held_against_its_own_target() -> None:
    curves = np.array([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    assert stats.first_reaching(curves, np.array([1.0, 3.0]), window=1).tolist() == [2, 4]


def test_resamples_draw_tasks_of_the_seed_that_was_drawn() -> None:
    scores = np.array([[0.0, 1.0, 2.0], [100.0, 101.0, 102.0]])
    drawn = draw_resamples(2, 3, rng(), resamples=50).take(scores)
    assert drawn.shape == (50, 2, 3)
    of_seed_1 = drawn >= 100
    assert (of_seed_1.all(axis=-1) | ~of_seed_1.any(axis=-1)).all()
    assert of_seed_1.any()
    assert not of_seed_1.all()


@pytest.mark.parametrize(("seeds", "tasks"), [(1, 1), (1, 7), (3, 1), (4, 9)])
def test_means_by_weights_equal_means_of_what_was_drawn(seeds: int, tasks: int) -> None:
    values = rng(1).normal(size=(seeds, tasks, 5))
    drawn = draw_resamples(seeds, tasks, rng(2), resamples=40)
    picked = values[drawn.seeds[:, :, None], drawn.tasks]
    np.testing.assert_allclose(drawn.means(values), picked.mean(axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(drawn.weights.sum(axis=1), 1.0, rtol=1e-12)


def test_equal_generators_give_equal_intervals_and_others_do_not() -> None:
    scores = rng(3).normal(size=(3, 16))

    def interval(seed: int) -> tuple[float, float] | None:
        return stats.score_interval(scores, stats.iqm, draw_resamples(3, 16, rng(seed)))

    assert interval(5) == interval(5)
    assert interval(5) != interval(6)


def test_drawing_touches_no_global_generator() -> None:
    before = str(np.random.get_state())
    draw_resamples(3, 4, rng())
    assert str(np.random.get_state()) == before


@pytest.mark.parametrize(
    ("seeds", "tasks", "over"),
    [(3, 4, "seeds and tasks"), (1, 4, "tasks"), (3, 1, "seeds"), (1, 1, "nothing")],
)
def test_what_was_resampled_is_said(seeds: int, tasks: int, over: str) -> None:
    assert draw_resamples(seeds, tasks, rng(), resamples=5).over == over


def test_one_seed_and_one_task_have_no_interval() -> None:
    drawn = draw_resamples(1, 1, rng(), resamples=5)
    assert stats.score_interval(np.array([[0.5]]), stats.mean, drawn) is None
    assert stats.curve_interval(np.array([[[0.5, 0.6]]]), drawn) is None


def test_one_seed_resamples_its_tasks() -> None:
    scores = np.array([[0.0, 1.0]])
    drawn = draw_resamples(1, 2, rng(), resamples=4000)
    means = drawn.means(scores)
    # Two draws of two tasks: 0 a quarter of the time, 1 a quarter, one half else; 4 sigma of a
    # count is 0.03.
    for value, share in ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25)):
        assert np.mean(means == value) == pytest.approx(share, abs=0.03)


def test_an_interval_holds_the_middle_95_percent() -> None:
    low, high = stats.interval(np.arange(0.0, 1001.0))
    assert [float(low), float(high)] == pytest.approx([25.0, 975.0])


def test_without_spread_the_interval_is_a_point() -> None:
    drawn = draw_resamples(2, 5, rng())
    assert stats.score_interval(np.full((2, 5), 0.25), stats.mean, drawn) == pytest.approx(
        (0.25, 0.25)
    )


def test_a_paired_difference_is_sure_where_two_separate_intervals_overlap() -> None:
    # Tasks differ by 10, the methods by 0.5 on each task: only pairing shows it.
    theirs = 10.0 * np.arange(16.0)[None] + np.zeros((3, 1))
    ours = theirs + 0.5
    drawn = draw_resamples(3, 16, rng())
    difference, low_high = stats.paired_difference(ours, theirs, drawn)
    assert difference == 0.5
    assert low_high == pytest.approx((0.5, 0.5))
    ours_low, _ = stats.score_interval(ours, stats.mean, drawn) or (0.0, 0.0)
    _, theirs_high = stats.score_interval(theirs, stats.mean, drawn) or (0.0, 0.0)
    assert ours_low < theirs_high


def test_a_share_between_two_rows_is_a_ratio_of_means() -> None:
    zero, one = np.array([[0.0, 0.0]]), np.array([[1.0, 3.0]])
    assert stats.share_between(np.array([[1.0, 0.0]]), zero, one) == 0.25  # mean of ratios: 0.5
    assert math.isnan(stats.share_between(one, zero, zero))


COVERED = {1: 0.91, 3: 0.77, 5: 0.86}
"""Share of 95 % intervals that hold the truth, measured with 3,000 trials (docs/statistics.md)."""

STRAY = 0.09
"""400 trials stray from a share of 0.77 by 4 standard errors of 0.021."""


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_intervals_cover_as_often_as_the_docs_say(seeds: int) -> None:
    assert coverage(seeds, trials=400, draw=rng(10 + seeds)) == pytest.approx(
        COVERED[seeds], abs=STRAY
    )


def coverage(
    seeds: int, *, trials: int, draw: np.random.Generator, tasks: int = 16, of_seeds: float = 0.3
) -> float:
    """How often the interval holds the mean that endless seeds and tasks would have.

    Scores spread by 0.3 over tasks and by `of_seeds` over seeds. With one seed the truth is that
    seed's mean over endless tasks.
    """
    held = 0
    for _ in range(trials):
        of_seed = draw.normal(0.0, of_seeds, (seeds, 1))
        truth = 0.0 if seeds > 1 else float(of_seed[0, 0])
        scores: Floats = of_seed + draw.normal(0.0, 0.3, (seeds, tasks))
        drawn: Resamples = draw_resamples(seeds, tasks, draw, resamples=400)
        low, high = stats.score_interval(scores, stats.mean, drawn) or (0.0, 0.0)
        held += low <= truth <= high
    return held / trials
