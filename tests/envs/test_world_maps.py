"""Maps of worlds: walls where one is stopped, and what is hidden where it pays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adbench.task import GroundMap
from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import COLOURS, FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.maps import box_outline
from adbench_kernels.ray_casting import Box

FAMILIES = (
    Watermaze, WatermazeSmall, WatermazeHard, DarkRoom3D, KeyToDoor3D, RadialArm, FourBoxes,
)  # fmt: skip


def first_task(family: WorldFamily) -> Tensor:
    return family.tasks("train", 1, seed=0)[0]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_world_has_a_map_that_holds_wherever_one_gets(kind: type[WorldFamily]) -> None:
    family = kind(height=8, width=8)
    ground = family.map(first_task(family))
    west, east, north, south = ground.reach or ground.bounds
    for x, z in family.paths.position.reshape(-1, 2)[::97].tolist():
        assert west < x < east and north < z < south
    # Nor is it far larger: somebody comes within a metre of two sides that face each other.
    xs = family.paths.position[..., 0]
    assert xs.max() > east - 1.0 and xs.min() < west + 1.0


@pytest.mark.parametrize("kind", [Watermaze, WatermazeSmall, WatermazeHard, DarkRoom3D])
def test_a_spot_on_the_map_is_where_it_pays_to_be(kind: type[WorldFamily]) -> None:
    family = kind(height=8, width=8)
    task = first_task(family)
    (spot,) = family.map(task).spots
    centre = torch.tensor(spot.centre)
    for angle in torch.linspace(0, 6.2, 9):
        aside = torch.stack([angle.cos(), angle.sin()])
        for share, pays in ((0.0, 1.0), (0.99, 1.0), (1.01, 0.0)):
            place = centre + share * spot.radius * aside
            assert float(family.arrive(task[None], place[None], {}).reward) == pays


def test_key_and_door_are_told_apart() -> None:
    family = KeyToDoor3D(height=8, width=8)
    task = first_task(family)
    key, door = family.map(task).spots
    assert (key.label, door.label) == ("key", "door")
    assert key.centre == pytest.approx(task[0].tolist())
    assert door.centre == pytest.approx(task[1].tolist())


def test_baits_lie_in_the_ends_of_the_baited_arms_and_openings_are_no_walls() -> None:
    family = RadialArm(height=8, width=8)
    task = first_task(family)
    ground = family.map(task)
    assert len(ground.spots) == 4
    memory = {"visited": torch.zeros(1, 8, dtype=torch.bool)}
    for spot in ground.spots:
        place = torch.tensor([spot.centre])
        assert float(family.arrive(task[None], place, memory).reward) == 1.0
    assert len(ground.outlines) == 3 * 8  # the hub has openings alone


def four_boxes(state: dict[str, Tensor] | None, task: Tensor) -> GroundMap:
    return FourBoxes(height=8, width=8).map(task, state)


def test_the_box_that_pays_is_marked_where_it_stands_in_this_episode() -> None:
    family = FourBoxes(height=8, width=8)
    task = torch.tensor([3, 1, 0])  # yellow among the low, green among the high, red among the tall
    for size, colour in enumerate(("yellow", "green", "red")):
        for arrangement in (0, 5, 23):
            state = {"arrangement": torch.tensor(arrangement), "size": torch.tensor(size)}
            ground = four_boxes(state, task)
            (spot,) = ground.spots
            assert spot.label == colour
            memory = {name: value[None].to(torch.uint8) for name, value in state.items()}
            arrival = family.arrive(task[None], torch.tensor([spot.centre]), memory)
            assert float(arrival.reward) == 1.0
            filled = {outline.filled for outline in ground.outlines} - {None}
            assert filled == set(COLOURS.values())


def test_without_an_episode_the_boxes_have_no_colour_and_none_is_marked() -> None:
    ground = four_boxes(None, torch.tensor([3, 1, 0]))
    assert ground.spots == ()
    assert len(ground.outlines) == 4 + 4 and all(each.filled is None for each in ground.outlines)


def test_walls_have_the_colours_that_one_sees() -> None:
    ground = Watermaze(height=8, width=8).map(torch.tensor([1.0, 1.0]))
    east, north, west, south = (outline.colour for outline in ground.outlines[:4])
    assert east[0] == max(east) and west[1] == max(west)  # red bricks, green planks
    assert north[2] == max(north) and south[2] == min(south)  # blue tiles, yellow stripes


@pytest.mark.parametrize("yaw", [0.0, 0.4, 2.0])
def test_a_turned_box_has_the_corners_that_are_drawn(yaw: float) -> None:
    box = Box((1.0, 2.0), (0.8, 1.0, 0.4), yaw=yaw)
    walls = [piece for piece in box.pieces() if hasattr(piece, "start")]
    ours = sorted(box_outline(box, box.centre, box.yaw).points)
    theirs = sorted({tuple(round(v, 9) for v in wall.start) for wall in walls})
    assert [p for point in ours for p in point] == pytest.approx([p for q in theirs for p in q])
