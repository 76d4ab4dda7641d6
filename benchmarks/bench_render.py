"""Frames a second of the ray caster: in a furnished room with a pool, and beside MiniWorld.

    pytest benchmarks/bench_render.py

One thread draws: frames a second and core. What is timed is first held against the definition, or
against MiniWorld's frames.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from adbench_envs.watermaze import Watermaze
from adbench_envs.worlds.opengl.libraries import missing, settings
from adbench_envs.worlds.parity import BOUNDS, anywhere, difference
from adbench_kernels import Scene, raycast
from benchmarks import water_maze

FRAMES = 64
CHECKED = 4

# As in the tests: roundings, and in a few pixels of a thousand another mip level.
TWIN_ERROR = 2
TWIN_SHARE = 0.997

Tell = Callable[..., None]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return water_maze.scene()


@pytest.fixture(scope="module")
def camera() -> Tensor:
    return water_maze.cameras(FRAMES, seed=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (72, 96)])
@pytest.mark.parametrize("way", ["numba", "reference"])
def test_frames(
    benchmark: BenchmarkFixture,
    tell: Tell,
    scene: Scene,
    camera: Tensor,
    way: Any,
    height: int,
    width: int,
    samples: int,
) -> None:
    size: dict[str, Any] = {"height": height, "width": width, "samples": samples}
    frames = FRAMES if way == "numba" else CHECKED
    first = camera[:CHECKED]
    exact = raycast(scene, first.double(), **size, implementation="reference").int()
    error = (raycast(scene, first, **size, implementation=way).int() - exact).abs().amax(-1)
    assert (error <= TWIN_ERROR).float().mean() >= TWIN_SHARE, "wrong: not timed"

    spent: list[float] = []

    def draw() -> Tensor:
        # Time of this process alone: a neighbour on the same core does not count.
        begin = time.process_time()
        drawn = raycast(scene, camera[:frames], **size, implementation=way)
        spent.append(time.process_time() - begin)
        return drawn

    rounds = 30 if way == "numba" else 3
    benchmark.pedantic(draw, rounds=rounds, warmup_rounds=2)  # type: ignore[no-untyped-call]
    cpu_seconds = statistics.median(spent[-rounds:])  # without those that warmed up
    tell(frames, "frames", frames_per_cpu_second=round(frames / cpu_seconds), **size)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 96)])
def test_raycast_beside_miniworld(
    benchmark: BenchmarkFixture,
    tell: Tell,
    tmp_path: Path,
    height: int,
    width: int,
    samples: int,
) -> None:
    """The water maze from the same poses, in turns; MiniWorld's `render_obs` in its own process."""
    if missing():
        pytest.skip(" ".join(missing()))
    family = Watermaze(height=height, width=width, samples=samples)
    states = anywhere(family, FRAMES, seed=0)
    program = Path(__file__).with_name("miniworld_frames.py")
    path = tmp_path / "frames.npy"
    with subprocess.Popen(
        [sys.executable, str(program), str(path), str(height), str(width)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings()},
    ) as miniworld:
        assert miniworld.stdin is not None and miniworld.stdout is not None

        def ask(line: str) -> str:
            assert miniworld.stdin is not None and miniworld.stdout is not None
            print(line, file=miniworld.stdin, flush=True)
            return miniworld.stdout.readline()

        assert ask(json.dumps(states["pose"].tolist())) == "ready\n"
        found = difference(family.render_state(states), torch.from_numpy(np.load(path)))
        assert found.within(BOUNDS[samples]), "another picture: not timed"

        spent: list[float] = []
        theirs: list[float] = []

        def draw() -> Tensor:
            begin = time.process_time()
            drawn = family.render_state(states)
            spent.append(time.process_time() - begin)
            return drawn

        def turn() -> None:
            theirs.append(float(ask("again")))

        rounds = 30
        benchmark.pedantic(draw, setup=turn, rounds=rounds, warmup_rounds=2)  # type: ignore[no-untyped-call]
        miniworld.stdin.close()
    ours_seconds, their_seconds = (
        statistics.median(spent[-rounds:]),
        statistics.median(theirs[-rounds:]),
    )
    tell(
        FRAMES,
        "frames",
        frames_per_cpu_second=round(FRAMES / ours_seconds),
        miniworld_frames_per_cpu_second=round(FRAMES / their_seconds),
        times_miniworld=round(their_seconds / ours_seconds, 2),
        mean_error=round(found.mean_error, 3),
        share_alike=round(found.share_alike, 4),
        height=height,
        width=width,
        samples=samples,
    )
