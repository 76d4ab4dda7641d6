"""What is refused of a world, a frame or a pose, and how it is said."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from adbench.errors import UnknownNameError, UsageError
from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze
from adbench_envs.worlds.checks import check_start
from adbench_envs.worlds.outlines import area, chained, inset, rectangle, regular
from adbench_envs.worlds.world import Camera, Rim, Room, World
from adbench_kernels.ray_casting import Box, Disc, Picture

SQUARE = rectangle(3.0)


def _room(*outline: tuple[float, float], **other: object) -> Room:
    room = Room("den", outline, ("plaster",) * len(outline), "concrete", "panels")
    return replace(room, **other)  # type: ignore[arg-type]


def test_an_outline_that_crosses_itself_is_refused_with_both_walls() -> None:
    with pytest.raises(UsageError, match=r"'cave', room 'den': its outline crosses itself: wall 0"):
        World("cave", (_room((0, 0), (2, 2), (2, 0), (0, 2)),))


def test_an_outline_that_runs_back_over_itself_is_refused() -> None:
    with pytest.raises(UsageError, match="crosses itself"):
        World("cave", (_room((2, 2), (2, -2), (2, 1), (-2, -2)),))


def test_an_open_outline_is_refused() -> None:
    with pytest.raises(UsageError, match=r"its outline is open: 4 corners and 3 walls"):
        World("cave", (_room(*SQUARE, walls=("plaster",) * 3),))


def test_an_opening_that_leads_nowhere_is_refused_with_its_place() -> None:
    walls = ("plaster", None, "plaster", "plaster")
    with pytest.raises(UsageError, match=r"open at wall 1 from \(3, -3\) to \(-3, -3\)"):
        World("cave", (_room(*SQUARE, walls=walls),))


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (lambda: World("cave", ()), "has no room"),
        (lambda: World("cave", (_room(*SQUARE[::-1]),)), "clockwise"),
        (lambda: World("cave", (_room((0, 2), (2, 0), (0, 1), (-2, 0)),)), "not convex"),
        (lambda: World("cave", (_room((0, 0), (0, 0), (1, 1)),)), "wall 0 has no length"),
        (lambda: World("cave", (_room((0, 0), (math.nan, 0), (1, 1)),)), r"corner \(nan, 0\)"),
        (lambda: World("cave", (_room(*SQUARE, height=0.0),)), "height must be finite"),
        (lambda: World("cave", (_room(*SQUARE, texels_per_metre=0.0),)), "texels_per_metre"),
        (lambda: World("cave", (_room(*rectangle(90.0)),)), r"within 100 m of the origin"),
        (lambda: World("cave", (_room(*[(0, 0, 1)] * 3),)), r"corner \(0, 0, 1\)"),  # type: ignore[arg-type]
        (lambda: World("cave", (_room(*SQUARE), _room(*rectangle(1.0)))), "overlap"),
        (lambda: World("cave", (_room(*SQUARE),), body_radius=0.0), "body_radius"),
        (lambda: World("cave", (_room(*SQUARE),), camera=Camera(3.0)), "below 3 m"),
        (lambda: World("cave", (_room(*SQUARE),), camera=Camera(math.nan)), "floor and ceiling"),
        (lambda: World("cave", (_room(*SQUARE),), rims=(Rim(2.0, corners=2),)), "got 2"),
        (lambda: World("cave", (_room(*SQUARE),), rims=(Rim(2.0, (math.nan, 0.0)),)), "rim around"),
        (lambda: World("cave", (_room(*SQUARE),), rims=(Rim(2.0, colour=(2.0, 0, 0)),)), "colour"),
        (
            lambda: World("cave", (_room(*SQUARE),), rims=(Rim(2.0, top=math.nan),)),
            "its top higher",
        ),
        (lambda: World("cave", (_room(*SQUARE),), rims=(Rim(0.1),)), "holds no body"),
        (lambda: World("cave", (_room(*rectangle(0.15, 3.0)),)), "does not fit"),
    ],
)
def test_a_world_that_cannot_be_is_refused(world: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        world()  # type: ignore[operator]


@pytest.mark.parametrize(
    "world",
    [
        lambda: World("cave", (_room(*SQUARE, floor="brciks"),)),
        lambda: World("cave", (_room(*SQUARE, walls=("brciks",) * 4),)),
        lambda: World("cave", (_room(*SQUARE),), discs=(Disc((0, 0), 1.0, texture="brciks"),)),
        lambda: World(
            "cave", (_room(*SQUARE),), pictures=(Picture((0, 1, 0), 0.0, 1.0, 1.0, "brciks"),)
        ),
    ],
)
def test_a_texture_that_is_not_there_is_answered_with_the_nearest(world: object) -> None:
    with pytest.raises(UnknownNameError, match=r"no texture named 'brciks'.*'bricks'.*'cave'"):
        world()  # type: ignore[operator]


def test_what_is_no_name_of_a_texture_is_refused_as_one() -> None:
    for wrong in (None, 5):
        with pytest.raises(UnknownNameError, match=f"no texture named '{wrong}'"):
            World("cave", (_room(*SQUARE, ceiling=wrong),))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ((2.9, 0.0), "inside a wall"),
        ((1.0, 0.2), "inside a wall, a box"),
        ((4.0, 0.0), "outside of every room"),
    ],
)
def test_a_start_where_nobody_can_stand_is_refused(
    start: tuple[float, float], message: str
) -> None:
    world = World("cave", (_room(*SQUARE),), boxes=(Box((1.0, 0.0), (1.0, 1.0, 1.0)),))
    check_start(world, [(0.0, 0.0), (2.8, 2.8)])
    with pytest.raises(UsageError, match=message):
        check_start(world, [start])


def test_a_start_beyond_a_rim_is_refused() -> None:
    with pytest.raises(UsageError, match="rim"):
        check_start(Watermaze().worlds[0], [(3.5, 0.0)])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"height": 0}, "height must be a whole number of pixels from 1"),
        ({"width": -3}, "width"),
        ({"height": 6.5}, "height"),
        ({"width": 10_000}, "width"),
        ({"samples": 2}, "1 or 4 samples"),
    ],
)
def test_frames_that_cannot_be_drawn_are_refused(size: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Watermaze(**size)


@pytest.mark.parametrize("pose", [(6.1, 0.0, 0.0), (0.0, -7.0, 0.0), (0.0, 0.0, math.nan)])
def test_a_pose_outside_the_world_is_refused_with_its_lane(
    pose: tuple[float, float, float],
) -> None:
    with pytest.raises(UsageError, match=r"pose .* of lane 1 lies outside"):
        Watermaze().render_state({"pose": torch.tensor([(0.0, 0.0, 0.0), pose])})


@pytest.mark.parametrize(
    "poses",
    [torch.zeros(3), torch.zeros(3, 2), torch.zeros(3, 3).double(), torch.zeros(3, 3).int()],
)
def test_poses_of_another_kind_are_refused(poses: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"poses must be x, z, yaw, float32 \['N', 3\]; got"):
        Watermaze().render_state({"pose": poses})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "has no 'pose', only nothing"),
        ({"pose": torch.zeros(1, 3)}, "has no 'arrangement', only pose"),
        ({"arrangement": 24, "size": 0}, "'arrangement' of a state to draw goes from 0 to 23"),
        ({"arrangement": 0, "size": -1}, "'size' of a state to draw goes from 0 to 2; got -1"),
    ],
)
def test_states_of_another_family_are_refused(state: dict[str, Any], message: str) -> None:
    if "size" in state:
        state = {name: torch.tensor([number]) for name, number in state.items()}
        state["pose"] = torch.zeros(1, 3)
    with pytest.raises(UsageError, match=message):
        FourBoxes().render_state(state)


@pytest.mark.parametrize(
    ("family", "tasks", "message"),
    [
        (Watermaze(), torch.tensor([[9.0, 0.0]]), r"the spot \(9, 0\) lies outside"),
        (Watermaze(), torch.zeros(3), "float32"),
        (Watermaze(), torch.zeros(3, 2, dtype=torch.int64), "metres"),
        (DarkRoom3D(), torch.tensor([[0.0, math.nan]]), "outside"),
        (RadialArm(), torch.ones(2, 8, dtype=torch.int64), "4 of the 8 arms"),
        (FourBoxes(), torch.tensor([[0, 4, 1]]), "from 0 to 3"),
    ],
)
def test_tasks_of_another_world_are_refused(
    family: Watermaze, tasks: torch.Tensor, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        family.make(tasks, seed=0)


# Outlines


def test_an_inset_square_is_smaller_by_its_distance_on_every_side() -> None:
    for corner, wanted in zip(inset(SQUARE, 0.2), rectangle(2.8), strict=True):
        assert corner == pytest.approx(wanted)
    assert area(inset(SQUARE[::-1], 0.2)) == pytest.approx(-(6.4**2))


def test_a_regular_polygon_is_counterclockwise_and_has_the_area_of_its_triangles() -> None:
    assert area(regular(8, 2.0)) == pytest.approx(8 * 0.5 * 2.0**2 * math.sin(math.pi / 4))


def test_walls_are_chained_in_any_order_and_straight_corners_vanish() -> None:
    corners = ((2.0, 2.0), (2.0, 0.0), (2.0, -2.0), (-2.0, -2.0), (-2.0, 2.0))
    walls = [(corners[k], corners[(k + 1) % 5]) for k in (3, 0, 2, 4, 1)]
    (loop,) = chained(walls)
    assert set(loop) == set(rectangle(2.0))
    with pytest.raises(ValueError, match=r"\(2, -2\)"):
        chained([walls[0], walls[1], walls[3], walls[4]])
