"""The Triton ray caster shows what the definition and the CPU kernel show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Scene, build_scene, raycast
from adbench_kernels.configs import Tile, override
from adbench_kernels.ray_casting import Box, Disc, Part, Wall
from adbench_kernels.ray_casting.library import raycast_triton
from adbench_kernels.ray_casting.triton import launch
from adbench_kernels.ray_casting.triton.packing import packed
from kernel_checks.frames import twins_agree
from kernel_checks.memory import GUARD_BYTES, filler
from kernel_checks.rooms import DRAWERS, pictures, poses, room

SMALL = Tile(block_m=16, block_n=16, num_warps=4, num_stages=1)


@pytest.fixture(scope="module")
def maze() -> Scene:
    return build_scene([room()], textures=pictures())


def furnished(*bodies: Part) -> Scene:
    return build_scene([[*room(), *bodies]], textures=pictures())


BODIES: tuple[Part, ...] = (
    Box((1.2, 0.1), (0.6, 1.0, 0.4), bottom=0.3, yaw=0.2, colour=(1.0, 0.5, 0.0), body="a"),
    Disc((1.0, 0.5), 0.4, 0.2, corners=7, texture="water", texels_per_metre=64.0, body="b"),
    Wall((2.0, -0.2), (1.8, -0.9), 0.0, 1.0, texture="card", uv=(0.0, 0.0, 1.0, 1.0), body="a"),
)


def fenced(x: Tensor) -> Tensor:
    """The same numbers, contiguous, between NaN (integers: the largest)."""
    fence = GUARD_BYTES // x.element_size()
    buffer = torch.full((x.numel() + 2 * fence,), filler(x.dtype), dtype=x.dtype)
    inner = buffer[fence : fence + x.numel()].view(x.shape)
    inner.copy_(x)
    return inner


@pytest.mark.parametrize(
    ("height", "width", "samples"),
    [(1, 1, 1), (1, 1, 4), (17, 33, 1), (17, 33, 4)],
)
def test_frames_are_those_of_the_twins(height: int, width: int, samples: int, maze: Scene) -> None:
    camera = poses(8 if height == 1 else 2, seed=height)
    size: dict[str, Any] = {"height": height, "width": width, "samples": samples}
    with override("raycast", SMALL), override("raycast_multisampled", SMALL):
        ours = raycast(maze, camera, **size, implementation="triton")
    for way in DRAWERS:
        twins_agree(ours, raycast(maze, camera, **size, implementation=way))


@pytest.mark.parametrize(("samples", "tile"), [(1, Tile(32, 16, 4, 1)), (4, Tile(16, 32, 4, 1))])
def test_tiles_do_not_change_a_frame(samples: int, tile: Tile, maze: Scene) -> None:
    frames = []
    for blocks in (SMALL, tile):
        with override("raycast", blocks), override("raycast_multisampled", blocks):
            frames.append(
                raycast(
                    maze,
                    poses(1, seed=2),
                    height=30,
                    width=34,
                    samples=samples,
                    implementation="triton",
                )
            )
    assert torch.equal(*frames)


def test_a_frame_does_not_depend_on_its_neighbours(
    maze: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = poses(5)
    size: dict[str, Any] = {"height": 12, "width": 14, "implementation": "triton"}
    together = raycast(maze, camera, **size)
    alone = torch.cat([raycast(maze, camera[n : n + 1], **size) for n in range(5)])
    monkeypatch.setattr(launch, "AT_ONCE", 2)
    assert torch.equal(together, alone)
    assert torch.equal(together, raycast(maze, camera, **size))
    assert len({frame.sum().item() for frame in together}) == 5


def test_each_camera_sees_the_scene_that_its_index_names() -> None:
    worlds: list[list[Part]] = [
        room(),
        [Box((2.0, 0.0), (1.0, 3.0, 1.0), colour=(1.0, 0.0, 0.0))],
        room()[:3],
        [],
    ]
    scene = build_scene(worlds, textures=pictures())
    camera, index = poses(6), torch.tensor([2, 0, 3, 1, 0, 1])
    size: dict[str, Any] = {"height": 14, "width": 14, "samples": 4}
    frames = raycast(scene, camera, scene_index=index, **size, implementation="triton")
    theirs = raycast(scene, camera, scene_index=index, **size, implementation="reference")
    twins_agree(frames, theirs)
    assert torch.equal(frames[2], theirs[2]), "nothing but sky"


@pytest.mark.parametrize("samples", [1, 4])
def test_bodies_are_drawn_and_lit_where_each_camera_finds_them(samples: int) -> None:
    scene, source = furnished(*BODIES), torch.Generator().manual_seed(1)
    camera = poses(4, seed=5)
    bodies = torch.rand(4, 2, 4, generator=source) * 0.6 - 0.3
    bodies += camera[:, None]  # what they are made of lies ahead of them
    bodies[..., 1] -= 0.9
    bodies[3, :, 1] = -50.0  # below the floor
    size: dict[str, Any] = {"height": 24, "width": 24, "samples": samples, "bodies": bodies}
    frames = raycast(scene, camera, **size, implementation="triton")
    for way in DRAWERS:
        twins_agree(frames, raycast(scene, camera, **size, implementation=way))
    bare = raycast(furnished(), camera, **{**size, "bodies": None}, implementation="triton")
    assert (frames != bare).any(-1).flatten(1).float().mean(1)[:3].min() > 0.02, "they are in view"
    assert torch.equal(frames[3], bare[3])


@pytest.mark.parametrize("parts", [[], room()[:1], room()[2:3], [BODIES[0]]])
def test_scenes_without_walls_or_flats_or_texture_are_drawn_too(parts: list[Part]) -> None:
    scene = build_scene([parts], textures=pictures() if parts else {})
    size: dict[str, Any] = {"height": 9, "width": 9, "samples": 4}
    frames = raycast(scene, poses(2), **size, implementation="triton")
    twins_agree(frames, raycast(scene, poses(2), **size, implementation="reference"))


def test_a_corner_s_pixels_see_no_gap() -> None:
    corners = ((5.0, 5.0), (5.0, -5.0), (-5.0, -5.0), (-5.0, 5.0))
    parts: list[Part] = [
        Wall(corners[k], corners[(k + 1) % 4], -9.0, 9.0, colour=(1.0, 1.0, 1.0)) for k in range(4)
    ]
    scene = build_scene([parts], sky=(0.0, 0.0, 0.0))
    # Yaws and places that send rays exactly into corners and along walls.
    camera = torch.tensor([[x, 0.0, x, k * math.pi / 4] for x in (0.0, 4.9) for k in range(8)])
    for size in (15, 16):
        frames = raycast(scene, camera, height=size, width=size, implementation="triton")
        assert (frames > 0).all()


@pytest.mark.parametrize("yaw", [0.0, -1.0, 3.2, 1000.0, -5000.0])
def test_a_heading_may_have_turned_many_times(yaw: float, maze: Scene) -> None:
    camera = torch.tensor([[0.3, 1.0, -0.2, yaw]])
    size: dict[str, Any] = {"height": 24, "width": 24}
    frames = raycast(maze, camera, **size, implementation="triton")
    twins_agree(frames, raycast(maze, camera, **size, implementation="reference"))


def test_nothing_beside_the_inputs_is_read() -> None:
    scene = furnished(*BODIES)
    camera, index = poses(3), torch.zeros(3, dtype=torch.int64)
    bodies = torch.full((3, 2, 4), 0.3)
    tables = packed(scene)
    plain = raycast_triton(camera, index, bodies, *tables, 13, 11, 4)
    # A level that begins elsewhere would read anywhere: those are not fenced.
    given = [fenced(x) for x in (camera, index, bodies, *tables[:-1])]
    assert torch.equal(raycast_triton(*given, tables.levels, 13, 11, 4), plain)
    # What is not contiguous is read as it is, too.
    apart = torch.cat((camera, torch.full_like(camera, math.nan)), 1)[:, :4]
    assert torch.equal(raycast_triton(apart, index, bodies, *tables, 13, 11, 4), plain)


def test_numbers_that_nobody_looked_at_draw_something_and_read_nothing_else(maze: Scene) -> None:
    camera, tables = poses(3), packed(maze)
    right = raycast_triton(camera, torch.zeros(3).long(), camera[:, :0, None], *tables, 8, 8, 1)
    for index in (-(2**40), 1, 2**40):  # there is one scene
        chosen = torch.full((3,), index)
        frames = raycast_triton(camera, chosen, camera[:, :0, None], *tables, 8, 8, 1)
        assert torch.equal(frames, right)
    numbers = [math.nan, math.inf, -math.inf, 1e30]
    odd = camera[:1].repeat(4 * len(numbers), 1)
    for row, number in enumerate(numbers):
        odd[4 * row : 4 * row + 4].fill_diagonal_(number)
    camera = torch.cat((odd, camera))
    frames = raycast_triton(
        camera, torch.zeros(len(camera)).long(), camera[:, :0, None], *tables, 8, 8, 1
    )
    assert torch.equal(frames[-3:], right), "the others see what they saw"


def test_without_cameras_there_are_no_frames(maze: Scene) -> None:
    frames = raycast(maze, torch.zeros(0, 4), height=4, width=6, implementation="triton")
    assert frames.shape == (0, 4, 6, 3) and frames.dtype == torch.uint8


def test_it_is_one_graph_for_torch_compile() -> None:
    scene = furnished(*BODIES)

    def drawn(camera: Tensor, bodies: Tensor) -> Tensor:
        return raycast(scene, camera, bodies=bodies, height=5, width=6, implementation="triton")

    torch.compiler.reset()
    compiled = torch.compile(drawn, backend="aot_eager", fullgraph=True, dynamic=True)
    camera, bodies = poses(2), torch.full((2, 2, 4), 0.5)
    assert torch.equal(compiled(camera, bodies), drawn(camera, bodies))


def test_auto_stays_with_the_cpu_kernel_and_triton_takes_float32_alone(maze: Scene) -> None:
    size: dict[str, Any] = {"height": 12, "width": 12}
    numba = raycast(maze, poses(2), **size, implementation="numba")
    assert torch.equal(raycast(maze, poses(2), **size), numba)
    with pytest.raises(ValueError, match="implementation: 'triton' takes float32 cameras; got"):
        raycast(maze, poses(2).double(), **size, implementation="triton")
