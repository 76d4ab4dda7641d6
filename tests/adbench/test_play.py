"""`adbench play` and `adbench show`: what they draw, what they refuse, and the guide's commands."""

from __future__ import annotations

import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from adbench import play, plugins, show
from adbench.cli import main
from adbench.flags import resolve
from adbench.folder import RunFolder
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.watermaze import WatermazeSmall

Told = pytest.CaptureFixture[str]


@pytest.fixture
def maze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of watermaze-small on small frames, whose AD has the weights that it began with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play, "load_model", lambda *_, **__: None)
    config = resolve(
        "watermaze-small", "smoke", None,
        {"env_settings": {"height": 16, "width": 16}, "evaluate": {"episodes": 6}},
    )  # fmt: skip
    folder = RunFolder.open(tmp_path / "runs" / "maze", config)
    folder.settle()
    return folder.path


def shape_of(path: Path) -> tuple[int, ...]:
    """What the file holds: pictures, rows, columns."""
    if path.suffix == ".mp4":
        video, frames = cv2.VideoCapture(str(path)), []
        while (read := video.read())[0]:
            frames.append(read[1])
        return len(frames), *frames[0].shape[:2]
    picture = Pillow.open(path)
    assert picture.format == path.suffix[1:].upper()
    return getattr(picture, "n_frames", 1), picture.height, picture.width


@pytest.mark.parametrize(
    "command",
    [
        "show watermaze-small --out maze.png",
        "show four-boxes --tasks 2 --split test --frame 48x64 --out boxes.png",
        "play watermaze-small --out random.gif",
        "play watermaze-small --agent source --learning-episodes 4 --out source.mp4",
        "play watermaze-small --agent runs/maze --episodes 4 --task 3 --out ad.png",
    ],
)
def test_every_kind_of_picture_can_be_made(command: str, maze: Path, capsys: Told) -> None:
    words = command.split()
    assert main(words) == 0
    out = words[words.index("--out") + 1]
    assert capsys.readouterr().out == f"{out}\n"
    count, rows, columns = shape_of(Path(out))
    assert (count > 5) == (not out.endswith(".png")) and rows > 200 and columns > 300
    assert sorted(path.name for path in Path().iterdir()) == sorted([out, "runs"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("play watermaze-smal --out x.gif", "Did you mean 'watermaze-small'"),
        ("play dark-room --out x.gif", "dark-room has nothing to see.*four-boxes.*watermaze-small"),
        ("play watermaze-small", "required: --out"),
        ("play watermaze-small --out x.avi", "x.avi: .*ends in .gif or .mp4 or .png; got '.avi'"),
        ("play watermaze-small --out no/x.gif", "no does not exist. Make the folder first"),
        ("play watermaze-small --out there.gif", "there.gif is there already.*--overwrite"),
        ("play watermaze-small --out x.gif --agent nobody", "nobody is no run's folder"),
        ("play watermaze --out x.gif --agent runs/maze", "a run of watermaze-small, and you asked"),
        (
            "play watermaze-small --out x.gif --episodes 0",
            "got '0', wants a whole number from 1 on",
        ),
        ("play watermaze-small --out x.gif --task 500", "--task 500: test has 128 tasks.*0 to 127"),
        ("play watermaze-small --out x.gif --task -1", "got '-1', wants a whole number from 0 on"),
        ("play watermaze-small --out x.gif --split tset", "no split named 'tset'. Did you mean"),
        ("play watermaze-small --out x.gif --frame 72", "got '72', wants rows x columns"),
        ("play watermaze-small --out x.gif --frame 9999x2", "height must be a whole number"),
        ("play watermaze-small --out x.gif --agnt source", "did you mean '--agent'"),
        ("show watermze --out x.png", "Did you mean 'watermaze'"),
        ("show bandit --out x.png", "bandit has nothing to see"),
        ("show watermaze --out x.gif", "x.gif: .*ends in .png; got '.gif'"),
        ("show watermaze --out there.png", "there.png is there already"),
        ("show watermaze --out x.png --tasks 0", "got '0', wants a whole number from 1 on"),
        ("show watermaze --out x.png --split nowhere", "no split named 'nowhere'"),
    ],
)
def test_a_wrong_question_is_answered_and_nothing_is_written(
    words: str, says: str, maze: Path, capsys: Told
) -> None:
    for there in ("there.gif", "there.png"):
        Path(there).write_text("somebody's")
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.search(says, err), err
    assert {path.name for path in Path().iterdir()} == {"runs", "there.gif", "there.png"}
    assert Path("there.gif").read_text() == Path("there.png").read_text() == "somebody's"


def test_a_file_that_is_there_is_replaced_if_that_is_asked_for(maze: Path) -> None:
    Path("x.png").write_text("old")
    assert main("play watermaze-small --out x.png --overwrite".split()) == 0
    assert Path("x.png").read_bytes()[1:4] == b"PNG"


def test_an_agent_that_was_never_trained_is_said_to_be_so(
    maze: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(maze.parent.parent)
    assert main("play watermaze-small --agent runs/maze --out x.gif".split()) == 1
    assert "'ad' is not trained" in capsys.readouterr().err


def test_equal_seeds_give_equal_pictures_and_others_others(maze: Path) -> None:
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        assert main(f"play watermaze-small --seed {seed} --out {name}".split()) == 0
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_pictures_can_have_another_size_than_what_the_agent_sees(maze: Path) -> None:
    for size in ("40x60", "60x40"):
        words = f"play watermaze-small --agent runs/maze --frame {size} --out {size}.gif"
        assert main(words.split()) == 0
    wide, high = shape_of(Path("40x60.gif")), shape_of(Path("60x40.gif"))
    assert wide[0] == high[0] and wide[2] > high[2]


@pytest.mark.parametrize(
    ("episodes", "kept"),
    [(1, [1]), (2, [1, 6]), (3, [1, 2, 6]), (4, [1, 2, 5, 6]), (9, [1, 2, 3, 4, 5, 6])],
)
def test_of_a_runs_agent_first_and_last_episodes_are_shown(
    episodes: int, kept: list[int], maze: Path
) -> None:
    folder = RunFolder.read(maze)
    task = play.one_task(plugins.family_of(folder.config), "test", 0, seed=0)
    assert play.play_trained(folder, task, episodes=episodes).episode.tolist() == kept


def test_a_source_is_shown_after_it_has_learnt() -> None:
    family = WatermazeSmall()
    config = plugins.preset("watermaze-small", "quick")
    task = play.one_task(family, "train", 1, seed=0)
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        told.append((done, total))

    early, late = (
        play.play_source(
            config, family, task, learning_episodes=count, episodes=5, seed=0, progress=progress
        )
        for count in (1, 60)
    )
    assert early.episode.tolist() == [2, 3, 4, 5, 6]
    assert late.episode.tolist() == [61, 62, 63, 64, 65]
    assert late.reward.sum() >= 4 and late.length.sum() < early.length.sum() / 2
    assert told[-1] == (60, 60) and set(late.state) == {"pose"}


def test_random_play_keeps_every_episode() -> None:
    family = FourBoxes(height=8, width=8)
    trace = play.play_random(family, play.one_task(family, "region", 1, seed=0), episodes=3, seed=0)
    assert trace.episode.tolist() == [1, 2, 3]
    assert set(trace.state) == {"pose", "arrangement", "size"}


@pytest.mark.parametrize("env", play.with_pixels())
def test_every_environment_with_pixels_can_be_shown(env: str) -> None:
    family = plugins.family(env, {"height": 8, "width": 12})
    sheet = show.contact_sheet(family, family.tasks("train", 2, seed=0), frames=3, height=40)
    one = show.contact_sheet(family, family.tasks("train", 1, seed=0), frames=3, height=40)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == one.shape[1] and len(sheet) > len(one)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 50


def test_a_contact_sheet_is_the_same_each_time() -> None:
    family = WatermazeSmall(height=8, width=8)
    tasks = family.tasks("train", 2, seed=0)
    assert np.array_equal(show.contact_sheet(family, tasks), show.contact_sheet(family, tasks))


def test_those_that_have_pixels_are_the_first_person_ones() -> None:
    assert play.with_pixels() == (
        "dark-room-3d", "four-boxes", "key-to-door-3d", "radial-arm", "watermaze",
        "watermaze-hard", "watermaze-small",
    )  # fmt: skip


def test_a_gif_can_be_watched_to_its_end(maze: Path) -> None:
    assert main("play watermaze-small --episodes 1 --fps 10 --out x.gif".split()) == 0
    picture = Pillow.open(io.BytesIO(Path("x.gif").read_bytes()))
    assert picture.info["duration"] == 100
