"""Pictures: files that can be read again, maps on which things lie where they are."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from adbench import plugins
from adbench.errors import AdbenchError, UsageError
from adbench.evaluate import rollout
from adbench.maps import GroundMap, Outline, Spot
from adbench.pictures import canvas, clips, files
from adbench.pictures.canvas import FOUND, Image
from adbench.pictures.ground import Chart
from adbench.policy import RandomPolicy
from adbench.trace import Recorder, Trace
from adbench_envs.watermaze import WatermazeSmall

GIF_ERROR = 6.0
"""Mean difference of 255 that a palette of 256 colours may make on these frames; it makes 2."""
MP4_ERROR = 12.0
"""The same of a codec that loses."""


@pytest.fixture(scope="module")
def family() -> WatermazeSmall:
    return WatermazeSmall(height=24, width=32)


@pytest.fixture(scope="module")
def trace(family: WatermazeSmall) -> Trace:
    """Four lanes of random play, one each on four tasks, the first and the third episode."""
    tasks = family.tasks("test", 4, seed=0)
    recorder = Recorder(range(4), (1, 3))
    played = rollout(
        RandomPolicy(), family, tasks, lanes_per_task=1, episodes=3, seed=2, stage="x",
        recorder=recorder,
    )  # fmt: skip
    return recorder.trace(tasks, played.about)


@pytest.fixture(scope="module")
def frames(family: WatermazeSmall, trace: Trace) -> list[Image]:
    return clips.episode_pictures(family, trace, 0, 0, title="a title")


def test_an_episode_has_a_picture_a_state_and_ends_with_a_pause(
    frames: list[Image], trace: Trace
) -> None:
    steps = int(trace.length[0, 0])
    assert len(frames) > steps + 1
    assert len({frame.shape for frame in frames}) == 1
    assert all(np.array_equal(frames[steps], frame) for frame in frames[steps:])
    assert not np.array_equal(frames[0], frames[1])


def test_frames_are_those_that_the_agent_saw(family: WatermazeSmall, trace: Trace) -> None:
    seen = clips.frames_of(family, trace.of(1, 1))
    states = trace.of(1, 1)
    assert len(seen) == len(states["pose"])
    assert np.array_equal(seen[3], family.render_state({"pose": states["pose"][3:4]})[0].numpy())


def test_a_gif_holds_every_frame_in_order_with_its_colours(frames: list[Image]) -> None:
    raw = files.gif_bytes(frames, frames_per_second=5)
    read = Pillow.open(io.BytesIO(raw))
    assert read.info["loop"] == 0 and read.info["duration"] == 200
    shown = [np.asarray(frame.convert("RGB"), np.float64) for frame in all_frames(read)]
    # Pillow plays equal frames as one long one: the pause at the end.
    assert len(shown) == len(frames) - 6
    for ours, theirs in zip(frames, shown, strict=False):
        assert np.abs(ours - theirs).mean() < GIF_ERROR
    assert raw == files.gif_bytes(frames, frames_per_second=5)


def all_frames(read: Pillow.Image) -> list[Pillow.Image]:
    found = []
    for number in range(getattr(read, "n_frames", 1)):
        read.seek(number)
        found.append(read.copy())
    return found


def test_an_mp4_holds_every_frame_also_of_odd_sizes(frames: list[Image], tmp_path: Path) -> None:
    odd = [frame[:-1, :-1] if frame.shape[0] % 2 == 0 else frame[:, :-1] for frame in frames]
    files.save_clip(tmp_path / "x.mp4", odd, frames_per_second=6)
    video = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(6)
    for ours in odd:
        there, theirs = video.read()
        assert there
        rows, columns = ours.shape[:2]
        rgb = cv2.cvtColor(theirs, cv2.COLOR_BGR2RGB)[:rows, :columns]
        assert np.abs(ours.astype(np.float64) - rgb).mean() < MP4_ERROR
    assert not video.read()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_a_png_is_exact(frames: list[Image], tmp_path: Path) -> None:
    files.save_image(tmp_path / "x.png", frames[0])
    read = np.asarray(Pillow.open(tmp_path / "x.png"))
    assert np.array_equal(read, frames[0])


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.mp4"])
def test_what_cannot_be_written_is_named_and_leaves_nothing(
    name: str, frames: list[Image], tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(AdbenchError, match=name):
        if name == "x.png":
            files.save_image(tmp_path / name, frames[0])
        else:
            files.save_clip(tmp_path / name, frames, frames_per_second=6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x.jpg", "ends in .gif or .mp4 or .png; got '.jpg'"),
        ("x", "got 'no ending'"),
        ("there.gif", "is there already.*--overwrite"),
        ("folder.gif", "is a folder"),
        ("nowhere/x.gif", "nowhere does not exist"),
    ],
)
def test_a_target_that_will_not_do_is_refused_before_anything_is_drawn(
    name: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "there.gif").touch()
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(UsageError, match=says):
        files.check_target(tmp_path / name, files.SUFFIXES, overwrite=False)
    files.check_target(tmp_path / "there.gif", files.SUFFIXES, overwrite=True)


SQUARE = Outline(((-2.0, -1.0), (2.0, -1.0), (2.0, 1.0), (-2.0, 1.0)))


def test_east_is_right_and_south_is_down_and_metres_are_equal_both_ways() -> None:
    chart = Chart(GroundMap((SQUARE,)), 100)
    middle, east, south = (chart.pixel(point) for point in ((0, 0), (1, 0), (0, 1)))
    assert east[0] - middle[0] == south[1] - middle[1] > 0
    assert east[1] == middle[1] and south[0] == middle[0]
    corners = [chart.pixel(point) for point in SQUARE.points]
    assert all(0 <= pixel < 400 for corner in corners for pixel in corner)


@pytest.mark.parametrize("quarter", range(4))
def test_an_arrow_points_where_one_looks(quarter: int) -> None:
    """Yaw 0 looks east and grows counterclockwise, so a quarter more looks north: up."""
    yaw = quarter * math.pi / 2
    chart = Chart(GroundMap((Outline(((-9.0, -9.0), (9.0, 9.0)), colour=(1.0, 1.0, 1.0)),)), 120)
    image = chart.draw_way(np.array([[0.0, 0.0, yaw]], np.float32))
    rows, columns = np.nonzero(image.sum(axis=2) < 300)
    reach = {
        0: columns.max() - 60, 1: 60 - rows.min(), 2: 60 - columns.min(), 3: rows.max() - 60,
    }  # fmt: skip
    assert max(reach, key=lambda side: reach[side]) == quarter


def test_what_is_hidden_is_drawn_where_it_is_and_filled_once_found() -> None:
    chart = Chart(GroundMap((SQUARE,), (Spot((1.0, 0.5), 0.3),)), 200)
    column, row = (pixel // 4 for pixel in chart.pixel((1.0, 0.5)))
    way = np.array([[-1.0, 0.0, 0.0]], np.float32)
    for found, inside in ((False, (255, 255, 255)), (True, (250, 205, 170))):
        image = chart.draw_way(way, found=found)
        assert tuple(image[row, column]) == inside
        edge = image[row, column + round(0.3 * chart.scale / 4)]
        assert edge[0] > 180 and edge[2] < 120  # orange


def test_a_map_shows_where_one_gets_or_all_there_is() -> None:
    ground = GroundMap((SQUARE,), reach=(-1.0, 1.0, -1.0, 1.0))
    near, whole = Chart(ground, 100), Chart(ground, 100, whole=True)
    assert near.scale == pytest.approx(2 * whole.scale)


def test_kinds_of_what_is_hidden_are_labelled_where_there_are_several() -> None:
    spots = (Spot((-1.0, 0.0), 0.2, "key"), Spot((1.0, 0.0), 0.2, "door"))
    named, nameless = (
        Chart(GroundMap((SQUARE,), several), 200).draw_poses(np.zeros((1, 3), np.float32))
        for several in (spots, tuple(Spot(s.centre, s.radius) for s in spots))
    )
    assert not np.array_equal(named, nameless)


def test_enlarging_keeps_every_pixel_one_colour() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    large = canvas.enlarged(image, 5)
    assert large.shape == (6, 6, 3)
    assert np.array_equal(large[::3, ::3], image) and np.array_equal(large[2::3, 1::3], image)
    assert np.array_equal(canvas.enlarged(image, 1), image)


def test_images_of_unequal_sizes_lie_beside_and_below_each_other_on_white() -> None:
    small, large = np.zeros((2, 3, 3), np.uint8), np.full((5, 4, 3), 9, np.uint8)
    row = canvas.beside([small, large], gap=1)
    assert row.shape == (5, 8, 3) and (row[2:, :3] == 255).all() and (row[:, 3] == 255).all()
    column = canvas.below([small, large], gap=1)
    assert column.shape == (8, 4, 3) and (column[:2, 3] == 255).all() and (column[3:] == 9).all()


def test_lanes_side_by_side_wait_for_the_longest_and_show_who_arrived(
    family: WatermazeSmall, trace: Trace
) -> None:
    seen = clips.lanes_seen(family, trace, range(4), [0, 1])
    assert len(seen) > int(trace.length.max()) + 1
    assert seen[0].shape == (2 * 24 + 2, 4 * 32 + 3 * 2, 3)
    found = [(lane, e) for lane in range(4) for e in (0, 1) if trace.rewards(lane, e)[-1] > 0]
    assert found and len(found) < 8  # some of both
    for lane in range(4):
        for e in (0, 1):
            corner = seen[-1][e * 26, lane * 34]
            assert (tuple(corner) == FOUND) == ((lane, e) in found)


def test_a_family_without_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="dark-room has nothing to see"):
        clips.frames_of(plugins.family("dark-room"), {"cell": torch.zeros(1)})


def test_a_strip_has_a_row_an_episode(family: WatermazeSmall, trace: Trace) -> None:
    both = clips.strip(family, trace, 2, title="two")
    first = Trace(
        {name: value[:, :1] for name, value in trace.state.items()},
        trace.reward[:, :1],
        trace.length[:, :1],
        trace.episode[:1],
        trace.task,
    )
    one = clips.strip(family, first, 2, title="one")
    assert both.shape[0] > 1.7 * one.shape[0]
