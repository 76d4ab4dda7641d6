"""Ray casting as compiled for the GPU: the twins' picture, the same every time, past 2^31 bytes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Scene, build_scene, raycast
from adbench_kernels.ray_casting import Box, Disc, Part
from kernel_checks.frames import twins_agree
from kernel_checks.rooms import pictures, poses, room

DEVICE = "cuda"
BODIES: tuple[Part, ...] = (
    Box((0.2, 0.0), (0.5, 0.9, 0.7), colour=(0.6, 0.3, 0.1), body="box"),
    Disc((0.0, 0.3), 0.6, 0.0, corners=5, texture="brick", texels_per_metre=90.0, body="lid"),
)


@pytest.fixture(scope="module")
def maze() -> Scene:
    return build_scene([[*room(), *BODIES], room()], textures=pictures())


def request(count: int, seed: int = 0) -> tuple[Tensor, dict[str, Any]]:
    """Cameras on the CPU; scenes in turn, and bodies ahead of each camera."""
    source = torch.Generator().manual_seed(seed)
    camera = poses(count, seed)
    bodies = torch.rand(count, 2, 4, generator=source) - 0.5
    yaw = camera[:, 3]
    bodies[..., 0::2] += (camera[:, 0::2] + 1.5 * torch.stack((yaw.cos(), -yaw.sin()), -1))[:, None]
    bodies[..., 3] *= 2.0 * math.pi
    return camera, {"scene_index": torch.arange(count) % 2, "bodies": bodies}


def there(camera: Tensor, options: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The same on the GPU."""
    return camera.to(DEVICE), {name: x.to(DEVICE) for name, x in options.items()}


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (17, 33), (32, 32), (64, 64), (72, 96), (84, 84), (200, 130)]
)
def test_frames_are_those_of_the_definition_and_of_the_cpu_kernel(
    height: int, width: int, samples: int, maze: Scene
) -> None:
    camera, options = request(8 if height > 100 else 40, seed=height)
    size: dict[str, Any] = {"height": height, "width": width, "samples": samples}
    scene, (on_gpu, given) = maze.to(DEVICE), there(camera, options)
    ours = raycast(scene, on_gpu, **given, **size, implementation="triton")
    twins_agree(ours, raycast(scene, on_gpu, **given, **size, implementation="reference"))
    twins_agree(ours.cpu(), raycast(maze, camera, **options, **size, implementation="numba"))
    exact = {**given, "bodies": given["bodies"].double()}
    right = raycast(scene, on_gpu.double(), **exact, **size, implementation="reference")
    twins_agree(ours, right)


@pytest.mark.parametrize("samples", [1, 4])
def test_a_hundred_runs_give_the_same_bits(samples: int, maze: Scene) -> None:
    scene, (camera, given) = maze.to(DEVICE), there(*request(300))
    size: dict[str, Any] = {"height": 64, "width": 64, "samples": samples}
    first = raycast(scene, camera, **given, **size, implementation="triton")
    for _ in range(99):
        assert torch.equal(first, raycast(scene, camera, **given, **size, implementation="triton"))


@pytest.mark.parametrize("samples", [1, 4])
def test_frames_past_two_gigabytes_are_found(samples: int, maze: Scene) -> None:
    count, side = 2**31 // (64 * 64 * 3) + 1000, 64
    scene, (camera, given) = maze.to(DEVICE), there(*request(count))
    size: dict[str, Any] = {"height": side, "width": side, "samples": samples}
    frames = raycast(scene, camera, **given, **size, implementation="triton")
    for some in (slice(0, 3), slice(count - 3, count)):
        alone = raycast(
            scene, camera[some], **{name: x[some] for name, x in given.items()}, **size,
            implementation="triton",
        )  # fmt: skip
        assert torch.equal(frames[some], alone)
        assert float(alone.float().std()) > 0


def test_large_frames_are_drawn_to_their_last_pixel(maze: Scene) -> None:
    scene, (camera, given) = maze.to(DEVICE), there(*request(50))
    frames = raycast(scene, camera, **given, height=4096, width=4096, implementation="triton")
    last = raycast(
        scene, camera[-1:], **{name: x[-1:] for name, x in given.items()}, height=4096, width=4096,
        implementation="triton",
    )  # fmt: skip
    assert frames.numel() > 2**31 and torch.equal(frames[-1:], last)
    assert float(frames[-1, -64:, -64:].float().std()) > 0


def test_it_is_captured_in_a_graph_and_played_again(maze: Scene) -> None:
    scene, (camera, given) = maze.to(DEVICE), there(*request(40))

    def drawn() -> Tensor:
        return raycast(scene, camera, **given, height=64, width=64, implementation="triton")

    drawn()  # compiled, and the tables made, before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        frames = drawn()
    camera.copy_(camera.flip(0))
    graph.replay()
    assert torch.equal(frames, drawn())


def test_auto_serves_a_gpu_compiled_too(maze: Scene) -> None:
    scene, (camera, given) = maze.to(DEVICE), there(*request(40))

    def drawn(camera: Tensor) -> Tensor:
        return raycast(scene, camera, **given, height=32, width=48)

    ours = raycast(scene, camera, **given, height=32, width=48, implementation="triton")
    assert torch.equal(drawn(camera), ours)
    assert torch.equal(torch.compile(drawn, fullgraph=True)(camera), ours)
    exact = {**given, "bodies": given["bodies"].double()}
    frames = raycast(scene, camera.double(), **exact, height=32, width=48)
    twins_agree(frames, ours)  # float64: by the definition


def test_numbers_that_nobody_looked_at_leave_other_frames_alone(maze: Scene) -> None:
    scene, (camera, given) = maze.to(DEVICE), there(*request(20))
    size: dict[str, Any] = {"height": 40, "width": 40, "implementation": "triton"}
    right = raycast(scene, camera, **given, **size)
    camera[:4].fill_diagonal_(math.nan)
    camera[4:8].fill_diagonal_(math.inf)
    given["scene_index"][8:10] = torch.tensor([-(2**40), 2**40])
    given["bodies"][10:12] = 1e30
    assert torch.equal(raycast(scene, camera, **given, **size)[12:], right[12:])
