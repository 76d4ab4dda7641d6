"""The page and its figures: whole, alone, equal for equal results, safe from hostile names."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from adbench.errors import RunFolderError
from adbench.report import page, results_table, write_report
from adbench.report.figures import learning_curves, steps_needed
from adbench.report.style import spread
from adbench.report.task_figures import MOST_PANELS, score_strips, task_panels
from adbench.results import read_results, write_results

Run = Callable[..., dict[str, Any]]

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "--><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{$",
    "javascript:alert(1)",
)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def tree_of(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.encode())


def comments(svg: str) -> Iterator[str]:
    """The texts of a figure: matplotlib draws letters as shapes and says in a comment which."""
    for part in svg.split("<!--")[1:]:
        yield part.split("-->")[0].strip()


@pytest.fixture(scope="module")
def written(results: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(folder, results)
    return folder


def test_the_report_is_a_page_and_its_figures(written: Path) -> None:
    assert sorted(each.name for each in written.iterdir()) == ["figures", "report.html"]
    figures = sorted(each.name for each in (written / "figures").iterdir())
    assert figures == ["curves.svg", "scores.svg", "steps.svg", "tasks.svg"]


def test_the_figure_comes_first_then_tasks_then_the_table_then_how_it_was_made(
    written: Path,
) -> None:
    html = (written / "report.html").read_text()
    places = [
        html.index(mark)
        for mark in ("<svg", "Task by task", "Scores</h2>", "Data efficiency", "How it was made")
    ]
    assert places == sorted(places)


def test_the_page_needs_no_network(written: Path) -> None:
    html = (written / "report.html").read_text()
    for tag, attributes in Tags(html).tags:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed", "base")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "data", "action"):
                assert value is not None
                assert value.startswith("#"), f"{tag} {name}={value}"
    style = html[html.index("<style") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_figures_are_well_formed_and_carry_no_date(written: Path) -> None:
    for figure in (written / "figures").iterdir():
        text = figure.read_text()
        assert tree_of(text).tag.endswith("svg")
        assert "<dc:date>" not in text


def test_equal_results_give_an_equal_report(
    written: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    again = write_report(tmp_path, copy.deepcopy(results))
    assert again.read_bytes() == (written / "report.html").read_bytes()
    for figure in (written / "figures").iterdir():
        assert (tmp_path / "figures" / figure.name).read_bytes() == figure.read_bytes()


def test_results_from_disk_give_the_same_report(
    written: Path, results: dict[str, Any], tmp_path: Path
) -> None:
    read = read_results(write_results(tmp_path / "results.json", results))
    page = write_report(tmp_path, read)
    assert page.read_bytes() == (written / "report.html").read_bytes()


def test_the_look_is_ours_whatever_the_user_has_set(small: dict[str, Any]) -> None:
    expected = learning_curves(small)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        before = dict(mpl.rcParams)
        assert learning_curves(small) == expected
        assert dict(mpl.rcParams) == before


def test_a_new_report_takes_the_place_of_figures_that_are_no_longer_drawn(
    small: dict[str, Any], make_run: Run, tmp_path: Path
) -> None:
    write_report(tmp_path, small)
    assert (tmp_path / "figures" / "steps.svg").exists()
    write_report(tmp_path, make_run(methods=("source",), seeds=(0,), num_tasks=2, episodes=6))
    assert not (tmp_path / "figures" / "steps.svg").exists()


# What hostile names may be put in the place of: any word of the results that a page could show.


def _poison(value: Any, words: Iterator[str], keep: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: each if key in keep else _poison(each, words, keep) for key, each in value.items()
        }
    if isinstance(value, list):
        return [_poison(each, words, keep) for each in value]
    return next(words) if isinstance(value, str) else value


def _endless(words: tuple[str, ...]) -> Iterator[str]:
    while True:
        yield from words


@pytest.fixture(scope="module")
def poisoned(small: dict[str, Any]) -> dict[str, Any]:
    """Results in which every word is hostile but those that the schema fixes."""
    fixed = frozenset({"over", "headline", "against", "method", "by_source"})
    bad: dict[str, Any] = _poison(copy.deepcopy(small), _endless(HOSTILE), fixed)
    ids = [[HOSTILE[i % len(HOSTILE)] for i in range(4)]] * 3
    record = bad["test_sets"].pop("test")
    bad["task_ids"] = record["task_ids"] = ids
    bad["test_sets"] = {HOSTILE[1]: record, HOSTILE[4]: record}
    bad["headline"] = HOSTILE[1]
    bad["versions"] = {word: word for word in HOSTILE}
    bad["split"] |= {word: [word] for word in HOSTILE}
    bad["incomplete"] = {"ed": [1]}
    return bad


def test_somebodys_folder_in_the_pages_place_is_left_alone(
    small: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "report.html" / "thesis").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"report\.html is a folder.*Move the folder away"):
        write_report(tmp_path, small)
    assert (tmp_path / "report.html" / "thesis").is_dir()
    assert not list(tmp_path.glob("*.tmp"))


def test_hostile_names_stay_names(
    poisoned: dict[str, Any], small: dict[str, Any], tmp_path: Path
) -> None:
    html = write_report(tmp_path, poisoned).read_text()
    seen = Tags(html)
    honest = Tags(write_report(tmp_path / "honest", small).read_text())
    assert {tag for tag, _ in seen.tags} <= {tag for tag, _ in honest.tags} | {"p"}
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert tag != "img"
    assert "<script" not in html
    assert HOSTILE[0] in seen.text  # it is shown, as text
    assert HOSTILE[3] in seen.text  # and not carried out
    for figure in (tmp_path / "figures").iterdir():
        text = figure.read_text()
        root = tree_of(text)
        assert not any(
            each.tag.endswith("script") or any(name.startswith("on") for name in each.attrib)
            for each in root.iter()
        )


def test_poisoned_results_keep_the_schema_so_the_test_means_something(
    poisoned: dict[str, Any], tmp_path: Path
) -> None:
    assert read_results(write_results(tmp_path / "results.json", poisoned))["env"] in HOSTILE


def test_the_table_for_terminals_takes_hostile_names_too(poisoned: dict[str, Any]) -> None:
    assert HOSTILE[0] in results_table(poisoned) or HOSTILE[1] in results_table(poisoned)


def test_every_row_is_named_in_the_figure_and_the_papers_curves_by_their_source(
    dark_room_results: dict[str, Any],
) -> None:
    texts = list(comments(learning_curves(dark_room_results)))
    for name in ("AD", "random", "optimal", "source, from scratch", "AD, rewards hidden"):
        assert name in texts
    for name in ("AD (fig. 4)", "ED (fig. 4)", "source, one of 100 actors (fig. 9)"):
        assert any(name in text for text in texts), name
    assert "return of an episode" in texts
    assert any(text.startswith("episode of one task") for text in texts)


def test_an_environment_that_is_not_the_papers_has_no_curves_of_it(small: dict[str, Any]) -> None:
    assert not any("fig." in text for text in comments(learning_curves(small)))


def test_each_test_set_has_a_panel_and_a_table(
    bandit_results: dict[str, Any], tmp_path: Path
) -> None:
    texts = list(comments(learning_curves(bandit_results)))
    assert [text for text in texts if text.startswith("test set: ")] == [
        "test set: odd",
        "test set: even",
        "test set: uniform",
    ]
    html = write_report(tmp_path, bandit_results).read_text()
    assert html.count("<table>") == 3 + 1
    assert "share of source" in html
    assert "the paper&#39;s" in html


def test_the_papers_bandit_scores_stand_beside_ours_on_the_bandit_alone(
    bandit_results: dict[str, Any],
) -> None:
    text = results_table(bandit_results)
    ad = next(line for line in text.splitlines() if line.startswith("ad "))
    assert "0.98" in ad
    other = bandit_results | {"env": "slot-machine"}
    assert "paper's" not in results_table(other)
    assert "of source" in results_table(other)


@pytest.mark.parametrize(
    "run",
    [
        {"episodes": 1, "source_episodes": 3, "num_tasks": 1, "seeds": (0,), "lanes": 1},
        {"episodes": 2, "source_episodes": 1, "num_tasks": 3, "seeds": (0,)},
        {"episodes": 5, "source_episodes": 5, "num_tasks": 2, "subsample": 1},
        {"episodes": 300, "source_episodes": 100, "num_tasks": 9, "seeds": (0,), "lanes": 1},
        {"methods": ("ad",), "num_tasks": 5, "episodes": 8, "seeds": (0, 1)},
        {"methods": ("source-best",), "num_tasks": 5, "episodes": 8},
        {"methods": ("ed", "ad-shuffled"), "num_tasks": 2, "episodes": 8, "seeds": (3,)},
        {"actors": 100, "num_tasks": 2, "episodes": 30},
    ],
    ids=str,
)
def test_runs_of_any_size_have_a_report(make_run: Run, run: dict[str, Any], tmp_path: Path) -> None:
    results = make_run(resamples=50, **run)
    html = write_report(tmp_path, results).read_text()
    assert "nan" not in Tags(html).text.split()
    assert "None" not in Tags(html).text.split()
    assert results_table(results)


def test_without_random_and_optimal_the_rest_is_still_drawn(small: dict[str, Any]) -> None:
    lacking = copy.deepcopy(small)
    for record in (lacking, *lacking["test_sets"].values()):
        for field in ("curves", "per_task", "scores"):
            for method in ("random", "optimal"):
                del record[field][method]
    assert set(page.draw(lacking)) == {"curves", "tasks", "steps"}


def test_there_is_a_panel_a_task_up_to_a_limit(small: dict[str, Any], make_run: Run) -> None:
    panels = task_panels(small["test_sets"]["test"])
    assert panels is not None
    assert panels[1] == 4
    many = make_run(num_tasks=70, seeds=(0,), lanes=1, episodes=6, methods=("ad",), resamples=20)
    panels = task_panels(many["test_sets"]["test"])
    assert panels is not None
    assert panels[1] == MOST_PANELS


def test_the_task_that_went_worst_comes_first(small: dict[str, Any]) -> None:
    record = copy.deepcopy(small["test_sets"]["test"])
    per_task = np.array(record["per_task"]["ad"])
    per_task[:, 2] = -5.0
    record["per_task"]["ad"] = per_task.tolist()
    panels = task_panels(record)
    assert panels is not None
    titles = [text for text in comments(panels[0]) if text.startswith("task ")]
    assert titles[0] == f"task {record['task_ids'][0][2]}"


def test_every_task_of_every_seed_is_a_dot(small: dict[str, Any]) -> None:
    svg = score_strips(small["test_sets"]["test"])
    assert svg is not None
    assert svg.count("<use") >= 6 * 3 * 4  # rows, seeds, tasks; ticks use marks, too


def test_steps_are_not_drawn_for_fewer_episodes_than_are_averaged(make_run: Run) -> None:
    few = make_run(episodes=4, source_episodes=9, num_tasks=2, seeds=(0,), resamples=20)
    assert steps_needed(few) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.0, 0.0, 1.0], [0.0, 0.1, 1.0]),
        ([1.2, 0.99], [1.0, 0.9]),
    ],
)
def test_labels_move_no_further_than_they_must(wanted: list[float], expected: list[float]) -> None:
    assert spread(wanted, gap=0.1, low=0.0, high=1.0) == pytest.approx(expected)


def test_labels_keep_their_order_their_distance_and_the_frame() -> None:
    draw = np.random.Generator(np.random.Philox(key=5))
    for _ in range(200):
        wanted = draw.normal(0.5, 0.4, draw.integers(1, 14)).tolist()
        places = spread(wanted, gap=0.06, low=0.0, high=1.0)
        in_order = [places[i] for i in np.argsort(wanted, kind="stable")]
        assert all(b - a >= 0.06 - 1e-9 for a, b in pairwise(in_order))
        assert min(places) >= -1e-9
        assert max(places) <= 1 + 1e-9


def test_more_labels_than_fit_are_spaced_evenly() -> None:
    places = spread([0.5] * 21, gap=0.1, low=0.0, high=1.0)
    assert sorted(places) == pytest.approx(np.linspace(0, 1, 21).tolist())
