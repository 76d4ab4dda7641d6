"""Walking in worlds: where steps end, and where nobody gets."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import pool_room
from adbench_envs.worlds.halls import REACH, hall
from adbench_envs.worlds.movement import ACTIONS, Ground, Hall, Pool, Walls, ground, turns, walls
from adbench_envs.worlds.obstacles import obstacles
from adbench_envs.worlds.outlines import Point, aside, regular, walls_of
from adbench_envs.worlds.world import Rim, Room, World
from adbench_kernels.ray_casting import Box

FORWARD, BACK, LEFT, RIGHT, TURN_LEFT, TURN_RIGHT, LEFT_AND_GO, RIGHT_AND_GO = range(8)
EAST, NORTH_EAST, NORTH = 0, 1, 2

# Positions are float32 of a few metres: steps of 5e-7, and a slide adds a handful of them.
ROUNDING = 1e-5


def _room(name: str, outline: tuple[Point, ...], **more: object) -> World:
    room = Room("room", outline, ("plaster",) * len(outline), "concrete", "panels")
    return World(name, (room,), **more)  # type: ignore[arg-type]


SQUARE = hall("square", cues=False)
TRIANGLE = _room("triangle", regular(3, 4.0, first=0.3))
BOXED = _room(
    "boxed",
    regular(5, 4.0),
    boxes=(Box((0.0, 0.0), (1.0, 1.0, 2.0), yaw=0.4), Box((1.9, 1.2), (0.6, 1.0, 0.6))),
)
RINGED = _room("ringed", regular(7, 5.0), rims=(Rim(2.5, centre=(0.5, 0.3)),))
ARMS = RadialArm().worlds[0]
POOL = pool_room("pool", 3.4)
WORLDS = (SQUARE, TRIANGLE, BOXED, RINGED, ARMS, POOL)


def _step(
    on: Ground, start: Point, heading: int, *actions: int, step_metres: float = 0.6
) -> tuple[Tensor, int]:
    """Where one is after some actions."""
    table = turns(step_metres)
    position, at = torch.tensor([start]), torch.tensor([heading])
    for action in actions:
        row = action * table.num_headings + at
        position, at = on.move(position, table.by[row]), table.heading[row]
    return position[0], int(at)


def _walk(on: Ground, position: Tensor, actions: Tensor, *, step_metres: float = 0.6) -> Tensor:
    """All positions of a walk, [S, N, 2]; actions int64 [S, N]."""
    table = turns(step_metres)
    heading = torch.zeros(len(position), dtype=torch.int64)
    seen = []
    for action in actions:
        row = action * table.num_headings + heading
        position, heading = on.move(position, table.by[row]), table.heading[row]
        seen.append(position)
    return torch.stack(seen)


def _random(steps: int, lanes: int) -> Tensor:
    return torch.randint(8, (steps, lanes), generator=torch.Generator().manual_seed(4))


def _wilful(steps: int, lanes: int) -> Tensor:
    """Random actions that are kept for five steps each, so that they lead into walls."""
    return _random(-(-steps // 5), lanes).repeat_interleave(5, dim=0)[:steps]


# Known answers


def test_each_of_the_eight_actions_leads_where_its_name_says() -> None:
    d = 0.6 * math.sqrt(0.5)
    wanted = {
        "forward": ((0.6, 0.0), 0),
        "back": ((-0.6, 0.0), 0),
        "left": ((0.0, -0.6), 0),  # north: z points south
        "right": ((0.0, 0.6), 0),
        "turn left": ((0.0, 0.0), 1),
        "turn right": ((0.0, 0.0), 7),
        "turn left and go forward": ((d, -d), 1),
        "turn right and go forward": ((d, d), 7),
    }
    for number, name in enumerate(ACTIONS):
        position, heading = _step(ground(SQUARE), (0.0, 0.0), EAST, number)
        place, turned = wanted[name]
        assert position.tolist() == pytest.approx(place)
        assert heading == turned


@pytest.mark.parametrize("turn", [TURN_LEFT, TURN_RIGHT])
def test_eight_turns_are_the_identity(turn: int) -> None:
    position, heading = _step(ground(SQUARE), (0.1, 0.7), NORTH_EAST, *[turn] * 8)
    assert torch.equal(position, torch.tensor([0.1, 0.7]))
    assert heading == NORTH_EAST


@pytest.mark.parametrize("make", [ground, walls])
def test_a_step_at_45_degrees_slides_along_the_wall(make: Callable[[World], Ground]) -> None:
    position, _ = _step(make(SQUARE), (2.5, 0.0), NORTH_EAST, FORWARD)
    assert position.tolist() == pytest.approx((REACH, -0.6 * math.sqrt(0.5)), abs=ROUNDING)


@pytest.mark.parametrize("make", [ground, walls])
def test_who_walks_into_a_corner_stops_there(make: Callable[[World], Ground]) -> None:
    position, _ = _step(make(SQUARE), (2.5, -2.3), NORTH_EAST, FORWARD, FORWARD, FORWARD)
    assert position.tolist() == pytest.approx((REACH, -REACH), abs=ROUNDING)


@pytest.mark.parametrize("make", [ground, walls])
def test_who_leaves_a_pool_is_put_onto_its_rim(make: Callable[[World], Ground]) -> None:
    position, _ = _step(make(POOL), (3.0, -1.0), EAST, FORWARD)
    far = math.hypot(3.6, 1.0)
    assert position.tolist() == pytest.approx((3.6 * 3.4 / far, -3.4 / far), abs=ROUNDING)


def test_a_boxs_side_is_a_wall_and_its_far_side_is_not() -> None:
    world = _room(
        "one box", ((3, 3), (3, -3), (-3, -3), (-3, 3)), boxes=(Box((1.0, 0.0), (1.0, 1.0, 1.0)),)
    )
    # The box's west side is at x = 0.5, a body keeps 0.2 m away from it.
    straight, _ = _step(ground(world), (0.0, 0.1), EAST, FORWARD)
    assert straight.tolist() == pytest.approx((0.3, 0.1), abs=ROUNDING)
    askew, _ = _step(ground(world), (0.0, 0.1), NORTH_EAST, FORWARD)
    assert askew.tolist() == pytest.approx((0.3, 0.1 - 0.6 * math.sqrt(0.5)), abs=ROUNDING)
    beside, _ = _step(ground(world), (0.0, 0.8), EAST, FORWARD)
    assert beside.tolist() == pytest.approx((0.6, 0.8), abs=ROUNDING)


def test_openings_between_rooms_let_one_through() -> None:
    position, _ = _step(ground(ARMS), (0.0, 0.0), NORTH, *[FORWARD] * 5)
    assert position.tolist() == pytest.approx((0.0, -3.0), abs=ROUNDING)


# Properties


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("step_metres", [0.4, 0.8])
def test_nobody_leaves_a_world_in_ten_thousand_steps(world: World, step_metres: float) -> None:
    start = (0.0, 1.5) if world is BOXED else (0.0, 0.0)
    position = torch.tensor([start]).repeat(50, 1)
    seen = _walk(ground(world), position, _wilful(200, 50), step_metres=step_metres)
    found = obstacles(world)
    for x, z in seen[::5].flatten(0, 1).tolist():
        inside = any(
            all(aside((x, z), wall) > world.body_radius - 1e-3 for wall in _solid(room))
            and all(aside((x, z), wall) > -1e-3 for wall in walls_of(room.outline))
            for room in world.rooms
        )
        assert inside, (x, z)
        assert all(math.dist((x, z), (a, b)) < radius + ROUNDING for a, b, radius in found.rims)
        for box in world.boxes:
            cos, sin = math.cos(box.yaw), math.sin(box.yaw)
            dx, dz = x - box.centre[0], z - box.centre[1]
            own_x, own_z = abs(dx * cos - dz * sin), abs(dx * sin + dz * cos)
            apart = max(own_x - box.size[0] / 2, own_z - box.size[2] / 2)
            assert apart > world.body_radius - 1e-3, (x, z)


def _solid(room: Room) -> list[tuple[Point, Point]]:
    # Within an arm, its own walls; in the hub there are none.
    return [
        wall
        for wall, texture in zip(walls_of(room.outline), room.walls, strict=True)
        if texture is not None
    ]


@pytest.mark.parametrize("world", [SQUARE, POOL], ids=lambda world: world.name)
def test_the_quick_forms_are_the_general_one(world: World) -> None:
    quick, general = ground(world), walls(world)
    assert isinstance(quick, Hall | Pool) and isinstance(general, Walls)
    actions = _wilful(300, 40)
    table = turns(0.6)
    position, heading = torch.zeros(40, 2), torch.zeros(40, dtype=torch.int64)
    for action in actions:
        row = action * table.num_headings + heading
        one, other = quick.move(position, table.by[row]), general.move(position, table.by[row])
        assert torch.allclose(one, other, atol=ROUNDING, rtol=0)
        position, heading = one, table.heading[row]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_lane_walks_the_same_way_beside_any_others(world: World) -> None:
    start = torch.tensor([(0.0, 1.5) if world is BOXED else (0.0, 0.0)])
    actions = _wilful(60, 65)
    together = _walk(ground(world), start.repeat(65, 1), actions)
    for lanes in ([64], [3, 17, 30], list(range(31))):
        alone = _walk(ground(world), start.repeat(len(lanes), 1), actions[:, lanes])
        assert torch.equal(together[:, lanes], alone)


def test_a_step_never_ends_farther_away_than_it_is_long() -> None:
    position = torch.tensor([(0.0, 1.5)]).repeat(40, 1)
    seen = _walk(ground(BOXED), position, _wilful(200, 40))
    assert float((seen[1:] - seen[:-1]).norm(dim=2).max()) < 0.6 + ROUNDING


@pytest.mark.parametrize("world", [BOXED, ARMS, TRIANGLE], ids=lambda world: world.name)
def test_picking_the_lanes_that_meet_a_wall_changes_nothing(world: World) -> None:
    on, table = walls(world), turns(0.6)
    position = torch.tensor([(0.0, 1.5) if world is BOXED else (0.0, 0.0)]).repeat(40, 1)
    heading = torch.zeros(40, dtype=torch.int64)
    for action in _wilful(100, 40):
        row = action * table.num_headings + heading
        goal = position + table.by[row]
        picked, all_lanes = (on._slide(position, goal, 3, picks=picks) for picks in (True, False))
        assert torch.equal(picked, all_lanes)
        position, heading = picked, table.heading[row]
