"""Frames a second of the ray caster: in a furnished room with a pool, and beside MiniWorld.

    pytest benchmarks/bench_render.py

One thread draws: frames a second and core. What is timed is first held against the definition, or
against MiniWorld's frames. CPU time of the process stands beside the wall's: a neighbour on the
same core does not count there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adbench_envs.watermaze import Watermaze
from adbench_envs.worlds.opengl.libraries import missing, settings
from adbench_envs.worlds.parity import BOUNDS, anywhere, difference
from adbench_kernels import Scene, raycast
from benchmarks import water_maze
from benchmarks.meter import Meter, scales

FRAMES, GPU_FRAMES = 64, 4096
CHECKED = 4

# As in the tests: roundings, and in a few pixels of a thousand another mip level.
TWIN_ERROR = 2
TWIN_SHARE = 0.997

pytestmark = [pytest.mark.benchmark(group="rendering"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return water_maze.scene()


class CpuClock:
    """Calls something and remembers the CPU seconds of this process that each call took."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.spent: list[float] = []

    def __call__(self) -> object:
        begin = time.process_time()
        result = self._call()
        self.spent.append(time.process_time() - begin)
        return result

    def frames_a_second(self, frames: int) -> float | None:
        """By the median of all calls; none where they were too short for the clock."""
        median = statistics.median(self.spent)
        return round(frames / median) if median > 0 else None


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("way", ["auto", "reference"])
@scales("size", (32, 32), (64, 64), (72, 96), full=(), gpu=((64, 64), (72, 96), (84, 84)))
def test_frames(meter: Meter, scene: Scene, way: Any, samples: int, size: tuple[int, int]) -> None:
    height, width = size
    name = "adbench" if way == "auto" else "the definition in torch"
    meter.about(f"frames of a water maze, {samples} sample{'s' * (samples > 1)} a pixel", name,
                ours=way == "auto", frame=height * width)  # fmt: skip
    many = GPU_FRAMES if meter.device == "cuda" else FRAMES
    frames = many if way == "auto" and not meter.tiny else CHECKED
    there = scene.to(meter.device) if meter.device == "cuda" else scene
    camera = water_maze.cameras(frames, seed=1).to(meter.device)
    shape: dict[str, Any] = {"height": height, "width": width, "samples": samples}

    def check() -> None:
        first = camera[:CHECKED]
        exact = raycast(there, first.double(), **shape, implementation="reference").int()
        error = (raycast(there, first, **shape, implementation=way).int() - exact).abs().amax(-1)
        assert (error <= TWIN_ERROR).float().mean() >= TWIN_SHARE, "another picture: not timed"

    draw = CpuClock(lambda: raycast(there, camera, **shape, implementation=way))
    meter.time(draw, check=check, items=frames, frames=frames)
    if meter.device == "cpu":
        meter.tell(frames_per_cpu_second=draw.frames_a_second(frames))


@contextmanager
def miniworld(path: Path, poses: Tensor, height: int, width: int) -> Iterator[Callable[[], float]]:
    """A process that draws these poses again each time it is asked, and says its CPU seconds.

    Args:
        path: where it saves the frames, once.
        poses: [N, 3].
        height: of a frame.
        width: of a frame.
    """
    program = Path(__file__).with_name("miniworld_frames.py")
    with subprocess.Popen(
        [sys.executable, str(program), str(path), str(height), str(width)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings()},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        into, out = process.stdin, process.stdout

        def ask(line: str) -> str:
            print(line, file=into, flush=True)
            return out.readline()

        assert ask(json.dumps(poses.tolist())) == "ready\n", "MiniWorld did not start"
        yield lambda: float(ask("again"))
        into.close()


@pytest.mark.only("cpu")
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("who", ["ours", "MiniWorld"])
@scales("size", (64, 64), (72, 96))
def test_beside_miniworld(
    meter: Meter, tmp_path: Path, who: str, samples: int, size: tuple[int, int]
) -> None:
    """The water maze from the same poses; MiniWorld's `render_obs` in a process of its own."""
    height, width = size
    case = f"the environment watermaze, {samples} sample{'s' * (samples > 1)} a pixel"
    meter.about(case, "adbench" if who == "ours" else who, ours=who == "ours",
                frame=height * width)  # fmt: skip
    if missing():
        pytest.skip(" ".join(missing()))
    family = Watermaze(height=height, width=width, samples=samples)
    frames = FRAMES  # the bounds are for as many, also in a trial
    states = anywhere(family, frames, seed=0)
    path = tmp_path / "frames.npy"
    with miniworld(path, states["pose"], height, width) as again:
        theirs: list[float] = []

        def check() -> None:
            found = difference(family.render_state(states), torch.from_numpy(np.load(path)))
            meter.tell(
                mean_error=round(found.mean_error, 3), share_alike=round(found.share_alike, 4)
            )
            assert found.within(BOUNDS[samples]), "another picture: not timed"

        ours = CpuClock(lambda: family.render_state(states))
        draw = ours if who == "ours" else lambda: theirs.append(again())
        meter.time(draw, check=check, items=frames, frames=frames)
    if who == "ours":
        meter.tell(frames_per_cpu_second=ours.frames_a_second(frames))
    else:
        meter.tell(frames_per_cpu_second=round(frames / statistics.median(theirs)))
