"""AD's ways from above and what it sees, on a page that still needs no network."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.evaluate import rollout
from adbench.maps import GroundMap
from adbench.policy import RandomPolicy
from adbench.report import agent, write_report
from adbench.report.path_figures import early_and_late, episodes_said, path_panels
from adbench.report.seen import seen_gif
from adbench.trace import Recorder, Trace
from adbench_envs.dark_room import DarkRoom
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.watermaze import WatermazeSmall

MOST_IN_A_PAGE = 1_000_000


def trace_of(family: Any, *, test_set: str = "test", lanes: int = 6, episodes: int = 7) -> Trace:
    tasks = family.tasks(test_set, lanes, seed=0)
    kept = sorted({*range(1, min(3, episodes) + 1), *range(max(1, episodes - 2), episodes + 1)})
    recorder = Recorder(range(lanes), kept)
    played = rollout(
        RandomPolicy(), family, tasks, lanes_per_task=1, episodes=episodes, seed=0, stage="x",
        recorder=recorder,
    )  # fmt: skip
    return recorder.trace(tasks, played.about)


@pytest.fixture(scope="module")
def family() -> WatermazeSmall:
    return WatermazeSmall(height=32, width=32)


@pytest.fixture(scope="module")
def traces(family: WatermazeSmall) -> dict[str, Trace]:
    return {name: trace_of(family, test_set=name) for name in ("test", "region")}


@pytest.fixture(scope="module")
def written(
    small: dict[str, Any],
    family: WatermazeSmall,
    traces: dict[str, Trace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_report(folder, small, family=family, traces=traces)
    return folder


def images(html: str) -> list[str]:
    """Addresses of the pictures on a page; nothing else on it may have any."""
    found: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            for name, value in attrs:
                if tag == "img" and name == "src":
                    found.append(str(value))
                elif name in ("src", "href", "xlink:href", "data", "action"):
                    assert value is not None and value.startswith("#"), (tag, name, value)

    Page().feed(html)
    return found


def test_ways_of_every_test_set_and_the_gif_are_figures_and_on_the_page(written: Path) -> None:
    figures = {path.name for path in (written / "figures").iterdir()}
    assert {"paths-test.svg", "paths-region.svg", "seen.gif"} < figures
    html = (written / "report.html").read_text()
    assert html.index("<svg") < html.index("What it does") < html.index("Scores</h2>")
    assert "tasks of region that it has never seen" in html and "episode 1 above episode 7" in html


def test_the_gif_lies_inside_the_page_and_the_page_asks_nobody_for_anything(written: Path) -> None:
    html = (written / "report.html").read_text()
    (address,) = images(html)
    head = "data:image/gif;base64,"
    assert address.startswith(head) and len(address) < MOST_IN_A_PAGE
    assert (
        base64.b64decode(address.removeprefix(head)) == (written / "figures/seen.gif").read_bytes()
    )
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_report_without_traces_takes_the_pictures_of_an_earlier_one_away(
    small: dict[str, Any], family: WatermazeSmall, traces: dict[str, Trace], tmp_path: Path
) -> None:
    write_report(tmp_path, small, family=family, traces=traces)
    write_report(tmp_path, small)
    assert not list((tmp_path / "figures").glob("paths*")) + list(tmp_path.rglob("*.gif"))
    assert images((tmp_path / "report.html").read_text()) == []


def test_equal_traces_give_an_equal_page(
    written: Path, small: dict[str, Any], traces: dict[str, Trace], tmp_path: Path
) -> None:
    again = WatermazeSmall(height=32, width=32)
    page = write_report(tmp_path, small, family=again, traces=traces)
    assert page.read_bytes() == (written / "report.html").read_bytes()


def test_early_episodes_are_set_against_late_ones(traces: dict[str, Trace]) -> None:
    trace = traces["test"]
    rows = early_and_late(trace)
    assert [episodes_said(trace, row) for row in rows] == ["episodes 1 to 3", "episodes 5 to 7"]
    few = trace_of(WatermazeSmall(height=8, width=8), lanes=1, episodes=1)
    assert [episodes_said(few, row) for row in early_and_late(few)] == ["episode 1"]
    two = trace_of(WatermazeSmall(height=8, width=8), lanes=1, episodes=2)
    assert [episodes_said(two, row) for row in early_and_late(two)] == ["episode 1", "episode 2"]


def drawn(svg: str) -> int:
    return sum(
        1 for each in ElementTree.fromstring(svg.encode()).iter() if each.tag.endswith("path")
    )


def test_every_way_and_every_spot_is_drawn(
    family: WatermazeSmall, traces: dict[str, Trace]
) -> None:
    svg = path_panels(traces["test"], family.map)
    assert svg is not None

    def without_spots(task: torch.Tensor) -> GroundMap:
        ground = family.map(task)
        return GroundMap(ground.outlines, reach=ground.reach)

    bare = path_panels(traces["test"], without_spots)
    assert bare is not None
    # Six lanes, and an early and a late panel each.
    assert drawn(svg) - drawn(bare) == 12
    assert svg == path_panels(traces["test"], family.map)


def test_where_there_is_no_map_there_are_no_ways(
    family: WatermazeSmall, traces: dict[str, Trace]
) -> None:
    assert path_panels(traces["test"], DarkRoom().map) is None
    trace = traces["test"]
    nowhere = Trace({}, trace.reward, trace.length, trace.episode, trace.task)
    assert path_panels(nowhere, family.map) is None
    assert agent.draw_paths(family, {"test": nowhere}) == {}


def test_worlds_that_differ_by_episode_have_ways_too() -> None:
    family = FourBoxes(height=8, width=8)
    assert path_panels(trace_of(family, lanes=2), family.map) is not None


@pytest.mark.parametrize(("most_bytes", "lanes"), [(720_000, 4), (60_000, None), (100, 0)])
def test_the_gif_shrinks_until_it_fits(
    most_bytes: int, lanes: int | None, family: WatermazeSmall, traces: dict[str, Trace]
) -> None:
    found = seen_gif(family, traces["test"], most_bytes=most_bytes)
    if lanes == 0:
        assert found is None
        return
    assert found is not None
    raw, told = found
    assert len(raw) <= most_bytes
    shown = int(re.findall(r"on (\d) of the tasks", told)[0])
    assert shown == (lanes or shown) and shown >= 1
    picture = Image.open(io.BytesIO(raw))
    assert picture.size == (shown * 34 - 2, 2 * 32 + 2)


def test_large_frames_fit_the_page_too() -> None:
    family = WatermazeSmall(height=72, width=96)
    found = seen_gif(family, trace_of(family, lanes=4, episodes=2))
    assert found is not None and 4 * len(found[0]) / 3 < MOST_IN_A_PAGE


def test_colours_of_the_gif_are_those_of_the_frames(
    family: WatermazeSmall, traces: dict[str, Trace]
) -> None:
    found = seen_gif(family, traces["test"])
    assert found is not None
    first = np.asarray(Image.open(io.BytesIO(found[0])).convert("RGB"), np.float64)[:32, :32]
    frame = family.render_state({"pose": traces["test"].state["pose"][0, 0, :1]})[0].numpy()
    assert np.abs(first - frame).mean() < 6.0  # of 255; a palette of 256 colours makes 2
