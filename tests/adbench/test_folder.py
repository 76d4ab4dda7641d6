"""A run's folder: who may open it, who holds it, and that files come into it whole."""

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adbench import toml
from adbench.config import CollectConfig, RunConfig, SourceConfig, TrainConfig
from adbench.errors import AdbenchError, ConfigError, ResourceError, RunFolderError
from adbench.folder import CONFIG, RunFolder, differences, write_text
from adbench.resources import free_memory_bytes, require, size, usable_cores

RUN = RunConfig(
    env="dark-room",
    seeds=(0, 3),
    source=SourceConfig(settings={"rate": 1e-5, "greedy": True, "steps": 3, "schedule": "linear"}),
    train=TrainConfig(sequence_steps=900),
)

HOLD = """
import sys
from pathlib import Path
from adbench.folder import RunFolder
with RunFolder.read(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.open(tmp_path / "run", RUN)
    with folder.locked():
        folder.settle()
    return folder


def test_a_configuration_written_as_toml_reads_back_equal(tmp_path: Path) -> None:
    awkward = {"a b": 'say "no"\n\t\\', "del\x7f": "ünï ☃", "e": 1e300, "z": -0.0, "": "", "n": -7}
    config = RUN.with_(source=RUN.source.with_(settings=awkward))
    (tmp_path / "x.toml").write_text(toml.dumps(config))
    assert RunConfig.parse(toml.load(tmp_path / "x.toml")) == config


def test_the_written_configuration_explains_every_field() -> None:
    text = toml.dumps(RUN)
    assert "# Gradient updates; every trained row of a run gets as many.\nupdates = " in text
    assert "# source_episodes = none" in text


def test_a_run_can_be_opened_again_with_the_same_configuration(folder: RunFolder) -> None:
    assert RunFolder.open(folder.path, RUN).config == RUN
    assert RunFolder.read(folder.path).config == RUN


def test_another_configuration_is_refused_and_every_differing_field_is_named(
    folder: RunFolder,
) -> None:
    other = RUN.with_(
        seeds=(1,),
        train=RUN.train.with_(updates=7),
        source=RUN.source.with_(settings={"rate": 0.5}),
    )
    with pytest.raises(RunFolderError) as refused:
        RunFolder.open(folder.path, other)
    message = str(refused.value)
    for part in (
        "seeds: it has (0, 3), you asked for (1,)",
        "train.updates: it has 1000",
        "greedy",
    ):
        assert part in message
    assert "train.beta1" not in message
    assert refused.value.exit_code == 2


def test_a_configuration_that_came_there_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    slow = RunFolder.open(tmp_path, RUN)
    quick = RunFolder.open(tmp_path, RUN.with_(seeds=(9,)))
    quick.settle()
    with pytest.raises(RunFolderError, match="seeds: it has"):
        slow.settle()
    assert RunFolder.read(tmp_path).config.seeds == (9,)


def test_differences_are_none_between_equals() -> None:
    assert differences(RUN, RUN.with_()) == []


def test_somebodys_files_are_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"not empty and no run's folder.*thesis.tex"):
        RunFolder.open(tmp_path, RUN)
    with pytest.raises(RunFolderError, match=r"no run's folder: it has no config\.toml"):
        RunFolder.read(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be made"):
        RunFolder.open(tmp_path / "run", RUN)
    with pytest.raises(RunFolderError, match="cannot be made"):
        RunFolder.open(tmp_path / "run" / "deeper", RUN)


def test_what_a_process_killed_at_once_leaves_behind_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("")
    (tmp_path / "config.toml.tmp").write_text("half a conf")
    folder = RunFolder.open(tmp_path, RUN)
    with folder.locked():
        folder.settle()
    assert RunFolder.read(tmp_path).config == RUN


def test_a_second_process_is_refused_and_the_lock_dies_with_its_holder(folder: RunFolder) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {holder.pid} on .*, since 20"):
            with folder.locked():
                pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with folder.locked():
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_a_test_set_of_a_plug_in_cannot_name_a_place_outside_the_folder(folder: RunFolder) -> None:
    assert folder.evaluation(0, "odd", "ad").is_relative_to(folder.path)
    for name in ("../../etc", "/tmp/x", "", ".", "a/b", "a\0b"):
        with pytest.raises(RunFolderError, match="cannot name a folder"):
            folder.evaluation(0, name, "ad")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "x.json", "old")
    owner: object = os if failing == "fsync" else Path
    monkeypatch.setattr(owner, failing, full)
    with pytest.raises(RunFolderError, match=r"x\.json cannot be written: No space left"):
        write_text(tmp_path / "x.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_too_little_disk_or_memory_is_refused_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"collect: needs about 5\.0 GB of disk.* 1\.2 GB are"):
        require("collect", tmp_path, disk_bytes=5 * 10**9, free_disk=1_200_000_000)
    with pytest.raises(ResourceError, match=r"train: needs about 8\.0 GB of memory, 300 MB are"):
        require("train", tmp_path, memory_bytes=8 * 10**9, free_memory=300_000_000)
    require("train", tmp_path / "not" / "there" / "yet", disk_bytes=1, memory_bytes=1)


def test_the_systems_own_numbers_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="of disk"):
        require("collect", tmp_path, disk_bytes=10**18)
    if free_memory_bytes() is not None:
        with pytest.raises(ResourceError, match="of memory"):
            require("collect", tmp_path, memory_bytes=10**18)


@pytest.mark.parametrize(
    ("told", "cores"), [("max 100000", 1000), ("150000 100000", 2), ("1000 100000", 1), ("?", 1000)]
)
def test_a_container_is_given_no_more_threads_than_processor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(1000)), raising=False)
    (tmp_path / "cpu.max").write_text(told)
    assert usable_cores(tmp_path) == cores
    assert usable_cores(tmp_path / "nowhere") == 1000


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (5e12, "5.0 TB"), (2e7, "20 MB")],
)
def test_sizes_are_said_as_people_say_them(number: float, said: str) -> None:
    assert size(number) == said


WRONG = [
    "",
    "env",
    "env = ",
    "env = 3",
    "env = []",
    "env = 'x'\nenv = 'y'",
    "[env]\na = 1",
    "env = 'x'\nfoo = 1",
    "env = 'x'\nseeds = []",
    "env = 'x'\nseeds = 0",
    "env = 'x'\nseeds = [0, 0]",
    "env = 'x'\nseeds = [-1]",
    "env = 'x'\nseeds = [0.5]",
    "env = 'x'\nseeds = ['one']",
    "env = 'x'\ndevice = 'tpu'",
    "env = 'x'\nmethods = ['adl']",
    "env = 'x'\nmethods = ['ad-no-reward']",
    "env = 'x'\ntrain = 5",
    "env = 'x'\n[train]\nupdates = 0",
    "env = 'x'\n[train]\nupdates = 1.5",
    "env = 'x'\n[train]\nupdates = 'many'",
    "env = 'x'\n[train]\nupdates = 2026-01-01",
    "env = 'x'\n[train]\nupdates = {a = 1}",
    "env = 'x'\n[train]\nlearning_rate = nan",
    "env = 'x'\n[train]\nlearning_rate = inf",
    "env = 'x'\n[train]\nlearning_rate = -1",
    "env = 'x'\n[train]\nbeta1 = 1.0",
    "env = 'x'\n[train]\nwindow_steps = 1",
    "env = 'x'\n[train]\nwindow-steps = 100",
    "env = 'x'\n[train]\nsequence_steps = 419",
    "env = 'x'\n[train]\ncompile = 'perhaps'",
    "env = 'x'\n[train.train]\nupdates = 1",
    "env = 'x'\n[model]\nwidth = 63",
    "env = 'x'\n[model]\nlayout = 'sideways'",
    "env = 'x'\n[model]\npositions = 'learned'",
    "env = 'x'\n[model]\ndropout = 2",
    "env = 'x'\n[source]\nname = 4",
    "env = 'x'\n[source]\nactors = 1\nkept_actors = 2",
    "env = 'x'\n[source.settings]\na = [1]",
    "env = 'x'\n[source.settings.a]\nb = 1",
    "env = 'x'\n[collect]\nshards = 7",
    "env = 'x'\n[collect]\nmax_episodes = 1",
    "env = 'x'\n[tasks]\ntest = 0",
    "env = 'x'\n[evaluate]\naction = 'think'",
    "a = " + "[" * 5000,
    "env = " + "9" * 5000,
    "\x00\x01\x02",
    "env = 'x' # " + "x" * toml.MAX_BYTES,
]


@pytest.mark.parametrize("text", WRONG, ids=[repr(text[10:50]) for text in WRONG])
def test_a_wrong_configuration_file_gives_an_error_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(RunFolderError) as refused:
        RunFolder.read(tmp_path)
    assert str(tmp_path / CONFIG) in str(refused.value)
    assert len(str(refused.value)) < 2000


@pytest.mark.parametrize("source_episodes", [4, None])
def test_a_configuration_cut_at_any_line_end_is_refused(
    tmp_path: Path, source_episodes: int | None
) -> None:
    whole = RUN.with_(evaluate=RUN.evaluate.with_(source_episodes=source_episodes))
    lines = toml.dumps(whole).splitlines(keepends=True)
    for kept in range(len(lines)):
        (tmp_path / CONFIG).write_text("".join(lines[:kept]))
        with pytest.raises(RunFolderError, match=r"config\.toml"):
            RunFolder.read(tmp_path)
    (tmp_path / CONFIG).write_text("".join(lines))
    assert RunFolder.read(tmp_path).config == whole


def test_what_a_cut_configuration_lacks_is_named(folder: RunFolder) -> None:
    text = (folder.path / CONFIG).read_text()
    text = text[: text.index("# How the frozen")].replace("\nupdates = 1000\n", "\n")
    (folder.path / CONFIG).write_text(text)
    with pytest.raises(RunFolderError, match=r"it lacks train\.updates, evaluate\. A run names"):
        RunFolder.read(folder.path)


def test_fuzzed_configuration_files_are_read_or_refused_but_never_crash(tmp_path: Path) -> None:
    draw = random.Random(7)
    sound = toml.dumps(RUN).encode()
    refusals = 0
    for _ in range(150):
        raw = bytearray(sound)
        for _ in range(draw.randint(1, 8)):
            where = draw.randrange(len(raw))
            raw[where : where + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        (tmp_path / CONFIG).write_bytes(raw[: draw.choice([len(raw), draw.randrange(len(raw))])])
        try:
            RunFolder.read(tmp_path)
        except AdbenchError as error:
            refusals += 1
            assert isinstance(error, RunFolderError)
    assert refusals > 50


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            toml.load(path)


def test_a_field_out_of_range_says_what_it_got_and_the_range() -> None:
    with pytest.raises(ConfigError, match=r"shards: .*greater than or equal to 8, got 3"):
        RUN.with_(collect={**CollectConfig().model_dump(), "shards": 3})
