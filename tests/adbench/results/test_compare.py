from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.compare import compare, comparison_table
from adbench.errors import ResultsError, UsageError
from adbench.report.numbers import fixed
from adbench.results import write_results

Run = Callable[..., dict[str, Any]]
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, small: dict[str, Any]) -> Put:
    """A run's folder with small results, changed as asked."""

    def _put(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        write_results(folder / "results.json", {**small, **changes})
        return folder

    return _put


def test_scores_stand_side_by_side(put: Put, small: dict[str, Any]) -> None:
    first, second = put("first"), put("second")
    found = compare([first, second])
    assert [run["folder"] for run in found["runs"]] == [str(first), str(second)]
    ad = found["runs"][1]["test_sets"]["test"]["ad"]
    assert ad["final_mean"] == small["scores"]["ad"]["final_mean"]
    text = comparison_table(found)
    line = next(line for line in text.splitlines() if line.startswith("ad "))
    assert line.split().count(fixed(ad["final_mean"])) == 2
    assert "first" in text.splitlines()[0]
    json.dumps(found, allow_nan=False)


def test_equal_runs_differ_in_nothing_and_warn_of_nothing(put: Put) -> None:
    found = compare([put("a"), put("b")])
    assert found["differing"] == {}
    assert found["warnings"] == []
    assert "differing" not in comparison_table(found)


def test_differing_fields_are_named_with_every_value(put: Put, small: dict[str, Any]) -> None:
    config = json.loads(json.dumps(small["config"]))
    config["train"]["updates"] = 77
    config["source"]["settings"] = {"trace": 0.5}
    found = compare([put("a"), put("b", config=config), put("c")])
    updates = small["config"]["train"]["updates"]
    assert found["differing"] == {
        "source.settings.trace": [None, 0.5, None],
        "train.updates": [updates, 77, updates],
    }
    assert "train.updates" in comparison_table(found)


def test_another_environment_is_refused_with_both_names(put: Put) -> None:
    with pytest.raises(UsageError, match="different environments") as error:
        compare([put("a"), put("b", env="bandit")])
    assert "fake (version 3)" in str(error.value)
    assert "bandit (version 3)" in str(error.value)


def test_another_version_of_the_environment_is_refused(put: Put) -> None:
    with pytest.raises(UsageError, match="stopped being comparable"):
        compare([put("a"), put("b", env_version=4)])


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"device": "cuda: NVIDIA H200"}, "the machine"),
        ({"threads": 7}, "the machine"),
        ({"commit": "fedcba"}, "the code's commit"),
        ({"versions": {"adbench": "0.2.0"}}, "versions"),
        ({"optimal_estimated": True}, "estimate"),
    ],
)
def test_what_makes_runs_hard_to_compare_is_a_warning(
    put: Put, change: dict[str, Any], warning: str
) -> None:
    found = compare([put("a"), put("b", **change)])
    assert len(found["warnings"]) == 1
    assert warning in found["warnings"][0]
    assert f"warning: {found['warnings'][0]}" in comparison_table(found)


def test_other_tasks_other_episodes_and_other_seeds_are_warnings(
    put: Put, make_run: Run, tmp_path: Path
) -> None:
    other = make_run(num_tasks=5, episodes=9, seeds=(0, 1), resamples=20)
    folder = tmp_path / "other"
    folder.mkdir()
    write_results(folder / "results.json", other)
    found = compare([put("a"), folder])
    text = " ".join(found["warnings"])
    assert "not on the same tasks" in text
    assert "evaluate.episodes" in text
    assert "number of seeds" in text


def test_a_row_that_one_run_lacks_is_an_empty_place(
    put: Put, make_run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    few = make_run(num_tasks=4, episodes=12, methods=("ad",), resamples=20)
    write_results(folder / "results.json", few)
    text = comparison_table(compare([put("a"), folder]))
    line = next(line for line in text.splitlines() if line.startswith("ed "))
    assert line.rstrip().endswith("–")


def test_folders_of_one_name_are_told_apart_by_their_parents(put: Put) -> None:
    found = compare([put("x/run"), put("y/run")])
    heading = comparison_table(found).splitlines()[0]
    assert "x/run" in heading
    assert "y/run" in heading


def test_one_run_or_the_same_twice_is_no_comparison(put: Put) -> None:
    folder = put("a")
    with pytest.raises(UsageError, match="two or more"):
        compare([folder])
    with pytest.raises(UsageError, match="twice"):
        compare([folder, folder])


def test_a_folder_without_results_is_named(put: Put, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="nowhere"):
        compare([put("a"), tmp_path / "nowhere"])
