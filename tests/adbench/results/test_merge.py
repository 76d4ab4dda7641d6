"""Seeds that were run one by one, put together again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench.errors import ResultsError, UsageError
from adbench.results_file import write_results
from adbench.suite.leaderboard import leaderboard
from adbench.suite.merge import STATISTICS, Piece, World, merge
from adbench.suite.pieces import join_copies, read_worlds
from adbench.suite.standing import at_equal_steps, data_efficiency

Run = Callable[..., dict[str, Any]]

SEVEN_DIGITS = 2e-6
"""Relative: results.json rounds returns to seven digits, which means keep."""
NEAR_NOUGHT = 1e-6
"""Absolute, where scores cancel: half a unit of the seventh digit of a return of 10, of a score's
unit of 9, on both sides."""

SEEDS = (0, 1, 2)
SMALL = {"num_tasks": 9, "episodes": 30, "source_episodes": 60, "resamples": 100}


def whole(results: dict[str, Any], path: str = "a") -> Piece:
    return Piece(path, results, tuple(results["seeds"]))


@pytest.fixture(scope="module")
def together(make_run: Run) -> dict[str, Any]:
    return make_run(seeds=SEEDS, **SMALL)


@pytest.fixture(scope="module")
def apart(make_run: Run) -> list[dict[str, Any]]:
    return [make_run(seeds=(seed,), **SMALL) for seed in SEEDS]


def about(expected: Any) -> Any:
    return pytest.approx(expected, rel=SEVEN_DIGITS, abs=NEAR_NOUGHT)


def same_numbers(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (None if value is None else about(value)), key


def merged(*results: dict[str, Any], name: str = "fake") -> World:
    return merge([whole(each, f"{i}") for i, each in enumerate(results)], name=name)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_single_seeds_together_say_what_one_run_of_all_says(
    together: dict[str, Any], apart: list[dict[str, Any]], order: tuple[int, ...]
) -> None:
    world = merged(*(apart[i] for i in order))
    record = leaderboard([world])["worlds"][0]
    assert record["seeds"] == list(SEEDS) and record["intervals_over"] == "seeds and tasks"
    assert set(record["rows"]) == set(together["scores"])
    for method, row in record["rows"].items():
        theirs = together["scores"][method]
        assert world.lanes[method] == together["curves"][method]["n"][0]
        for name in (*STATISTICS, "final_return"):
            assert row[name] == about(theirs[name]), (method, name)
            interval = theirs[f"{name}_interval"]
            assert row[f"{name}_interval"] == (None if interval is None else about(interval)), (
                method,
                name,
            )


def test_a_run_of_two_seeds_and_one_of_one_do_too(
    make_run: Run, together: dict[str, Any], apart: list[dict[str, Any]]
) -> None:
    world = merged(make_run(seeds=(0, 1), **SMALL), apart[2])
    row = leaderboard([world])["worlds"][0]["rows"]["ad"]
    assert row["final_mean_interval"] == pytest.approx(
        together["scores"]["ad"]["final_mean_interval"], rel=SEVEN_DIGITS
    )
    assert data_efficiency(world)["interval_over"] == "nothing"  # a file has but the mean of two


def test_data_efficiency_of_single_seeds_is_that_of_one_run(
    together: dict[str, Any], apart: list[dict[str, Any]]
) -> None:
    found, theirs = data_efficiency(merged(*apart)), together["data_efficiency"]
    assert found["against"] == theirs["against"] and found["reasons"] == theirs["reasons"]
    for key in ("vs_source_single_stream", "targets"):
        same_numbers(found[key], theirs[key])
    for name, steps in theirs["steps"].items():
        same_numbers(found["steps"][name], steps)
    best = found["by_source"]["source-best"]
    same_numbers(best["copying_ratio"], theirs["by_source"]["source-best"]["copying_ratio"])
    low, high = best["single_stream_interval"]["50"]
    assert low <= found["vs_source_single_stream"]["50"] <= high
    assert found["interval_over"] == "seeds"


def test_a_whole_run_keeps_its_own_data_efficiency(together: dict[str, Any]) -> None:
    found = data_efficiency(merged(together))
    assert found.items() >= together["data_efficiency"].items()
    assert found["interval_over"] == "seeds and tasks"


def test_some_seeds_of_a_run_are_those_alone(
    together: dict[str, Any], apart: list[dict[str, Any]]
) -> None:
    world = merge([Piece("a", together, (2, 0))], name="fake")
    assert world.seeds == (0, 2)
    expected = merged(apart[0], apart[2])
    for method in together["scores"]:
        np.testing.assert_allclose(world.returns[method], expected.returns[method], rtol=1e-6)


def test_copies_of_one_file_are_one_piece(together: dict[str, Any], apart: Any) -> None:
    copies = [Piece(f"{seed}", copy.deepcopy(together), (seed,)) for seed in SEEDS]
    (one,) = join_copies(copies)
    assert one.seeds == SEEDS and one.path == "0"
    assert len(join_copies([*copies, whole(apart[0])])) == 2


def test_files_of_different_tasks_are_not_put_together(apart: list[dict[str, Any]]) -> None:
    other = copy.deepcopy(apart[1])
    other["task_ids"][0][0] += 1
    with pytest.raises(ResultsError, match=r"0 and 1 .* different tasks"):
        merged(apart[0], other)
    other = copy.deepcopy(apart[1]) | {"env_version": 4}
    with pytest.raises(ResultsError, match="env_version is 3 and 4"):
        merged(apart[0], other)


def test_a_row_that_some_seeds_lack_is_left_out_and_named(
    make_run: Run, apart: list[dict[str, Any]]
) -> None:
    short = make_run(seeds=(1,), methods=("ad", "source"), **SMALL)
    world = merged(apart[0], short)
    assert world.incomplete["ed"] == [1] and "ed" not in world.returns
    assert any("ed is left out" in each for each in leaderboard([world])["warnings"])


def test_without_the_ends_of_the_scale_there_are_no_scores(apart: list[dict[str, Any]]) -> None:
    bare = copy.deepcopy(apart[0])
    for record in (bare, bare["test_sets"]["test"]):
        for kind in ("per_task", "curves", "scores"):
            del record[kind]["optimal"]
    record = leaderboard([merged(bare)])
    assert record["tables"][0]["rows"][0]["final_mean"] is None
    assert any("no normalised scores" in each for each in record["warnings"])


# AD and its source with equally many steps.


def by_hand(
    ad: list[float], source: list[float], *, ad_steps: int = 10, source_steps: int = 10,
    kept: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What stands in results of two tasks that both earned the same."""

    def curve(returns: list[float], steps: int) -> dict[str, Any]:
        count = len(returns)
        return {
            "mean": returns, "n": [4] * count,
            "env_steps": [steps * (i + 1.0) for i in range(count)],
            "ci_low": [each - 2.0 for each in returns], "ci_high": [each + 2.0 for each in returns],
        }  # fmt: skip

    episodes = len(ad)
    kept = episodes if kept is None else kept
    return {
        "env": "fake", "env_version": 1, "headline": "test", "seeds": [0],
        "task_ids": [[0, 1]], "intervals": {"resamples": 50},
        "config": {"evaluate": {"episodes": episodes}},
        "per_task": {"ad": [[ad, ad]], "source": [[source[:kept], source[:kept]]]},
        "curves": {"ad": curve(ad, ad_steps), "source": curve(source[:kept], source_steps)},
        "full_curves": {"source": curve(source, source_steps)},
    }  # fmt: skip


RISING = [float(i) for i in range(1, 21)]


@pytest.mark.parametrize(
    ("ours", "theirs", "ad", "source", "verdict"),
    [
        (RISING, [0.5] * 20, 19.5, 0.5, "won"),
        (RISING, [30.0] * 40, 19.5, 30.0, "lost"),
        (RISING, RISING, 19.5, 19.5, "undecided"),
    ],
)
def test_last_tenths_are_compared(
    ours: list[float], theirs: list[float], ad: float, source: float, verdict: str
) -> None:
    found = at_equal_steps(merged(by_hand(ours, theirs)))
    assert (found["ad"], found["source"], found["steps"]) == (ad, source, 200.0)
    assert found["verdict"] == verdict and found["difference"] == pytest.approx(ad - source)


def test_episodes_of_the_source_that_end_within_the_same_steps_are_compared() -> None:
    # AD's last two of 20 episodes span steps 180 to 200: number 37 to 40 of 5 steps each.
    source = [float(i) for i in range(1, 61)]
    found = at_equal_steps(merged(by_hand(RISING, source, source_steps=5, kept=60)))
    assert found["source"] == np.mean([37, 38, 39, 40])
    # Of 150 steps: the second is the one that lies over all of them.
    found = at_equal_steps(merged(by_hand(RISING, source, source_steps=150, kept=60)))
    assert found["source"] == 2.0


@pytest.mark.parametrize(("above", "verdict"), [(0.0, "lost"), (17.0, "undecided"), (25.0, "won")])
def test_what_results_do_not_keep_task_by_task_has_a_wider_interval(
    above: float, verdict: str
) -> None:
    ours, source = [each + above for each in RISING], [float(i) for i in range(1, 61)]
    found = at_equal_steps(merged(by_hand(ours, source, source_steps=5, kept=20)))
    difference = 19.5 + above - np.mean([37, 38, 39, 40])
    assert found["paired"] is False and found["difference"] == difference
    assert found["interval"] == [difference - 4.0, difference + 4.0]
    assert found["verdict"] == verdict


def test_steps_are_counted_to_where_the_first_of_the_two_stopped() -> None:
    found = at_equal_steps(merged(by_hand(RISING, RISING[:12])))
    assert (found["steps"], found["ad"], found["source"]) == (120.0, 11.5, 11.5)
    none = at_equal_steps(merged(by_hand(RISING, [1.0], source_steps=5)))
    assert none["verdict"] is None and "before the end of AD's first episode" in none["reason"]


# From files to worlds.


def stored(folder: Path, results: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    return write_results(folder / "results.json", results)


def test_files_of_one_world_become_one(tmp_path: Path, apart: list[dict[str, Any]]) -> None:
    paths = [stored(tmp_path / f"{i}", each) for i, each in enumerate(apart)]
    paths.append(stored(tmp_path / "copy", apart[0]))
    other = copy.deepcopy(apart[0]) | {"command": "another time"}
    paths.append(stored(tmp_path / "other", other))
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{}")
    found = read_worlds([*paths, damaged])
    assert [world.seeds for world in found.worlds] == [SEEDS] and found.refused
    assert [path for path, _ in found.left_out] == [str(damaged), str(paths[-1])]
    assert "seed 0 is shown from" in found.left_out[1][1]


def test_results_of_another_schema_are_refused(tmp_path: Path, apart: list[dict[str, Any]]) -> None:
    path = stored(tmp_path / "a", apart[0])
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2', 1))
    with pytest.raises(ResultsError, match="schema 2; this adbench reads schema 1"):
        read_worlds([path])


def test_context_lengths_become_tables_of_their_own(
    tmp_path: Path, apart: list[dict[str, Any]]
) -> None:
    longer = copy.deepcopy(apart[0])
    longer["config"]["train"]["window_steps"] = 77
    paths = [stored(tmp_path / "a", apart[0]), stored(tmp_path / "b", longer)]
    found = read_worlds(paths)
    assert [world.context_steps for world in found.worlds] == [77, 420]
    tables = leaderboard(found.worlds)["tables"]
    assert [table["context_steps"] for table in tables] == [77, 420]


def test_one_world_with_different_settings_cannot_stand_on_one_page(
    tmp_path: Path, apart: list[dict[str, Any]]
) -> None:
    other = copy.deepcopy(apart[1])
    other["config"]["train"]["updates"] = 5
    paths = [stored(tmp_path / "a", apart[0]), stored(tmp_path / "b", other)]
    with pytest.raises(UsageError, match=r"train\.updates: 1000 and 5"):
        read_worlds(paths)
    # A field that came later has its default in older files.
    older = copy.deepcopy(apart[1])
    del older["config"]["train"]["auxiliary"]
    paths[1].write_text("")
    write_results(paths[1], older)
    assert read_worlds(paths).worlds[0].seeds == (0, 1)
