from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adbench.config import METHODS, RunConfig
from adbench.errors import ResultsError
from adbench.results import Facts, Training, build_results, read_results, validate, write_results
from adbench.results_file import plain, schema

Run = Callable[..., dict[str, Any]]

# As the design states schema 1; others may be added, none of these may go.
FIELDS = {
    "schema", "preset", "env", "seeds", "split", "device", "versions", "commit", "stage_seconds",
    "throughput", "updates", "tokens", "optimal_return", "random_return", "curves", "task_ids",
    "per_task", "scores", "test_sets", "data_efficiency", "threads", "command",
}  # fmt: skip


def test_results_hold_every_field_of_schema_1(results: dict[str, Any]) -> None:
    assert set(results) >= FIELDS
    assert results["schema"] == 1
    assert set(results["curves"]["ad"]) == {
        "episode", "mean", "ci_low", "ci_high", "iqm", "n", "env_steps",
    }  # fmt: skip
    assert set(results["scores"]["ad"]) >= {
        "final_mean", "auc", "worst_quarter_mean", "share_under_half", "episodes_to_50",
        "episodes_to_90",
    }  # fmt: skip
    assert set(results["data_efficiency"]) >= {
        "vs_source_single_stream", "vs_source_total", "at_returns", "subsampling_k",
        "source_privileged",
    }  # fmt: skip
    assert set(results["stage_seconds"]) == {"collect", "train", "evaluate", "report"}
    assert set(results["throughput"]) == {
        "collect_env_steps_per_s", "train_tokens_per_s", "evaluate_env_steps_per_s",
    }  # fmt: skip


def test_what_is_written_is_read_back(small: dict[str, Any], tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", small)
    assert read_results(path) == small
    assert read_results(tmp_path) == small
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_equal_roll_outs_give_an_equal_file(make_run: Run, tmp_path: Path) -> None:
    first, second = (write_results(tmp_path / name, make_run(seeds=(0, 1))) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_rows_come_in_one_order_and_those_not_run_are_absent(make_run: Run) -> None:
    some = make_run(methods=("source", "ad"), seeds=(0,))
    assert list(some["curves"]) == ["ad", "source", "random", "optimal"]
    assert set(some["updates"]) == {"ad"}


def test_episodes_count_from_1_on_one_axis(results: dict[str, Any]) -> None:
    for curve in results["curves"].values():
        assert curve["episode"] == list(range(1, 51))
    assert results["full_curves"]["source"]["episode"] == list(range(1, 141))
    assert results["curves"]["ad"]["env_steps"][-1] == 50 * 20


def test_per_task_returns_are_what_the_curve_averages(results: dict[str, Any]) -> None:
    per_task = np.array(results["per_task"]["ad"])
    assert per_task.shape == (3, 16, 50)
    np.testing.assert_allclose(
        per_task.mean(axis=(0, 1)), results["curves"]["ad"]["mean"], rtol=1e-5
    )
    assert results["curves"]["ad"]["n"][0] == 3 * 16 * 4
    assert np.array(results["task_ids"]).shape == (3, 16)


def test_intervals_hold_their_curve(results: dict[str, Any]) -> None:
    curve = results["curves"]["ad"]
    low, mean, high = (np.array(curve[key]) for key in ("ci_low", "mean", "ci_high"))
    assert (low < mean).all()
    assert (mean < high).all()
    assert results["intervals"]["over"] == "seeds and tasks"


def test_one_seed_has_intervals_over_tasks_and_says_so(make_run: Run) -> None:
    one = make_run(seeds=(4,))
    assert one["intervals"]["over"] == "tasks"
    assert one["curves"]["ad"]["ci_low"][0] is not None


def test_one_seed_and_one_task_have_no_interval(make_run: Run) -> None:
    one = make_run(seeds=(0,), num_tasks=1)
    assert one["intervals"]["over"] == "nothing"
    assert one["curves"]["ad"]["ci_low"] == [None] * 50
    assert one["scores"]["ad"]["final_mean_interval"] is None
    assert one["differences"]["ed"]["final"]["ci_low"] is None


def test_the_first_test_set_is_also_at_the_top(bandit_results: dict[str, Any]) -> None:
    assert list(bandit_results["test_sets"]) == ["odd", "even", "uniform"]
    assert bandit_results["headline"] == "odd"
    odd = bandit_results["test_sets"]["odd"]
    for field in ("curves", "per_task", "scores", "task_ids", "differences", "optimal_return"):
        assert bandit_results[field] == odd[field]
    assert bandit_results["split"]["test"] == bandit_results["split"]["odd"]
    assert len(set(bandit_results["split"]["even"]) & set(bandit_results["split"]["odd"])) == 0


def test_a_pull_is_an_episode_of_one_step(bandit_results: dict[str, Any]) -> None:
    curve = bandit_results["curves"]["ad"]
    assert curve["env_steps"] == curve["episode"]


def test_returns_at_which_the_paper_can_be_compared_are_among_the_absolute_ones(
    dark_room_results: dict[str, Any],
) -> None:
    at = [each["return"] for each in dark_room_results["data_efficiency"]["at_returns"]]
    assert {5.0, 10.0, 13.0, 14.0} <= set(at)


def test_updates_and_tokens_are_those_of_one_seed(results: dict[str, Any]) -> None:
    assert results["updates"] == dict.fromkeys(("ad", "ed", "ad-shuffled"), 1000)
    assert len(set(results["tokens"].values())) == 1


def test_every_null_score_has_its_reason(results: dict[str, Any]) -> None:
    for score in results["scores"].values():
        nulls = {
            key for key, value in score.items() if value is None and not key.endswith("_interval")
        }
        assert nulls == set(score["reasons"])
    efficiency = results["data_efficiency"]
    for form in ("vs_source_single_stream", "vs_source_total"):
        for share, value in efficiency[form].items():
            assert (value is None) == (f"{form}.{share}" in efficiency["reasons"])


def test_the_configuration_can_be_read_back_as_one(results: dict[str, Any]) -> None:
    assert RunConfig.parse(results["config"]).env == "fake"


def test_nothing_evaluated_gives_no_results(make_run: Run) -> None:
    from adbench_envs.dark_room import DarkRoom

    with pytest.raises(ResultsError, match="nothing was evaluated yet"):
        build_results(
            RunConfig(env="dark-room"),
            {},
            family=DarkRoom(),
            facts=Facts(device="cpu", threads=1, command="adbench"),
            training={("ad", 0): Training(1, 1)},
        )


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ResultsError, match="nan"):
        plain({"x": [1.0, float("nan")]})
    with pytest.raises(ResultsError, match="inf"):
        plain({"x": np.array([1.0, np.inf])})
    with pytest.raises(ResultsError, match="object"):
        plain({"x": object()})


def test_plain_keeps_shapes_and_rounds_to_what_float32_carries() -> None:
    assert plain(np.array([[1 / 3, 2.0], [0.0, 1e-9]])) == [[0.3333333, 2.0], [0.0, 1e-9]]
    assert plain((np.int32(3), True, None, "x")) == [3, True, None, "x"]
    assert plain(np.zeros((2, 0))) == [[], []]


# Planted faults: what is done to good results, and what must be said of it.


def _unknown_field(results: dict[str, Any]) -> None:
    results["colour"] = "blue"


def _unknown_method(results: dict[str, Any]) -> None:
    results["scores"]["dad"] = results["scores"]["ad"]


def _lost_field(results: dict[str, Any]) -> None:
    del results["random_return"]


def _word_for_a_number(results: dict[str, Any]) -> None:
    results["curves"]["ad"]["mean"][3] = "much"


def _null_in_a_curve(results: dict[str, Any]) -> None:
    results["test_sets"]["test"]["curves"]["ad"]["mean"][3] = None


def _short_list(results: dict[str, Any]) -> None:
    results["curves"]["ad"]["iqm"].pop()


def _lost_task(results: dict[str, Any]) -> None:
    results["per_task"]["ad"][0].pop()


def _lost_episode(results: dict[str, Any]) -> None:
    results["test_sets"]["test"]["per_task"]["ad"][1][2].pop()


def _no_seeds(results: dict[str, Any]) -> None:
    results["seeds"] = []


def _word_deep_in_per_task(results: dict[str, Any]) -> None:
    results["per_task"]["ad"][2][3][11] = "much"


FAULTS: dict[Callable[[dict[str, Any]], None], str] = {
    _unknown_field: "colour",
    _unknown_method: "dad",
    _lost_field: "random_return",
    _word_for_a_number: "much",
    _null_in_a_curve: "test_sets",
    _short_list: r"curves.ad: lists of unequal length",
    _lost_task: r"per_task.ad is not \[seeds\]\[tasks\]\[episodes\]",
    _lost_episode: r"test_sets.test.per_task.ad is not",
    _no_seeds: "seeds",
    _word_deep_in_per_task: "much",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_results_that_break_the_schema_are_refused_in_and_out(
    small: dict[str, Any], fault: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    broken = copy.deepcopy(small)
    fault(broken)
    path = tmp_path / "results.json"
    with pytest.raises(ResultsError, match=FAULTS[fault]):
        write_results(path, broken)
    assert list(tmp_path.iterdir()) == []
    path.write_text(json.dumps(broken))
    with pytest.raises(ResultsError, match=FAULTS[fault]) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_a_failed_write_keeps_what_was_there(small: dict[str, Any], tmp_path: Path) -> None:
    path = write_results(tmp_path / "results.json", small)
    broken = copy.deepcopy(small)
    _lost_field(broken)
    with pytest.raises(ResultsError):
        write_results(path, broken)
    assert read_results(path) == small


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ('{"schema": 1,', "damaged"),
        ("[1, 2]", "no field 'schema'"),
        ('"results"', "no field 'schema'"),
        ("{}", "no field 'schema'"),
        ('{"schema": 2}', "schema 2; this adbench reads schema 1"),
        ('{"schema": "1"}', "schema '1'"),
        ('{"schema": true}', "schema True"),
        ('{"schema": 1, "random_return": NaN}', "NaN is not a number"),
        ('{"schema": 1}', "required property"),
        ("[" * 100_000, "damaged"),
    ],
)
def test_a_file_that_is_no_results_file_is_refused_by_name(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00results")
    with pytest.raises(ResultsError, match="damaged"):
        read_results(tmp_path)


def test_a_run_without_results_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="adbench report"):
        read_results(tmp_path)


def test_the_schema_is_itself_sound_and_knows_every_method() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())
    assert schema()["$defs"]["method"]["enum"] == list(METHODS)
    assert FIELDS <= set(schema()["required"])


def test_validation_says_where(small: dict[str, Any]) -> None:
    broken = copy.deepcopy(small)
    broken["scores"]["ad"]["final_mean"] = "good"
    with pytest.raises(ResultsError, match=r"here: \$.scores.ad.final_mean"):
        validate(broken, "here")


def test_validation_names_the_place_in_a_long_list(small: dict[str, Any]) -> None:
    broken = copy.deepcopy(small)
    _word_deep_in_per_task(broken)
    with pytest.raises(ResultsError, match=r"here: \$.per_task.ad\[2\]\[3\]\[11\]: 'much'"):
        validate(broken, "here")
