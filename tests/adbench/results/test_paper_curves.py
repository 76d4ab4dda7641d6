"""The published curves agree with what facts say was read off them."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from adbench.paper_curves import WORLDS, PaperCurve, paper_bandit_score, paper_curves


def curve(env: str, series: str) -> PaperCurve:
    return next(each for each in paper_curves(env) if each.series == series)


@pytest.mark.parametrize(
    ("env", "episodes"),
    [
        # Episodes that AD needs to each of the returns in WORLDS (figure 4), as read off at full
        # resolution.
        ("dark-room", (112, 208, 420, 833)),
        ("dark-room-hard", (72, 200, 548)),
        ("key-to-door", (45, 153, 225, 555)),
        ("watermaze", (12, 32, 64, 127)),
    ],
)
def test_ad_reaches_its_returns_when_the_paper_says(env: str, episodes: tuple[int, ...]) -> None:
    ad = curve(env, "ad")
    for target, expected in zip(WORLDS[env].at_returns, episodes, strict=True):
        after = int(np.argmax(ad.mean >= target))
        between = slice(after - 1, after + 1)
        reached = np.interp(target, ad.mean[between], ad.episode[between])
        assert reached == pytest.approx(expected, rel=0.01, abs=2)


@pytest.mark.parametrize(
    ("env", "last"),
    [("dark-room", 16.87), ("dark-room-hard", 0.964), ("key-to-door", 1.983), ("watermaze", 0.998)],
)
def test_the_source_ends_where_the_paper_says(env: str, last: float) -> None:
    assert curve(env, "source").mean[-5:].mean() == pytest.approx(last, rel=0.02)


def test_the_source_is_one_stream_not_the_sum_of_all_actors() -> None:
    # All 100 actors together take 3540 episodes to a return of 5, one of them 35.
    source = curve("dark-room", "source")
    assert source.episode[np.argmax(source.mean >= 5.0)] == pytest.approx(36, abs=3)
    assert "one of 100 actors" in source.label


def test_curves_run_forward_from_the_first_episode() -> None:
    for env in WORLDS:
        for each in paper_curves(env):
            assert (np.diff(each.episode) >= 0).all(), each.label
            assert 1.0 <= each.episode[0] < 2.2, each.label


def test_bandit_scores_are_figure_3s() -> None:
    assert [paper_bandit_score("bandit", t, "ad") for t in ("odd", "even", "uniform")] == [
        0.98,
        0.83,
        0.87,
    ]
    assert paper_bandit_score("bandit", "odd", "source") is None
    assert paper_bandit_score("other", "odd", "ad") is None


def test_worlds_that_are_not_the_papers_have_no_curves() -> None:
    assert paper_curves("cart-pole") == ()
    assert paper_curves("bandit") == ()


def test_what_ships_is_under_100_kilobytes() -> None:
    data = files("adbench") / "data" / "paper_curves.csv"
    assert len(data.read_bytes()) < 100_000
