"""The leaderboard: known answers, and files that other programs can read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from adbench.suite import export
from adbench.suite.leaderboard import leaderboard
from adbench.suite.merge import Piece, World, merge
from adbench.suite.table import leaderboard_table

Run = Callable[..., dict[str, Any]]
SMALL = {"num_tasks": 8, "episodes": 20, "source_episodes": 40, "resamples": 60}


def world_of(results: dict[str, Any], name: str) -> World:
    return merge([Piece(name, results, tuple(results["seeds"]))], name=name)


@pytest.fixture(scope="module")
def worlds(make_run: Run) -> list[World]:
    """One of three seeds, one of one seed that lacks a row."""
    rows = ("ad", "source", "source-best")
    return [
        world_of(make_run(**SMALL), "first"),
        world_of(make_run(seeds=(0,), methods=rows, **SMALL), "second"),
    ]


@pytest.fixture(scope="module")
def record(worlds: list[World]) -> dict[str, Any]:
    return leaderboard(worlds, title="mine")


def row_of(record: dict[str, Any], method: str) -> dict[str, Any]:
    (row,) = (row for row in record["tables"][0]["rows"] if row["method"] == method)
    return dict(row)


def test_every_world_counts_the_same(record: dict[str, Any]) -> None:
    each = [world["rows"]["ad"] for world in record["worlds"]]
    row = row_of(record, "ad")
    for name in ("final_mean", "worst_quarter_mean", "share_under_half", "iqm"):
        assert row[name] == pytest.approx(np.mean([world[name] for world in each]))
        low, high = row[f"{name}_interval"]
        assert low <= row[name] <= high


def test_the_interval_over_worlds_is_narrower_than_over_each(make_run: Run) -> None:
    results = make_run(seeds=tuple(range(4)), num_tasks=16, episodes=20, resamples=400)
    alone = leaderboard([world_of(results, "a")])
    many = leaderboard([world_of(results, f"{i}") for i in range(4)])

    def width(record: dict[str, Any]) -> float:
        low, high = row_of(record, "ad")["final_mean_interval"]
        return float(high - low)

    # Means of four independent worlds have half the spread; draws that went together would keep it.
    assert width(many) == pytest.approx(width(alone) / 2, rel=0.25)


def test_the_ends_of_the_scale_are_known(record: dict[str, Any]) -> None:
    assert row_of(record, "random")["final_mean"] == pytest.approx(0.0)
    assert row_of(record, "optimal")["final_mean"] == pytest.approx(1.0)
    assert row_of(record, "optimal")["final_mean_interval"] is None


def test_rows_are_sorted_but_those_of_some_worlds_come_after(record: dict[str, Any]) -> None:
    order = [row["method"] for row in record["tables"][0]["rows"]]
    assert order[-2:] == ["random", "optimal"] or order[-2:] == ["optimal", "random"]
    whole = [row["final_mean"] for row in record["tables"][0]["rows"] if len(row["worlds"]) == 2]
    assert whole[:3] == sorted(whole[:3], reverse=True)
    assert order.index("ed") > order.index("ad") and row_of(record, "ed")["worlds"] == ["first"]


def test_one_seed_says_that_its_interval_is_over_tasks(record: dict[str, Any]) -> None:
    (said,) = (each for each in record["warnings"] if "one seed" in each)
    assert said.startswith("second: one seed. The interval is over tasks only")
    assert any("first has 3" in each for each in record["warnings"])
    assert record["tables"][0]["intervals_over"] == ["seeds and tasks", "tasks"]


def test_other_machines_versions_and_commits_are_told(make_run: Run) -> None:
    other = {
        "device": "cuda: a card", "threads": 1, "commit": "f" * 40, "versions": {"torch": "1"},
    }  # fmt: skip
    pair = [world_of(make_run(**SMALL), "a"), world_of(make_run(facts=other, **SMALL), "b")]
    said = " ".join(leaderboard(pair)["warnings"])
    for word in ("machines or devices", "threads", "versions", "commits"):
        assert f"different {word}" in said or word in said
    assert "different" not in " ".join(leaderboard(pair[:1])["warnings"])


def test_ratios_have_a_mean_only_if_every_world_has_one(
    worlds: list[World], record: dict[str, Any]
) -> None:
    each = [w["data_efficiency"]["vs_source_single_stream"]["50"] for w in record["worlds"]]
    found = record["tables"][0]["data_efficiency"]["vs_source_single_stream"]["50"]
    assert found["geometric_mean"] == pytest.approx(np.exp(np.mean(np.log(each))))
    total = record["tables"][0]["data_efficiency"]["vs_source_total"]["50"]
    assert total["geometric_mean"] is None and total["without"] == ["first", "second"]


def test_times_are_those_of_one_seed(record: dict[str, Any]) -> None:
    first, second = (world["seconds"] for world in record["worlds"])
    assert first["per_seed"]["train"] == pytest.approx(300.2 / 3) and second["seed"] == 315.3
    assert first["all_seeds"] == pytest.approx(315.3)


# Files.


class Page(HTMLParser):
    """Checks that tags close in order; gathers text and addresses."""

    VOID = ("meta", "br", "img", "link", "path", "use")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def files(
    worlds: list[World], record: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    return export.write(tmp_path_factory.mktemp("page") / "new", record, worlds)


def test_the_page_is_whole_and_opens_without_a_network(files: dict[str, Path]) -> None:
    text = files["page"].read_text()
    page = Page()
    page.feed(text)
    assert page.open == [] and {"svg", "table", "h1"} <= set(page.tags)
    assert "script" not in page.tags
    assert all(address.startswith("#") for address in page.addresses)
    for svg in text.split("<svg ")[1:]:
        ElementTree.fromstring("<svg " + svg.split("</svg>")[0] + "</svg>")


def test_equal_results_make_equal_files(
    worlds: list[World], record: dict[str, Any], files: dict[str, Path], tmp_path: Path
) -> None:
    again = export.write(tmp_path, leaderboard(worlds, title="mine"), worlds)
    assert {n: p.read_text() for n, p in files.items()} == {
        n: p.read_text() for n, p in again.items()
    }


def test_json_says_everything(files: dict[str, Path], record: dict[str, Any]) -> None:
    said = json.loads(files["json"].read_text(), parse_constant=pytest.fail)
    assert said.keys() == record.keys()
    assert said["tables"][0]["rows"][0]["final_mean"] == pytest.approx(
        record["tables"][0]["rows"][0]["final_mean"], rel=1e-6
    )


def test_csv_has_a_line_a_row_and_world(files: dict[str, Path], record: dict[str, Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert tuple(lines[0]) == export.COLUMNS
    rows = sum(len(world["rows"]) for world in record["worlds"])
    assert len(lines) == rows + len(record["tables"][0]["rows"])
    (ad,) = (x for x in lines if x["world"] == export.ALL_WORLDS and x["method"] == "ad")
    assert float(ad["final_mean"]) == pytest.approx(row_of(record, "ad")["final_mean"], rel=1e-6)
    assert ad["worlds"] == "2" and ad["data_efficiency_total_50"] == ""


def test_names_are_escaped_on_the_page_and_are_no_formulas_in_the_table(make_run: Run) -> None:
    evil = "=<script>alert(1)</script>&$x$"
    results = make_run(**SMALL) | {"env": evil, "preset": evil, "command": evil}
    made = leaderboard(
        [world_of(results, evil)], title=evil, failed={evil: evil}, missing=[evil],
        left_out=[(evil, evil)],
    )  # fmt: skip
    from adbench.suite import page

    text = page.render(made, [world_of(results, evil)])
    assert "<script" not in text and "&lt;script&gt;" in text
    checked = Page()
    checked.feed(text)
    assert checked.open == []
    lines = list(csv.DictReader(io.StringIO(export.as_csv(made))))
    assert all(not value.startswith("=") for line in lines for value in line.values())


def test_the_papers_curves_stand_beside_ours(
    make_run: Run, dark_room_results: dict[str, Any]
) -> None:
    from adbench.suite import page

    ours = world_of(dark_room_results, "dark-room")
    assert "Laskin et al. 2022" in page.render(leaderboard([ours]), [ours])
    other = world_of(make_run(**SMALL), "fake")
    assert "Laskin et al. 2022" not in page.render(leaderboard([other]), [other])


def test_the_terminal_shows_the_same(record: dict[str, Any]) -> None:
    failed = leaderboard([], failed={"x, seed 0": "because"}, missing=["x, seed 0", "y, seed 1"])
    assert "failed: x, seed 0: because" in leaderboard_table(failed)
    assert "not finished: y, seed 1" in leaderboard_table(failed)
    shown = leaderboard_table(record)
    assert "mean over 2 worlds (first 3 seeds, second 1 seed)" in shown
    assert "1 of 2" in shown and "warning: second: one seed" in shown
