"""What a context-length study says: its points, its sentences, its page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adbench import plugins
from adbench.evaluate import Rollout
from adbench.noise import generator
from adbench.results import Facts, Training, build_results
from adbench.suite import context_page
from adbench.suite.cells import Cell
from adbench.suite.context_plan import Planned, plan
from adbench.suite.context_points import study_record
from adbench.suite.context_words import (
    intervals_sentence,
    paper_sentence,
    pays_sentences,
    shared_sentence,
)
from adbench.suite.paper_context import paper_lengths

STUDY = """
preset = "smoke"
seeds = [0, 1, 2]
exact = [10, 20, 40]
banded = [20, 40]
tokens_per_update = 80
updates = 40000
[settings.tasks]
test = 6
[settings.evaluate]
episodes = 30
"""
EPISODES, EPISODE_STEPS = 30, 20

Level = Callable[[str, int], float]
"""Final score of a series at a length."""


def rising(series: str, length: int) -> float:
    """Of exact, longer pays up to 20; of banded always."""
    return {10: 0.3, 20: 0.8}.get(length, 0.8) if series == "exact" else length / 50


def results_of(cell: Cell, level: float, *, measured: bool = True) -> dict[str, Any]:
    """Results of a run whose AD climbs to a final score, and whose source learns everything."""
    config = cell.config
    family = plugins.family_of(config)
    tasks = family.tasks("test", config.tasks.test, seed=config.tasks.split_seed)
    low, high = family.random_return(tasks).numpy(), family.optimal_return(tasks)
    assert high is not None
    room = high.numpy() - low
    played = {}
    for method, end, count in (("ad", level, EPISODES), ("source", 1.0, 2 * EPISODES)):
        draw = generator("context", method, cell.seed, cell.context_steps or 0, cell.series)
        score = end * np.minimum(1.0, np.arange(count) / (8 if method == "ad" else 30))
        noise = draw.normal(0.0, 0.01, (len(tasks), count))
        returns = low[:, None] + room[:, None] * (score + noise)
        played[method, cell.seed, "test"] = Rollout(
            returns=torch.from_numpy(returns.astype(np.float32)),
            lengths=torch.full(returns.shape, EPISODE_STEPS, dtype=torch.int32),
            task_index=torch.arange(len(tasks)),
            tasks=tasks,
            about={},
        )
    steps, bytes_ = cell.context_steps or 1, 10**8
    facts: dict[str, Any] = {"device": "cpu", "threads": 1, "command": "adbench run"}
    if measured:
        facts |= {
            "stage_seconds": {"train": 60.0, "evaluate": 5.0 + cell.seed},
            "throughput": {
                "train_tokens_per_s": 1e6 / steps + cell.seed,
                "evaluate_env_steps_per_s": 1e5 / steps,
            },
            "peak_memory_bytes": {
                "process": {"train": bytes_ * steps, "evaluate": bytes_},
                "gpu": {},
            },
        }
    return build_results(
        config,
        played,
        family=family,
        facts=Facts(**facts),
        training={("ad", cell.seed): Training(updates=40_000, tokens=3_200_000)},
        resamples=200,
    )


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    file = tmp_path_factory.mktemp("study") / "mine.toml"
    file.write_text(STUDY)
    return plan("dark-room", file=file, device="cpu")


def record_of(planned: Planned, level: Level, **how: Any) -> dict[str, Any]:
    results = {
        cell: results_of(cell, level(cell.series, cell.context_steps or 0))
        for cell in planned.cells
    }
    return study_record(planned, results, episode_steps=EPISODE_STEPS, **how)


@pytest.fixture(scope="module")
def record(planned: Planned) -> dict[str, Any]:
    return record_of(planned, rising)


def point(record: Mapping[str, Any], series: str, length: int) -> dict[str, Any]:
    (found,) = (
        p for p in record["points"] if (p["series"], p["context_steps"]) == (series, length)
    )
    return dict(found)


def test_there_is_a_point_for_each_length_with_all_seeds(record: dict[str, Any]) -> None:
    found = [(p["series"], p["context_steps"]) for p in record["points"]]
    assert found == [
        ("exact", 10), ("exact", 20), ("exact", 40), ("banded", 20), ("banded", 40),
    ]  # fmt: skip
    assert all(p["seeds"] == [0, 1, 2] for p in record["points"])
    assert record["missing"] == [] and record["failed"] == []


def test_a_points_numbers_are_those_of_its_runs(record: dict[str, Any]) -> None:
    at = point(record, "exact", 20)
    assert at["final_score"] == pytest.approx(0.8, abs=0.02)
    low, high = at["final_score_interval"]
    assert low < at["final_score"] < high
    assert at["train_tokens_per_s"] == {"mean": 50_001, "low": 50_000, "high": 50_002}
    assert at["evaluate_peak_bytes"]["mean"] == 10**8
    assert at["train_peak_bytes"]["mean"] == 20 * 10**8 and at["train_peak_gpu_bytes"] is None
    assert at["reach_steps"] == 20 and point(record, "banded", 20)["reach_steps"] == 2 * 19 + 1
    assert at["context_episodes"] == pytest.approx(20 / 21)
    # The source needs some 15 episodes to half way, AD with 0.8 some 5.
    assert at["vs_source_single_stream"]["50"] > 1.5
    assert at["vs_source_single_stream"]["90"] is None and at["steps_to"]["90"] is None
    assert "never reached" in at["reasons"]["vs_source_single_stream.90"]
    assert at["vs_source_total"]["50"] is None


def test_longer_stops_paying_where_no_longer_one_is_better_beyond_the_interval(
    record: dict[str, Any],
) -> None:
    exact, banded = record["pays"]["exact"], record["pays"]["banded"]
    assert exact["at"] == 20 and not exact["longest"]
    assert exact["worth"]["over"] == 10 and exact["worth"]["better"]
    assert [gain["better"] for gain in exact["gains"]] == [False]
    assert banded["at"] == 40 and banded["longest"]
    first, second, third = pays_sentences(record)
    assert first.startswith("exact: longer stops paying at c = 20 (0.952 episodes of 20 steps)")
    assert "c = 40, differs by" in first
    assert second == "c = 40 trains 2.00 times slower and acts 2.00 times slower than c = 20."
    assert third.startswith(
        "banded: up to W = 40 (1.90 episodes of 20 steps; its 2 layers reach 79 back), the longest "
        "tried, longer still pays: it gives a final score of 0.80, 0.40 ["
    )


def test_where_every_length_does_the_same_the_shortest_is_enough(planned: Planned) -> None:
    flat = record_of(planned, lambda series, length: 0.5)
    assert flat["pays"]["exact"]["at"] == 10 and flat["pays"]["banded"]["at"] == 20
    assert "stops paying at c = 10" in pays_sentences(flat)[0]


def test_a_study_that_is_not_finished_shows_what_there_is(planned: Planned) -> None:
    exact = [cell for cell in planned.cells if cell.series == "exact" and cell.seed < 2]
    results = {cell: results_of(cell, 0.5, measured=False) for cell in exact}
    failed = {planned.cells[-1].name: "out of luck"}
    part = study_record(planned, results, failed=failed, episode_steps=EPISODE_STEPS)
    assert len(part["missing"]) == len(planned.cells) - len(exact)
    assert all(p["train_tokens_per_s"] is None for p in part["points"])
    page = context_page.render(part, None)
    assert "out of luck" in page and "Not finished yet" in page
    nothing = study_record(planned, {}, episode_steps=EPISODE_STEPS)
    assert nothing["points"] == [] and nothing["pays"] == {}
    assert "No run is finished yet" in pays_sentences(nothing)[0]


def test_the_exact_series_alone_is_set_beside_the_paper_and_only_in_its_world(
    record: dict[str, Any],
) -> None:
    assert not record["same_world_as_paper"]
    said = paper_sentence(record)
    assert "another world (Key-to-Door" in said and "axis of episodes" in said
    same = record | {"same_world_as_paper": True, "env": "key-to-door"}
    said = paper_sentence(same)
    ours = point(record, "exact", 20)["final_return"]
    assert f"c = 20: {ours:.2f}" in said and "paper 0.54" in said
    assert "c = 200" not in said and "banded series is not" in said
    lengths = [each.context_steps for each in paper_lengths()]
    assert lengths == [20, 30, 40, 50, 100, 200]
    returns = [each.final_return for each in paper_lengths()]
    assert (
        returns == sorted(returns) and 0 < paper_lengths()[0].score < paper_lengths()[-1].score < 1
    )


def test_the_page_opens_without_a_network_and_escapes_what_it_is_told(
    record: dict[str, Any], tmp_path: Path
) -> None:
    told = record | {"failed": [{"run": "<script>", "why": "x"}], "missing": ["a run"]}
    files = context_page.write(tmp_path, told)
    page = files["page"].read_text()
    assert set(files) == {"page", "figure", "json", "csv"}
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(?!#|data:)', page) and "@import" not in page
    assert all(sentence.split(",")[0] in page for sentence in pays_sentences(record))
    assert shared_sentence(record) in page and intervals_sentence(record) in page
    assert "79" in page  # the reach of W = 40
    assert json.loads(files["json"].read_text()) == told
    assert files["figure"].read_text().lstrip().startswith("<?xml")


def test_equal_records_give_equal_figures_and_the_papers_world_another(
    record: dict[str, Any],
) -> None:
    from adbench.suite.context_figure import figure

    assert figure(record) == figure(json.loads(json.dumps(record)))
    assert figure(record) != figure(record | {"same_world_as_paper": True})


def test_the_csv_has_a_line_a_point_and_the_same_numbers(record: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(context_page.as_csv(record))))
    assert tuple(rows[0]) == context_page.COLUMNS and len(rows) == len(record["points"])
    at = point(record, "exact", 10)
    assert float(rows[0]["final_score"]) == at["final_score"]
    assert [float(rows[0][f"final_score_{end}"]) for end in ("low", "high")] == at[
        "final_score_interval"
    ]
    assert rows[0]["seeds"] == "0 1 2" and rows[0]["vs_source_single_stream_90"] == ""
    assert float(rows[0]["train_tokens_per_s_high"]) == at["train_tokens_per_s"]["high"]


def test_intervals_say_what_they_are_over(record: dict[str, Any]) -> None:
    assert "over seeds and tasks" in intervals_sentence(record)
    assert "shared the machine" not in intervals_sentence(record)
    assert "2 runs shared the machine" in intervals_sentence(record | {"runs_at_once": 2})
