"""Histories on disk: windows as tensors, training rows, writing and opening.

    pytest benchmarks/bench_history.py

Windows are random stretches of 64 histories of 50,000 vector steps each (observation u1 [2],
action, reward, two flags: 29 MB), from the page cache unless a name says otherwise. The other ways
read the same numbers from the same disk in the same process: h5py from the shard itself, and from a
chunked copy under zstandard, or under gzip as XLand-100B ships. What is read is held against what
was written before it is timed.

Rows of frames are 6,400 frames of `watermaze`, 64x64, one sample a pixel, drawn from the poses that
the histories hold.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from adbench import plugins
from adbench.collect import collect
from adbench.config import CollectConfig, RunConfig, TasksConfig
from adbench.history.frames import RowFrames
from adbench.history.hdf5 import zstd
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler
from adbench.history.schema import ShardMeta
from adbench.history.spaces import spaces_of
from adbench.history.writer import write_shard
from adbench.tokens import Tokens
from benchmarks.meter import Meter, scales

HISTORIES, STEPS, EPISODE_STEPS, SHARDS = 64, 50_000, 20, 8
TINY_STEPS = 6000
ROW_TOKENS, SUBSAMPLE = 32 * 840, 5
"""Tokens of a batch of training rows, those of the quick preset; every fifth episode is kept."""
FIELDS = ("observation", "action", "reward", "terminated", "truncated")
Read = Callable[[int, int, int], dict[str, Tensor]]

pytestmark = pytest.mark.benchmark(group="histories")


def histories(num_histories: int, steps: int, episode_steps: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    episodes = steps // episode_steps
    ends = np.arange(1, episodes + 1) * episode_steps
    truncated = np.zeros((num_histories, steps), np.uint8)
    truncated[:, ends - 1] = 1
    return {
        "observation": rng.integers(0, 9, (num_histories, steps, 2), np.uint8),
        "action": rng.integers(0, 5, (num_histories, steps), np.uint8),
        "reward": rng.integers(0, 2, (num_histories, steps)).astype(np.float32),
        "terminated": np.zeros_like(truncated),
        "truncated": truncated,
        "final_observation": rng.integers(0, 9, (num_histories, episodes, 2), np.uint8),
        "episode_end": np.tile(ends, (num_histories, 1)),
        "length": np.full(num_histories, steps),
        "task": rng.integers(0, 9, (num_histories, 2)),
        "learner_seed": np.arange(num_histories),
    }


def meta() -> ShardMeta:
    spaces = spaces_of(gymnasium.spaces.MultiDiscrete([9, 9]), gymnasium.spaces.Discrete(5))
    return ShardMeta(
        env="bench", env_version=0, split="train", source="none", source_config={}, seed=0,
        learners=1, actors=1, spaces=spaces,
    )  # fmt: skip


@pytest.fixture(scope="module")
def arrays(tiny: bool) -> dict[str, np.ndarray]:
    return histories(HISTORIES, TINY_STEPS if tiny else STEPS, EPISODE_STEPS)


@pytest.fixture(scope="module")
def folder(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("histories")
    for index in range(SHARDS):
        part = {name: array[index::SHARDS] for name, array in arrays.items()}
        write_shard(path, index, part, meta())
    with h5py.File(path / "gzip.h5", "w") as gzip, h5py.File(path / "zstd.h5", "w") as chunked:
        for name in FIELDS:
            # In the order of the shards, so that history h is the same one everywhere.
            array = np.concatenate([arrays[name][index::SHARDS] for index in range(SHARDS)])
            chunks = (1, min(4096, array.shape[1]), *array.shape[2:])
            gzip.create_dataset(
                name, data=array, chunks=chunks, compression="gzip", compression_opts=6
            )
            chunked.create_dataset(name, data=array, chunks=chunks, **zstd())
    return path


def reader(way: str, folder: Path, *, verify: bool = True) -> Read:
    """A function that gives a window (history, start, steps) as tensors, one of five ways."""
    if way.startswith("adbench"):
        store = HistoryStore.open(folder, verify=verify)
        if way == "adbench":
            return store.window
        return lambda *window: {name: x.clone() for name, x in store.window(*window).items()}
    if way == "h5py":
        files = [h5py.File(folder / f"shard-{index:05d}.h5") for index in range(SHARDS)]
        fields = [{name: file[name] for name in FIELDS} for file in files]

        def from_shard(history: int, start: int, steps: int) -> dict[str, Tensor]:
            shard, row = divmod(history, HISTORIES // SHARDS)
            stop = start + steps
            return {n: torch.from_numpy(x[row, start:stop]) for n, x in fields[shard].items()}

        return from_shard
    file = h5py.File(folder / f"{way.removeprefix('h5py ')}.h5")
    whole = {name: file[name] for name in FIELDS}
    return lambda history, start, steps: {
        name: torch.from_numpy(x[history, start : start + steps]) for name, x in whole.items()
    }


def written(arrays: dict[str, np.ndarray], history: int) -> dict[str, np.ndarray]:
    """What was written as history `history`: shards hold every eighth."""
    shard, row = divmod(history, HISTORIES // SHARDS)
    return {name: array[shard + SHARDS * row] for name, array in arrays.items()}


def check_window(
    read: Read, arrays: dict[str, np.ndarray], history: int, start: int, steps: int
) -> None:
    found, right = read(history, start, steps), written(arrays, history)
    for name in FIELDS:
        exact = right[name][start : start + steps]
        assert np.array_equal(np.asarray(found[name]), exact), f"another {name}: not timed"


def places(arrays: dict[str, np.ndarray], steps: int) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng(1)
    last = arrays["action"].shape[1] - steps
    at = zip(
        rng.integers(0, HISTORIES, 4096).tolist(),
        rng.integers(0, max(last, 1), 4096).tolist(),
        strict=True,
    )
    return itertools.cycle(at)


@pytest.mark.parametrize("way", ["adbench", "adbench copied", "h5py", "h5py zstd", "h5py gzip"])
@scales("steps", 128, 1024, 4096, 32_768)
def test_window(
    meter: Meter, folder: Path, arrays: dict[str, np.ndarray], way: str, steps: int
) -> None:
    meter.about("a window as tensors", way, ours=way == "adbench", device="cpu", context=steps)
    read, at = reader(way, folder), places(arrays, steps)

    def window() -> None:
        history, start = next(at)
        read(history, start, steps)

    def check() -> None:
        check_window(read, arrays, *next(at), steps)

    meter.time(window, check=check, steps=steps)


@pytest.mark.parametrize("way", ["adbench copied", "h5py", "h5py zstd", "h5py gzip"])
@scales("steps", 4096, full=(128, 32_768))
def test_cold_window(
    meter: Meter, folder: Path, arrays: dict[str, np.ndarray], way: str, steps: int
) -> None:
    """The first window from files that the system was told to forget (its host may not have)."""
    ours = way == "adbench copied"
    meter.about("a window from files opened anew", way, ours=ours, device="cpu", context=steps)
    at, opened = places(arrays, steps), list[Read]()

    def forget() -> None:
        # Before the files are opened: pages that somebody has mapped stay.
        opened.clear()
        for path in folder.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        opened.append(reader(way, folder, verify=False))

    def window() -> None:
        opened[0](*next(at), steps)

    def check() -> None:
        check_window(reader(way, folder), arrays, *next(at), steps)

    meter.time(window, check=check, setup=forget, rounds=7, steps=steps)


def one_array_a_field(
    arrays: dict[str, np.ndarray], rows: int, length: int
) -> Callable[[], tuple[Tensor, ...]]:
    """Rows by one fancy index from arrays in memory: no final observations, no borders."""
    rng = np.random.default_rng(0)
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("observation", "action", "reward")}
    steps = arrays["action"].shape[1]

    def batch() -> tuple[Tensor, ...]:
        history = torch.from_numpy(rng.integers(0, HISTORIES, (rows, 1)))
        step = torch.from_numpy(rng.integers(0, steps - length, (rows, 1))) + torch.arange(length)
        observation, action, reward = (x[history, step] for x in tensors.values())
        previous = torch.cat((torch.full((rows, 1), -1), action[:, :-1].long()), 1)
        return observation.long(), action.long(), reward.float(), previous

    return batch


def check_rows(batch: Tokens, arrays: dict[str, np.ndarray], length: int) -> None:
    """Every row's actions, where one is asked for, must lie side by side in some history."""
    assert batch.shape[1] == length and bool(batch.valid.all())
    asked = batch.action[0][batch.asks[0]].numpy().astype(np.uint8).tobytes()
    lived = [EPISODE_STEPS * (SUBSAMPLE - 1), EPISODE_STEPS]
    for history in range(HISTORIES):
        actions = arrays["action"][history].reshape(-1, sum(lived))[:, lived[0] :]
        if asked in actions.tobytes():
            return
    raise AssertionError("these actions are in no history: not timed")


@pytest.mark.parametrize("way", ["adbench", "fancy index in memory"])
@scales("length", 128, 840, 4096, full=(8192,))
def test_training_rows(
    meter: Meter, folder: Path, arrays: dict[str, np.ndarray], way: str, length: int
) -> None:
    meter.about("training rows", way, ours=way == "adbench", device="cpu", context=length)
    rows = 2 if meter.tiny else ROW_TOKENS // length
    if way == "adbench":
        store = HistoryStore.open(folder)
        sampler = WindowSampler(store, row_steps=length, subsample=SUBSAMPLE, seed=0, label="bench")
        meter.time(
            lambda: sampler.batch(rows),
            check=lambda: check_rows(sampler.batch(rows), arrays, length),
            items=rows,
            tokens=rows * length,
        )
        return
    batch = one_array_a_field(arrays, rows, length)

    def check() -> None:
        found = batch()
        assert all(x.shape[:2] == (rows, length) for x in found)
        assert torch.equal(found[1][:, :-1], found[3][:, 1:]), "rows are torn: not timed"

    meter.time(batch, check=check, items=rows, tokens=rows * length)


@pytest.fixture(scope="module")
def poses(tiny: bool, tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    path = tmp_path_factory.mktemp("poses")
    episodes = 8 if tiny else 40
    run = RunConfig(
        env="watermaze",
        tasks=TasksConfig(train=16),
        collect=CollectConfig(
            learners_per_task=1 if tiny else 4,
            episodes=episodes,
            expert_episodes=0,
            max_episodes=episodes,
        ),
    )
    collect(run, seed=0, folder=path)
    return HistoryStore.open(path)


@pytest.mark.parametrize("what", ["rows of frames", "rows of states", "frames alone"])
@scales("length", 20, 200)
def test_rows_of_frames(meter: Meter, poses: HistoryStore, what: str, length: int) -> None:
    """What training waits for before the model: rows gathered and drawn; and both parts of it."""
    case = f"training rows of watermaze: {what}"
    meter.about(case, "adbench", ours=True, context=length)
    rows = 2 if meter.tiny else 6400 // length
    sampler = WindowSampler(poses, row_steps=length, seed=0, label="bench")
    family, device = plugins.family("watermaze"), torch.device(meter.device)
    draw = RowFrames(family, poses.tasks)
    drawn = sampler.batch(rows)

    def check() -> None:
        assert drawn.valid.all(), "padding is not drawn: not timed"
        assert isinstance(drawn.observation, dict)
        frames = draw(drawn, device).observation
        assert isinstance(frames, Tensor) and frames.shape == (rows, length, 64, 64, 3)
        few = {name: x[0, :4].to(device) for name, x in drawn.observation.items()}
        assert torch.equal(frames[0, :4], draw.draw(few)), "frames depend on the batch: not timed"

    todo: dict[str, Callable[[], object]] = {
        "rows of frames": lambda: draw(sampler.batch(rows), device),
        "rows of states": lambda: sampler.batch(rows),
        "frames alone": lambda: draw(drawn, device),
    }
    meter.time(todo[what], check=check, items=rows, frames=rows * length)


def test_write_a_shard(meter: Meter, arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Narrow, check, write, flush to disk, hash, rename, list."""
    meter.about("writing a shard", "adbench", ours=True, device="cpu")

    def write() -> None:
        write_shard(tmp_path, 0, arrays, meta())

    def check() -> None:
        write()
        store = HistoryStore.open(tmp_path)
        whole = store.window(3, 0, arrays["action"].shape[1])
        assert np.array_equal(np.asarray(whole["action"]), arrays["action"][3]), "not timed"

    size = sum(array.nbytes for array in arrays.values())
    meter.time(write, check=check, moved_bytes=2.0 * size, env_steps=arrays["action"].size)


@pytest.mark.parametrize("verify", [True, False])
def test_open(meter: Meter, folder: Path, verify: bool) -> None:
    """Open 8 shards; with `verify`, read, hash and check every number."""
    what = "with every number checked" if verify else "trusting their checksums"
    meter.about(f"opening {SHARDS} shards, {what}", "adbench", ours=True, device="cpu")
    size = sum(path.stat().st_size for path in folder.glob("shard-*.h5"))

    def check() -> None:
        assert HistoryStore.open(folder, verify=verify).num_histories == HISTORIES

    meter.time(lambda: HistoryStore.open(folder, verify=verify), check=check, bytes=size)
