"""Histories on disk: windows as tensors, training rows, writing and opening.

pytest benchmarks/bench_history.py

The windows are random stretches of 64 histories of 50,000 vector steps each (observation u1 [2],
action, reward, two
flags: 29 MB), from the page cache unless a name says cold. The other ways read the same numbers
from the same disk in the same process: h5py from the shard itself, and from a chunked copy under
zstandard, or under gzip as XLand-100B ships.

Rows of frames are 64 windows of 200 tokens of `watermaze`, 64x64, one sample a pixel, drawn on the
CPU from the poses that the histories hold.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
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

HISTORIES, STEPS, EPISODE_STEPS = 64, 50_000, 20
FIELDS = ("observation", "action", "reward", "terminated", "truncated")
Read = Callable[[int, int, int], dict[str, Tensor]]


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
def arrays() -> dict[str, np.ndarray]:
    return histories(HISTORIES, STEPS, EPISODE_STEPS)


@pytest.fixture(scope="module")
def folder(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("histories")
    for index in range(8):
        part = {name: array[index::8] for name, array in arrays.items()}
        write_shard(path, index, part, meta())
    with h5py.File(path / "gzip.h5", "w") as gzip, h5py.File(path / "zstd.h5", "w") as chunked:
        for name in FIELDS:
            inner = arrays[name].shape[2:]
            gzip.create_dataset(
                name,
                data=arrays[name],
                chunks=(1, 4096, *inner),
                compression="gzip",
                compression_opts=6,
            )
            chunked.create_dataset(name, data=arrays[name], chunks=(1, 4096, *inner), **zstd())
    return path


def reader(way: str, folder: Path, *, verify: bool = True) -> Read:
    """A function that gives a window (history, start, steps) as tensors, one of five ways."""
    if way.startswith("adbench"):
        store = HistoryStore.open(folder, verify=verify)
        if way == "adbench":
            return store.window
        return lambda *window: {name: x.clone() for name, x in store.window(*window).items()}
    if way == "h5py":
        files = [h5py.File(folder / f"shard-{index:05d}.h5") for index in range(8)]
        fields = [{name: file[name] for name in FIELDS} for file in files]

        def from_shard(history: int, start: int, steps: int) -> dict[str, Tensor]:
            shard, row = divmod(history, HISTORIES // 8)
            stop = start + steps
            return {n: torch.from_numpy(x[row, start:stop]) for n, x in fields[shard].items()}

        return from_shard
    file = h5py.File(folder / f"{way.removeprefix('h5py ')}.h5")
    whole = {name: file[name] for name in FIELDS}
    return lambda history, start, steps: {
        name: torch.from_numpy(x[history, start : start + steps]) for name, x in whole.items()
    }


def places(steps: int) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng(1)
    at = zip(
        rng.integers(0, HISTORIES, 4096).tolist(),
        rng.integers(0, STEPS - steps, 4096).tolist(),
        strict=True,
    )
    return itertools.cycle(at)


@pytest.mark.parametrize("steps", [256, 4096, 32_768])
@pytest.mark.parametrize("way", ["adbench", "adbench copied", "h5py", "h5py zstd", "h5py gzip"])
def test_window(benchmark: BenchmarkFixture, folder: Path, way: str, steps: int) -> None:
    benchmark.group = f"window of {steps} steps"
    read, at = reader(way, folder), places(steps)

    def window() -> None:
        history, start = next(at)
        read(history, start, steps)

    benchmark(window)
    tell(benchmark, steps=steps, microseconds=1e6)


@pytest.mark.parametrize("way", ["adbench copied", "h5py", "h5py zstd", "h5py gzip"])
def test_cold_window(benchmark: BenchmarkFixture, folder: Path, way: str) -> None:
    """The first window from files that the system was told to forget (its host may not have)."""
    benchmark.group = "cold window of 4096 steps"
    at = places(4096)

    def forget() -> tuple[tuple[Any, ...], dict[str, Any]]:
        # Before the files are opened: pages that somebody has mapped stay.
        for path in folder.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        return (reader(way, folder, verify=False), *next(at), 4096), {}

    def window(read: Read, history: int, start: int, steps: int) -> None:
        read(history, start, steps)

    benchmark.pedantic(window, setup=forget, rounds=20)  # type: ignore[no-untyped-call]
    tell(benchmark, steps=4096, microseconds=1e6)


def one_array_a_field(arrays: dict[str, np.ndarray], rows: int, length: int) -> Callable[[], None]:
    """Rows by one fancy index from arrays in memory: no final observations, no borders."""
    rng = np.random.default_rng(0)
    tensors = {name: torch.from_numpy(arrays[name]) for name in ("observation", "action", "reward")}

    def batch() -> None:
        history = torch.from_numpy(rng.integers(0, HISTORIES, (rows, 1)))
        step = torch.from_numpy(rng.integers(0, STEPS - length, (rows, 1))) + torch.arange(length)
        observation, action, reward = (x[history, step] for x in tensors.values())
        observation.long(), action.long(), reward.float()
        torch.cat((torch.full((rows, 1), -1), action[:, :-1].long()), 1)

    return batch


@pytest.mark.parametrize(("rows", "length"), [(32, 840), (32, 4096), (512, 200)])
@pytest.mark.parametrize("way", ["adbench", "fancy index in memory"])
def test_training_rows(
    benchmark: BenchmarkFixture,
    folder: Path,
    arrays: dict[str, np.ndarray],
    way: str,
    rows: int,
    length: int,
) -> None:
    benchmark.group = f"{rows} rows of {length} tokens"
    if way == "adbench":
        store = HistoryStore.open(folder)
        sampler = WindowSampler(store, row_steps=length, subsample=5, seed=0, label="bench")
        benchmark(sampler.batch, rows)
    else:
        benchmark(one_array_a_field(arrays, rows, length))
    tell(benchmark, tokens=rows * length, milliseconds=1e3)


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    path = tmp_path_factory.mktemp("poses")
    run = RunConfig(
        env="watermaze",
        tasks=TasksConfig(train=16),
        collect=CollectConfig(learners_per_task=4, episodes=40, expert_episodes=0, max_episodes=40),
    )
    collect(run, seed=0, folder=path)
    return HistoryStore.open(path)


@pytest.mark.parametrize("what", ["rows of frames", "rows of states", "frames alone"])
def test_rows_of_frames(benchmark: BenchmarkFixture, poses: HistoryStore, what: str) -> None:
    """What training waits for before the model: rows gathered and drawn; and both parts of it."""
    benchmark.group = "64 rows of 200 frames 64x64"
    sampler = WindowSampler(poses, row_steps=200, seed=0, label="bench")
    draw = RowFrames(plugins.family("watermaze"), poses.tasks)
    rows, cpu = sampler.batch(64), torch.device("cpu")
    assert rows.valid.all(), "padding is not drawn: do not time it"
    frames = draw(rows, cpu).observation
    assert isinstance(frames, Tensor) and frames.shape == (64, 200, 64, 64, 3)
    todo: dict[str, Callable[[], object]] = {
        "rows of frames": lambda: draw(sampler.batch(64), cpu),
        "rows of states": lambda: sampler.batch(64),
        "frames alone": lambda: draw(rows, cpu),
    }
    benchmark(todo[what])
    tell(benchmark, frames=64 * 200, milliseconds=1e3)


def test_write_a_shard(
    benchmark: BenchmarkFixture, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Narrow, check, write, flush to disk, hash, rename, list."""

    def write() -> None:
        write_shard(tmp_path, 0, arrays, meta())

    benchmark.pedantic(write, rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]
    tell(
        benchmark, env_steps=HISTORIES * STEPS, bytes=sum(array.nbytes for array in arrays.values())
    )


@pytest.mark.parametrize("verify", [True, False])
def test_open(benchmark: BenchmarkFixture, folder: Path, verify: bool) -> None:
    """Open 8 shards; with `verify`, read, hash and check every number."""
    size = sum(path.stat().st_size for path in folder.glob("shard-*.h5"))
    benchmark(HistoryStore.open, folder, verify=verify)
    tell(benchmark, bytes=size, milliseconds=1e3)


def tell(benchmark: BenchmarkFixture, **units: float) -> None:
    """Add the median in the units given, and rates of the amounts given."""
    assert benchmark.stats is not None
    median = benchmark.stats.stats.median
    for unit, amount in units.items():
        if unit in ("microseconds", "milliseconds"):
            benchmark.extra_info[f"median_{unit}"] = round(median * amount, 3)
        else:
            benchmark.extra_info[f"{unit}_per_s"] = round(amount / median)
    benchmark.extra_info["threads"] = torch.get_num_threads()
