"""The books of learners: where episodes end, what they return, when a stream is done."""

from typing import Any

import numpy as np
import pytest

from adbench.collect import expert_threshold
from adbench.collect.ledger import Ledger

NOBODY_KNOWS = float("nan")


def ledger(optimum: list[float], **changes: Any) -> Ledger:
    rules: dict[str, Any] = {"episodes": 2, "max_episodes": 6, "window": 2, "share": 0.9}
    return Ledger(len(optimum), optimum=np.array(optimum), **{**rules, **changes})


def play(books: Ledger, returns: list[list[float]]) -> None:
    """Episodes of one step: one row a lane, one column an episode."""
    for step, rewards in enumerate(zip(*returns, strict=True)):
        books.note(step, np.array(rewards, np.float32), np.ones(len(rewards), bool))


def test_lanes_with_episodes_of_different_length_are_told_apart() -> None:
    books = ledger([0.0, 0.0], window=0, episodes=3, max_episodes=3)
    ends = {0: [True, False], 1: [False, False], 2: [True, True], 3: [True, True], 4: [True, True]}
    told = []
    for step, ended in ends.items():
        told.append(books.note(step, np.full(2, 1.0, np.float32), np.array(ended)).tolist())
    assert told == [[0], [], [0, 1], [0, 1], [1]]
    assert books.episode_end.tolist() == [[1, 3, 4], [3, 4, 5]]
    assert books.returns.tolist() == [[1.0, 2.0, 1.0], [3.0, 1.0, 1.0]]
    assert books.length.tolist() == [4, 5]
    assert books.done.all()


def test_a_lane_that_is_done_is_written_no_further() -> None:
    books = ledger([0.0], window=0, episodes=1, max_episodes=1)
    play(books, [[5.0, 7.0, 7.0]])
    assert books.returns.tolist() == [[5.0]]
    assert books.length.tolist() == [1]


def test_a_converged_lane_is_done_once_its_expert_episodes_are_there() -> None:
    books = ledger([10.0])
    play(books, [[1.0, 9.0, 9.0]])
    assert not books.done[0]  # good enough, but learning takes two episodes and proof two more
    books.note(3, np.array([9.0], np.float32), np.array([True]))
    assert books.done[0]


def test_a_lane_goes_on_until_its_last_episodes_are_good_enough() -> None:
    books = ledger([10.0])
    play(books, [[1.0, 1.0, 1.0, 8.0]])
    assert not books.done[0]
    play_on = [9.0, 9.0]
    for step, value in enumerate(play_on, start=4):
        books.note(step, np.array([value], np.float32), np.array([True]))
    assert books.done[0]
    assert books.finished[0] == 6


def test_a_lane_that_never_converges_is_given_up() -> None:
    books = ledger([10.0])
    play(books, [[1.0] * 6])
    assert books.done[0]
    assert books.finished[0] == 6


def test_where_nobody_knows_the_optimum_the_lanes_own_best_stands_for_it() -> None:
    books = ledger([NOBODY_KNOWS, NOBODY_KNOWS])
    play(books, [[4.0, 4.0, 4.0, 4.0], [8.0, 8.0, 1.0, 1.0]])
    assert books.done.tolist() == [True, False]


@pytest.mark.parametrize(
    ("optimum", "share", "threshold"),
    [(10.0, 0.9, 9.0), (-10.0, 0.9, -11.0), (0.0, 0.9, 0.0), (2.0, 1.0, 2.0)],
)
def test_a_cost_is_missed_by_as_much_as_a_gain(
    optimum: float, share: float, threshold: float
) -> None:
    assert expert_threshold(optimum, share) == pytest.approx(threshold)


def test_returns_that_add_up_to_the_threshold_itself_are_enough() -> None:
    books = ledger([3.0], share=0.7, window=1, episodes=1)
    seventh = np.float32(0.7) * np.float32(3.0)
    play(books, [[0.0, float(seventh)]])
    assert books.done[0]


def test_long_returns_do_not_lose_small_rewards() -> None:
    books = ledger([0.0], window=0, episodes=1, max_episodes=1)
    for step in range(20_000):
        books.note(step, np.array([0.1], np.float32), np.array([step == 19_999]))
    assert books.returns[0, 0] == pytest.approx(2000.0, rel=1e-6)
