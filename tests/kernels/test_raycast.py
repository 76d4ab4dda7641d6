"""Frames of scenes whose picture is known, and twins that must show the same one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Scene, build_scene, raycast
from adbench_kernels.ray_casting import Box, Disc, Flat, Light, Part, Picture, Wall
from kernel_checks.frames import twins_agree
from kernel_checks.rooms import DRAWERS, brute_force, pictures, poses, room

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
DAYLIGHT = Light(ambient=1.0, diffuse=0.0)
"""Faces show their own colours."""

SKY = (0.0, 0.0, 0.0)


def bare(*parts: Any) -> Scene:
    return build_scene([parts], light=DAYLIGHT, sky=SKY)


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Tensor:
    return torch.tensor([[x, y, z, yaw]])


def colour_of(frame: Tensor, row: int, column: int) -> tuple[int, ...]:
    return tuple(frame[0, row, column].tolist())


def is_colour(frame: Tensor, colour: tuple[int, int, int]) -> Tensor:
    return (frame[0] == torch.tensor(colour, dtype=torch.uint8)).all(-1)


@pytest.fixture(params=DRAWERS)
def way(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield request.param


@pytest.fixture(scope="module")
def maze() -> Scene:
    return build_scene([room()], textures=pictures())


@pytest.mark.parametrize("samples", [1, 4])
def test_a_wall_fills_the_rows_that_its_height_and_distance_say(way: Any, samples: int) -> None:
    scene = bare(Wall((2.0, 9.0), (2.0, -9.0), bottom=-0.5, top=0.5, colour=(1.0, 0.0, 0.0)))
    frame = raycast(scene, at(), height=64, width=8, samples=samples, implementation=way)
    # Half a metre at 2 m is a slope of 0.25, of tan(30 degrees) = 0.577 for 32 rows: 13.86 rows.
    seen = is_colour(frame, RED)
    rows = torch.nonzero(seen.all(1)).flatten().tolist()
    if samples == 1:  # rows whose middle is within 13.86 of the frame's middle
        assert rows == list(range(32 - 14, 32 + 14))
    else:  # the lowest sample of row 18 is in, the highest one is not
        assert rows == list(range(32 - 13, 32 + 13))
        assert 0 < frame[0, 18, 4, 0] < 255
    assert not seen[: 32 - 14].any() and not seen[32 + 14 :].any()


def test_a_box_that_turns_into_view_is_in_the_middle_when_the_camera_faces_it(way: Any) -> None:
    # North is negative z: a quarter turn to the left of east.
    scene = bare(Box((0.0, -3.0), (0.5, 2.0, 0.5), bottom=-1.0, colour=(0.0, 1.0, 0.0)))
    east, north, west = (
        is_colour(raycast(scene, at(yaw=yaw), height=17, width=17, implementation=way), GREEN)
        for yaw in (0.0, math.pi / 2, math.pi)
    )
    assert north[8, 8] and not east.any() and not west.any()
    assert torch.equal(north, north.flip(1)), "symmetric about the middle"
    turned_less = raycast(scene, at(yaw=math.pi / 2 - 0.2), height=17, width=17, implementation=way)
    columns = torch.nonzero(is_colour(turned_less, GREEN).any(0)).flatten()
    assert columns.max() < 8, "what is to the left of the view is on its left"


def test_the_nearer_surface_hides_the_farther_one_in_whatever_order_they_come(way: Any) -> None:
    near = Wall((2.0, 1.0), (2.0, -1.0), -1.0, 1.0, colour=(1.0, 0.0, 0.0))
    far = Wall((4.0, 9.0), (4.0, -9.0), -9.0, 9.0, colour=(0.0, 0.0, 1.0))
    frames = [
        raycast(bare(*parts), at(), height=32, width=32, implementation=way)
        for parts in ((near, far), (far, near))
    ]
    assert torch.equal(*frames)
    assert colour_of(frames[0], 16, 16) == RED
    assert colour_of(frames[0], 0, 0) == BLUE


def test_a_floor_meets_its_wall_without_a_gap_and_hides_what_is_below(way: Any) -> None:
    corners = ((5.0, 5.0), (5.0, -5.0), (-5.0, -5.0), (-5.0, 5.0))
    parts: list[Any] = [
        Wall(corners[k], corners[(k + 1) % 4], 0.0, 3.0, colour=(1.0, 0.0, 0.0)) for k in range(4)
    ]
    parts += [
        Flat(corners, 0.0, "up", (0.0, 1.0, 0.0)),
        Flat(corners, 3.0, "down", (0.0, 0.0, 1.0)),
    ]
    parts += [Box((3.0, 0.0), (1.0, 0.5, 1.0), bottom=-0.6)]
    generator = torch.Generator().manual_seed(0)
    camera = torch.rand(64, 4, generator=generator) * torch.tensor([8.0, 2.0, 8.0, 6.3])
    camera -= torch.tensor([4.0, -0.5, 4.0, 0.0])
    # Yaws and places that send rays exactly into corners and along walls.
    camera[:8] = torch.tensor([[0.0, 1.5, 0.0, k * math.pi / 4] for k in range(8)])
    for size in (15, 16):
        frames = raycast(bare(*parts), camera, height=size, width=size, implementation=way)
        assert (frames.amax(-1) == 255).all(), "every ray ends on a wall, the floor or the ceiling"
        assert (frames.int().sum(-1) == 255).all(), "and none of them on the box below the floor"


def test_a_disc_is_an_ellipse_of_the_right_width_and_height(way: Any) -> None:
    scene = bare(Disc((4.0, 0.0), 1.0, height=0.0, corners=256, colour=(1.0, 0.0, 0.0)))
    size, eye = 256, 1.0
    frame = raycast(scene, at(y=eye), height=size, width=size, implementation=way)
    seen = is_colour(frame, RED)
    pixels = size / 2 / math.tan(math.pi / 6)
    rows, columns = (torch.nonzero(seen.any(k)).flatten() for k in (1, 0))
    assert abs(int(rows.min()) - (size / 2 + eye / 5 * pixels)) <= 1
    assert abs(int(rows.max()) - (size / 2 + eye / 3 * pixels)) <= 1
    # Rays that touch a circle of radius 1 from 4 m away: a slope of 1 / sqrt(15).
    assert abs((columns.max() - columns.min() + 1) / 2 - pixels / math.sqrt(15.0)) <= 1
    # The area of the ellipse with those axes.
    height = eye / 3 * pixels - eye / 5 * pixels
    ellipse = math.pi / 4 * height * 2 * pixels / math.sqrt(15.0)
    assert seen.sum() == pytest.approx(ellipse, rel=0.02)


def test_surfaces_are_not_seen_from_behind(way: Any) -> None:
    wall = Wall((2.0, -1.0), (2.0, 1.0), -1.0, 1.0, colour=(1.0, 0.0, 0.0))
    floor = Flat(((1.0, 1.0), (3.0, 1.0), (3.0, -1.0)), -0.5, "down", (1.0, 0.0, 0.0))
    frame = raycast(bare(wall, floor), at(), height=16, width=16, implementation=way)
    assert not frame.any()


def test_a_picture_hangs_upright_and_is_not_mirrored(way: Any) -> None:
    image = torch.zeros(64, 64, 3, dtype=torch.uint8)
    image[:32, :32], image[:32, 32:] = torch.tensor(RED), torch.tensor(GREEN)
    image[32:, :32] = torch.tensor(BLUE)
    for yaw in (0.0, 1.0, math.pi):
        # Two metres ahead of the eye, facing it.
        x, z = 2.0 * math.cos(yaw), -2.0 * math.sin(yaw)
        scene = build_scene(
            [[Picture((x, 0.0, z), yaw + math.pi, 1.0, 1.0, "card", depth=0.01)]],
            textures={"card": image}, light=DAYLIGHT, sky=(1.0, 1.0, 1.0),
        )  # fmt: skip
        frame = raycast(scene, at(yaw=yaw), height=64, width=64, implementation=way)
        assert colour_of(frame, 24, 24) == RED
        assert colour_of(frame, 24, 40) == GREEN
        assert colour_of(frame, 40, 24) == BLUE
        assert colour_of(frame, 40, 40) == (0, 0, 0)


def test_a_floor_s_texture_lies_along_x_and_z(way: Any) -> None:
    # One texel a quarter metre: red where 0 < x < 1/4 and 0 < z < 1/4, modulo half a metre.
    image = torch.zeros(2, 2, 3, dtype=torch.uint8)
    image[1, 0] = torch.tensor(RED)  # the lower left corner of the picture
    field = ((-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0))
    scene = build_scene(
        [[Flat(field, 0.0, texture="tiles", texels_per_metre=4.0)]],
        textures={"tiles": image}, light=DAYLIGHT,
    )  # fmt: skip
    size = 601
    frame = raycast(scene, at(0.125, 0.25, 0.125), height=size, width=size, implementation=way)
    pixels = size / 2 / math.tan(math.pi / 6)
    for ahead, aside, red in ((1.0, 0.0, 255), (1.0, 0.25, 0), (1.0, 0.5, 255), (1.25, 0.0, 0)):
        row, column = (
            int(size / 2 + 0.25 / ahead * pixels),
            int(size / 2 + aside / ahead * pixels),
        )
        assert abs(int(frame[0, row, column, 0]) - red) < 20, (ahead, aside)


def test_light_falls_on_each_face_by_its_direction(way: Any) -> None:
    light = Light(towards=(1.0, 0.0, 0.0), ambient=0.25, diffuse=0.5)
    grey = (0.8, 0.8, 0.8)
    lit = Wall((-2.0, -1.0), (-2.0, 1.0), -1.0, 1.0, colour=grey)
    dark = Wall((2.0, 1.0), (2.0, -1.0), -1.0, 1.0, colour=grey)
    scene = build_scene([[lit, dark]], light=light)
    camera = torch.tensor([[0.0, 0.0, 0.0, math.pi], [0.0, 0.0, 0.0, 0.0]])
    frames = raycast(scene, camera, height=4, width=4, implementation=way)
    assert frames[0, 2, 2].tolist() == [153] * 3  # 0.8 * (0.25 + 0.5)
    assert frames[1, 2, 2].tolist() == [51] * 3  # 0.8 * 0.25


def test_far_textures_fade_into_their_mean(way: Any) -> None:
    # A checkerboard of single texels: 127.5 on the whole, rounded up by mip levels.
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    image = board[..., None].expand(64, 64, 3).to(torch.uint8)
    wall = Wall((8.0, 9.0), (8.0, -9.0), -9.0, 9.0, texture="board")
    scene = build_scene([[wall]], textures={"board": image}, light=DAYLIGHT)
    for samples in (1, 4):
        frame = raycast(scene, at(), height=24, width=24, samples=samples, implementation=way)
        assert (frame == 128).all()


def test_the_sky_is_where_nothing_is(way: Any) -> None:
    scene = build_scene([[]], sky=(0.25, 0.82, 1.0))
    for samples in (1, 4):
        frame = raycast(scene, at(), height=3, width=5, samples=samples, implementation=way)
        assert (frame == torch.tensor([64, 209, 255])).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (9, 12)])
@pytest.mark.parametrize("samples", [1, 4])
def test_the_definition_is_what_rays_and_planes_say_one_by_one(
    height: int, width: int, samples: int, maze: Scene
) -> None:
    camera = poses(2 if height * width < 50 else 1, seed=3).double()
    ours = raycast(
        maze, camera, height=height, width=width, samples=samples, implementation="reference"
    )
    expected = brute_force(room(), pictures(), camera, height, width, samples)
    # Both in float64; a value that is half way between two bytes may go either way.
    assert (ours.int() - expected.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (7, 5), (32, 32), (64, 64), (72, 96), (33, 130)]
)
@pytest.mark.parametrize("samples", [1, 4])
def test_the_cpu_kernel_shows_what_the_definition_shows(
    height: int, width: int, samples: int, maze: Scene
) -> None:
    camera = poses(6 if height * width > 1000 else 64, seed=height)
    ours, theirs = (
        raycast(maze, camera, height=height, width=width, samples=samples, implementation=way)
        for way in DRAWERS
    )
    twins_agree(ours, theirs)


@pytest.mark.parametrize("samples", [1, 4])
def test_a_frame_does_not_depend_on_its_neighbours(way: Any, samples: int, maze: Scene) -> None:
    camera = poses(5)
    size = {"height": 20, "width": 24, "samples": samples, "implementation": way}
    together = raycast(maze, camera, **size)
    alone = torch.cat([raycast(maze, camera[n : n + 1], **size) for n in range(5)])
    assert torch.equal(together, alone)
    assert together.float().std() > 0


def test_no_camera_gives_no_frame(way: Any, maze: Scene) -> None:
    frames = raycast(maze, torch.zeros(0, 4), height=4, width=6, implementation=way)
    assert frames.shape == (0, 4, 6, 3) and frames.dtype == torch.uint8


def test_each_camera_sees_the_scene_that_its_index_names(way: Any) -> None:
    worlds: list[list[Part]] = [
        room(),
        room()[:3],
        [Box((2.0, 0.0), (1.0, 3.0, 1.0), colour=(1.0, 0.0, 0.0))],
    ]
    images = pictures()
    together = build_scene(worlds, textures=images)
    camera, index = poses(6), torch.tensor([2, 0, 1, 1, 0, 2])
    size = {"height": 16, "width": 16, "samples": 4, "implementation": way}
    frames = raycast(together, camera, scene_index=index, **size)
    for n, scene in enumerate(index.tolist()):
        alone = raycast(build_scene([worlds[scene]], textures=images), camera[n : n + 1], **size)
        assert torch.equal(frames[n : n + 1], alone)


def test_a_body_that_moves_along_with_the_camera_looks_the_same(way: Any) -> None:
    parts: list[Any] = [
        Box((1.2, 0.1), (0.6, 1.0, 0.4), bottom=0.3, yaw=0.2, colour=(1.0, 0.5, 0.0), body="a"),
        Disc((1.0, 0.5), 0.4, 0.2, corners=7, texture="water", texels_per_metre=64.0, body="b"),
        Wall((2.0, -0.2), (1.8, -0.9), 0.0, 1.0, texture="card", uv=(0.0, 0.0, 1.0, 1.0), body="a"),
    ]
    scene = build_scene([parts], textures=pictures(), light=DAYLIGHT)
    assert scene.bodies == ("a", "b")
    eye, size = at(-1.0, 0.8, 0.2, 0.1), {"height": 40, "width": 40, "implementation": way}
    still = raycast(scene, eye, **size)
    assert len({tuple(pixel) for pixel in still.view(-1, 3).tolist()}) > 20, (
        "all of them are in view"
    )
    for dx, dy, dz, yaw in ((0.5, 0.25, -1.0, 0.0), (0.0, 0.0, 0.0, 1.3), (3.0, -1.0, 2.0, -2.5)):
        cos, sin = math.cos(yaw), math.sin(yaw)
        x, y, z, heading = eye[0].tolist()
        camera = at(dx + x * cos + z * sin, dy + y, dz - x * sin + z * cos, heading + yaw)
        bodies = torch.tensor([dx, dy, dz, yaw]).expand(1, 2, 4)
        twins_agree(raycast(scene, camera, bodies=bodies, **size), still)
        assert not torch.equal(raycast(scene, eye, bodies=bodies, **size), still)


def test_bodies_are_lit_where_they_stand_each_for_its_own_camera(way: Any) -> None:
    images, box = pictures(), Box((0.3, 0.0), (0.6, 1.0, 0.4), colour=(1.0, 0.5, 0.2))
    body = Box(box.centre, box.size, colour=box.colour, body="box")
    scene = build_scene([[*room(), body]], textures=images)
    camera, source = poses(5), torch.Generator().manual_seed(1)
    bodies = torch.rand(5, 1, 4, generator=source) * 2.0 - 1.0
    size = {"height": 32, "width": 32, "implementation": way}
    frames = raycast(scene, camera, bodies=bodies, **size)
    for n in range(5):
        dx, dy, dz, yaw = bodies[n, 0].tolist()
        centre = (dx + 0.3 * math.cos(yaw), dz - 0.3 * math.sin(yaw))
        there = Box(centre, box.size, dy, yaw, box.colour)
        alone = build_scene([[*room(), there]], textures=images)
        twins_agree(frames[n : n + 1], raycast(alone, camera[n : n + 1], **size))


def test_a_body_below_the_floor_is_not_seen(way: Any) -> None:
    scene = build_scene(
        [[*room(), Box((0.0, 0.0), (1.0, 1.0, 1.0), body="box")]], textures=pictures()
    )
    camera, away = poses(4), torch.tensor([0.0, -50.0, 0.0, 0.0]).expand(4, 1, 4)
    size = {"height": 24, "width": 24, "implementation": way}
    without = raycast(build_scene([room()], textures=pictures()), camera, **size)
    assert torch.equal(raycast(scene, camera, bodies=away, **size), without)


def test_auto_takes_numba_for_float32_and_the_definition_for_float64(maze: Scene) -> None:
    camera = poses(2)
    size: dict[str, Any] = {"height": 16, "width": 16}
    fast = raycast(maze, camera, **size, implementation="numba")
    assert torch.equal(raycast(maze, camera, **size), fast)
    exact = raycast(maze, camera.double(), **size, implementation="reference")
    assert torch.equal(raycast(maze, camera.double(), **size), exact)


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_is_one_graph_for_torch_compile(way: Any, dynamic: bool) -> None:
    body = Box((1.0, 0.0), (0.5, 1.0, 0.5), body="box")
    scene, index = build_scene([[*room(), body]], textures=pictures()), torch.zeros(3).long()

    def drawn(camera: Tensor, bodies: Tensor) -> Tensor:
        return raycast(
            scene, camera, scene_index=index, bodies=bodies, height=9, width=12, implementation=way
        )

    torch.compiler.reset()
    compiled = torch.compile(drawn, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for seed in range(2):  # the second time the tables are there
        camera, bodies = poses(3, seed), torch.full((3, 1, 4), 0.5)
        assert torch.equal(compiled(camera, bodies), drawn(camera, bodies))


def test_frames_have_no_gradient(way: Any, maze: Scene) -> None:
    camera = poses(1).requires_grad_()
    frames = raycast(maze, camera, height=4, width=4, implementation=way)
    assert not frames.requires_grad


def test_a_compiled_call_refuses_what_would_read_beside_the_tables(maze: Scene) -> None:
    def drawn(camera: Tensor, index: Tensor) -> Tensor:
        return raycast(maze, camera, scene_index=index, height=4, width=4, implementation="numba")

    torch.compiler.reset()
    compiled = torch.compile(drawn, backend="aot_eager", fullgraph=True)
    for index in (-1, 1):
        with pytest.raises(ValueError, match="scene_index: must be 0 to 0"):
            compiled(poses(1), torch.tensor([index]))


def test_threads_do_not_change_a_frame(maze: Scene) -> None:
    camera, threads = poses(9), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = raycast(maze, camera, height=16, width=16)
        torch.set_num_threads(3)
        together = raycast(maze, camera, height=16, width=16)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, together)
