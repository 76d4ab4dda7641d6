"""The families of first-person worlds: known answers, splits, returns, frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adbench.errors import UnknownNameError, UsageError
from adbench.evaluate import rollout
from adbench.sweep import SweepPolicy, choose_sweep
from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.places import SECTOR, sector
from adbench_envs.worlds.returns import steps_to

FAMILIES = (
    Watermaze,
    WatermazeSmall,
    WatermazeHard,
    DarkRoom3D,
    KeyToDoor3D,
    RadialArm,
    FourBoxes,
)
CONTINUOUS = (Watermaze, WatermazeSmall, WatermazeHard, DarkRoom3D, KeyToDoor3D)
HEADINGS = (
    "Description:",
    "Tasks:",
    "Observation space:",
    "Action space:",
    "Starting state:",
    "Rewards:",
    "Episode end:",
    "Sources:",
    "Version history:",
)
FORWARD, BACK, _, _, TURN_LEFT, TURN_RIGHT, _, _ = range(8)
STANDARD_ERRORS = 5.0

Policy = Callable[[WorldFamily, Tensor, dict[str, Tensor]], Tensor]


def play(
    family: WorldFamily, tasks: Tensor, policy: Policy, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return and length of each lane's first episode, [N]."""
    env = family.make(tasks, seed=seed, observe="state")
    env.reset()
    earned, steps = torch.zeros(len(tasks)), torch.zeros(len(tasks), dtype=torch.int64)
    running = torch.ones(len(tasks), dtype=torch.bool)
    for _ in range(family.max_episode_steps):
        _, reward, _, _, info = env.step(policy(family, tasks, env.state()))
        earned += reward * running
        steps += running
        running &= ~info["_final_obs"]
    assert not running.any()
    return earned, steps


def towards(family: WorldFamily, spot: Tensor, state: dict[str, Tensor]) -> Tensor:
    """The action that leads nearest to a spot [N, 2]; a turn where none leads much nearer."""
    position, heading = state["pose"][:, :2], family.heading(state)
    rows = torch.arange(8)[:, None] * family.num_headings + heading  # [A, N]
    reached = torch.stack([family.ground.move(position, family.turns.by[row]) for row in rows])
    apart = (reached - spot).norm(dim=2)
    nearest, action = apart.min(dim=0)
    nearer = (position - spot).norm(dim=1) - nearest
    return torch.where(nearer > 0.3 * family.step_metres, action, TURN_LEFT)


def at_random(seed: int) -> Policy:
    draws = torch.Generator().manual_seed(seed)
    return lambda family, tasks, state: torch.randint(8, (len(tasks),), generator=draws)


@pytest.mark.parametrize("family_type", FAMILIES)
def test_every_docstring_has_the_fixed_headings_in_order(family_type: type[WorldFamily]) -> None:
    lines = [line.strip() for line in (family_type.__doc__ or "").splitlines()]
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)


# Known answers


def test_the_platform_pays_one_and_ends_the_episode() -> None:
    family = Watermaze()
    env = family.make(torch.tensor([[1.5, 0.0]]), seed=0, observe="state")
    env.reset()
    for _ in range(int(family.heading(env.state()))):
        _, reward, terminated, truncated, _ = env.step(torch.tensor([TURN_RIGHT]))
        assert not (reward or terminated or truncated)
    assert env.state()["pose"].tolist() == [[0.0, 0.0, 0.0]]
    for step in (1, 2, 3):  # 1.2 m, 0.3 m from its middle
        _, reward, terminated, truncated, info = env.step(torch.tensor([FORWARD]))
        assert (reward.item(), terminated.item()) == (float(step == 3), step == 3)
    assert not truncated
    assert info["final_state"]["pose"].tolist() == [[pytest.approx(1.2), 0.0, 0.0]]
    assert env.state()["pose"][0, :2].tolist() == [0.0, 0.0]


def test_time_runs_out_after_fifty_steps_and_a_new_heading_is_drawn() -> None:
    family = Watermaze()
    env = family.make(torch.tensor([[3.0, 0.0]]).repeat(200, 1), seed=0, observe="state")
    env.reset()
    first = family.heading(env.state())
    for step in range(1, 51):
        _, _, terminated, truncated, _ = env.step(torch.full((200,), TURN_LEFT))
        assert not terminated.any() and bool(truncated.all()) == (step == 50)
    second = family.heading(env.state())
    assert set(first.tolist()) == set(second.tolist()) == set(range(8))
    # Equal in one of eight lanes by chance: 25 of 200, standard deviation 4.7.
    assert 2 < int((first == second).sum()) < 50


def test_nothing_but_the_heading_varies_at_the_start() -> None:
    for family in (Watermaze(), WatermazeSmall(), DarkRoom3D(), RadialArm()):
        env = family.make(family.tasks("train", 30, seed=0), seed=3, observe="state")
        env.reset()
        state = env.state()
        assert not state.pop("pose")[:, :2].any()
        assert not any(bool(value.any()) for value in state.values())


def test_watermaze_hard_starts_anywhere_in_its_pool() -> None:
    family = WatermazeHard()
    env = family.make(torch.zeros(2000, 2) + 1.0, seed=0, observe="state")
    env.reset()
    far = env.state()["pose"][:, :2].norm(dim=1) / family.reach_metres
    assert float(far.max()) <= 1.0
    # Uniform over a disc: a quarter lies within half its radius; standard error 0.01.
    assert float((far < 0.5).float().mean()) == pytest.approx(0.25, abs=0.05)


def test_the_spot_of_the_dark_room_pays_on_every_step() -> None:
    family = DarkRoom3D()
    env = family.make(torch.tensor([[0.0, 0.4]]), seed=0, observe="state")  # the start is in it
    env.reset()
    rewards = [float(env.step(torch.tensor([TURN_LEFT]))[1]) for _ in range(30)]
    assert rewards == [1.0] * 30


def test_the_key_comes_before_the_door() -> None:
    family = KeyToDoor3D()
    tasks = torch.tensor([[[1.5, 0.0], [-1.5, 0.0]]])
    env = family.make(tasks, seed=0, observe="state")
    env.reset()
    earned = []
    for spot in (tasks[:, 1], tasks[:, 0], tasks[:, 1]):  # door, key, door
        for _ in range(12):
            action = towards(family, spot, env.state())
            _, reward, terminated, _, info = env.step(action)
            earned.append(float(reward))
            if terminated or float((info["final_state"]["pose"][0, :2] - spot[0]).norm()) < 0.3:
                break
    assert sum(earned) == 2.0 and earned[-1] == 1.0
    assert terminated and info["final_state"]["has_key"] and not env.state()["has_key"]


def _all_baits(family: WorldFamily, tasks: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Into the first baited arm that was not visited, and backwards out of it."""
    far = state["pose"][:, :2].norm(dim=1)
    heading = family.heading(state)
    missing = (tasks > 0) & ~state["visited"]
    arm = missing.float().argmax(dim=1)
    turn = (arm - heading) % 8
    here = state["visited"].gather(1, heading[:, None])[:, 0] & (far > 0.1)
    turning = torch.where(turn <= 4, TURN_LEFT, TURN_RIGHT)
    return torch.where(here, BACK, torch.where(turn == 0, FORWARD, turning))


def test_all_four_baits_can_be_found_in_time_and_pay_once() -> None:
    family = RadialArm()
    tasks = torch.cat([family.tasks(s, None, seed=0) for s in ("train", "test", "region")])
    for seed in range(4):
        earned, steps = play(family, tasks, _all_baits, seed=seed)
        assert torch.equal(earned, family.optimal_return(tasks))
        assert int(steps.max()) < family.max_episode_steps


def test_an_arm_pays_nothing_the_second_time() -> None:
    family = RadialArm()
    task = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]])
    env = family.make(task, seed=0, observe="state")
    env.reset()
    while int(family.heading(env.state())):
        env.step(torch.tensor([TURN_RIGHT]))
    rewards = [float(env.step(torch.tensor([a]))[1]) for a in [0] * 5 + [1] * 5 + [0] * 5]
    assert [k for k, reward in enumerate(rewards) if reward] == [4]
    assert env.state()["visited"][0].tolist() == [True] + [False] * 7


@pytest.mark.parametrize("pays", [True, False])
def test_any_box_ends_the_episode_and_one_pays(pays: bool) -> None:
    family = FourBoxes()
    tasks = family.tasks("train", None, seed=0).repeat(4, 1)

    def policy(_: WorldFamily, tasks: Tensor, state: dict[str, Tensor]) -> Tensor:
        colour = tasks.gather(1, state["size"].long()[:, None]) + (0 if pays else 1)
        boxes = family.bodies(state)[..., [0, 2]]
        return towards(family, boxes[torch.arange(len(tasks)), colour[:, 0] % 4], state)

    earned, steps = play(family, tasks, policy)
    assert earned.tolist() == [float(pays)] * len(tasks)
    assert int(steps.max()) <= 12


def test_boxes_stand_in_all_corners_in_all_orders_and_sizes() -> None:
    family = FourBoxes()
    env = family.make(torch.zeros(2000, 3, dtype=torch.int64), seed=0)
    state = env.state()
    orders = {tuple(map(tuple, b.tolist())) for b in family.bodies(state)[..., [0, 2]].sign()}
    assert len(orders) == 24 and all(len(set(order)) == 4 for order in orders)
    assert set(state["size"].tolist()) == {0, 1, 2}


def test_turning_the_hall_with_its_boxes_leaves_the_tabular_state_as_it_was() -> None:
    family = FourBoxes()
    x, z, yaw = torch.tensor(1.3), torch.tensor(-0.4), torch.tensor(math.pi / 4)
    found = set()
    for quarters in range(4):
        pose = torch.stack([x, z, yaw + quarters * math.pi / 2])[None]
        state = {
            "pose": pose,
            "arrangement": torch.tensor([8 + quarters], dtype=torch.uint8),
            "size": torch.tensor([1], dtype=torch.uint8),
        }
        red = family.bodies(state)[0, 0, [0, 2]]
        found.add((int(family.tabular_state(state)), round(float((pose[0, :2] - red).norm()), 4)))
        x, z = z, -x  # a quarter turn counterclockwise as seen from above
    assert len(found) == 1


# Splits


@pytest.mark.parametrize("family_type", CONTINUOUS)
def test_training_keeps_a_diameter_away_from_the_region(family_type: type[WorldFamily]) -> None:
    family = family_type()
    radius = getattr(family, "platform_radius", 0) or getattr(family, "spot_radius", 0)
    for seed in (0, 1):
        middle = sector(family.name, 0.9, seed=seed).middle
        region = family.tasks("region", 200, seed=seed).reshape(-1, 2)
        angle = torch.atan2(-region[:, 1], region[:, 0]) - middle
        angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        assert float(angle.abs().max()) <= SECTOR / 2 + 1e-5
        for split in ("train", "validation", "test"):
            others = family.tasks(split, 300, seed=seed).reshape(-1, 2)
            assert float(torch.cdist(region, others).min()) > 2 * radius
            assert float(others.norm(dim=1).min()) >= 0.9
            # They fill what is left: every direction beyond the margin is taken.
            assert len(torch.unique((torch.atan2(others[:, 1], others[:, 0]) * 4).floor())) > 12


def test_the_sectors_distance_is_the_distance_to_the_nearest_place_in_it() -> None:
    kept = sector("watermaze", 0.9, seed=3)
    random = torch.Generator().manual_seed(0)
    turn = kept.middle + (torch.rand(20_000, generator=random) - 0.5) * SECTOR
    far = 0.9 + 4.0 * torch.rand(20_000, generator=random)
    inside = torch.stack([far * turn.cos(), -far * turn.sin()], dim=1)
    spots = (torch.rand(300, 2, generator=random) - 0.5) * 6.0
    nearest = torch.cdist(spots, inside).min(dim=1).values
    claimed = torch.from_numpy(kept.distance(spots.double().numpy())).float()
    # Twenty thousand places in ten square metres leave gaps of a few centimetres.
    assert float((nearest - claimed).min()) > -1e-4
    assert float((nearest - claimed).max()) < 0.1


@pytest.mark.parametrize("family_type", FAMILIES)
def test_splits_share_no_task_and_longer_ones_begin_as_shorter_ones(
    family_type: type[WorldFamily],
) -> None:
    family = family_type()
    seen: set[bytes] = set()
    for split in ("train", "validation", *family.test_sets):
        tasks = family.tasks(split, None, seed=1)
        assert torch.equal(tasks[:3], family.tasks(split, 3, seed=1))
        rows = {task.numpy().tobytes() for task in tasks}
        assert len(rows) == len(tasks) and not rows & seen
        seen |= rows
        assert torch.equal(family.checked(tasks), tasks)
    assert family.tasks("train", 3, seed=1).tolist() != family.tasks("train", 3, seed=2).tolist()
    with pytest.raises(UnknownNameError, match="split"):
        family.tasks("regoin", 3, seed=1)
    for wrong in (0, 10**9 if family_type in (RadialArm, FourBoxes) else -1):
        with pytest.raises(UsageError, match="were asked for"):
            family.tasks("region", wrong, seed=1)


@pytest.mark.parametrize("family_type", [RadialArm, FourBoxes])
def test_finite_regions_are_a_kind_of_task_that_training_lacks(
    family_type: type[WorldFamily],
) -> None:
    family = family_type()
    others = torch.cat([family.tasks(s, None, seed=5) for s in ("train", "validation", "test")])
    region = family.tasks("region", None, seed=5)
    if family_type is FourBoxes:
        assert (region == region[:, :1]).all() and not (others == others[:, :1]).all(dim=1).any()
    else:
        pair = (region.sum(dim=0) == len(region)).nonzero()[:, 0]
        assert len(pair) == 2 and int((pair[1] - pair[0]) % 7) in (0, 1)
        assert not others[:, pair].all(dim=1).any()


# Returns


@pytest.mark.parametrize("family_type", FAMILIES)
def test_random_return_is_what_random_play_earns(family_type: type[WorldFamily]) -> None:
    family = family_type()
    tasks = family.tasks("train", 4, seed=0)
    earned, _ = play(family, tasks.repeat_interleave(600, dim=0), at_random(1), seed=9)
    by_task = earned.view(4, 600)
    error = (by_task.var(dim=1) * (1 / 600 + 1 / family.random_episodes)).sqrt()
    claimed = family.random_return(tasks)
    assert claimed.dtype == torch.float32
    assert bool(((by_task.mean(dim=1) - claimed).abs() < STANDARD_ERRORS * error + 1e-3).all())


@pytest.mark.parametrize(
    ("family_type", "low", "high"),
    [(Watermaze, 0.10, 0.17), (WatermazeSmall, 0.21, 0.26), (WatermazeHard, 0.08, 0.15)],
)
def test_random_play_finds_a_platform_as_often_as_it_should(
    family_type: type[WorldFamily], low: float, high: float
) -> None:
    family = family_type()
    for split in family.test_sets:
        assert low < float(family.random_return(family.tasks(split, 64, seed=0)).mean()) < high


@pytest.mark.parametrize("family_type", [Watermaze, WatermazeSmall, WatermazeHard])
def test_every_platform_can_be_reached_in_time(family_type: type[WorldFamily]) -> None:
    family = family_type()
    tasks = torch.cat([family.tasks(split, 100, seed=0) for split in family.test_sets])
    earned, steps = play(family, tasks, lambda f, spots, state: towards(f, spots, state))
    assert torch.equal(earned, family.optimal_return(tasks))
    assert int(steps.max()) <= family.max_episode_steps * 3 // 4


def test_key_and_door_can_be_reached_in_time() -> None:
    family = KeyToDoor3D()
    tasks = torch.cat([family.tasks(split, 100, seed=0) for split in family.test_sets])

    def policy(_: WorldFamily, tasks: Tensor, state: dict[str, Tensor]) -> Tensor:
        spot = torch.where(state["has_key"][:, None], tasks[:, 1], tasks[:, 0])
        return towards(family, spot, state)

    assert torch.equal(play(family, tasks, policy)[0], family.optimal_return(tasks))


def test_no_way_to_a_spot_of_the_dark_room_is_shorter_than_the_shortest() -> None:
    family = DarkRoom3D()
    tasks = family.tasks("test", 24, seed=0)
    best = family.optimal_return(tasks)

    def policy(_: WorldFamily, spots: Tensor, state: dict[str, Tensor]) -> Tensor:
        there = (state["pose"][:, :2] - spots).norm(dim=1) < family.spot_radius
        return torch.where(there, TURN_LEFT, towards(family, spots, state))

    many = tasks.repeat_interleave(64, dim=0)
    greedy = play(family, many, policy)[0].view(24, 64)
    assert float((greedy.mean(dim=1) - best).max()) < STANDARD_ERRORS * 1.0 / 8
    assert float((best - greedy.mean(dim=1)).mean()) < 1.0  # a greedy way is nearly as short


def test_shortest_ways_in_the_open_are_those_one_counts() -> None:
    family = DarkRoom3D()
    spots = torch.tensor([[1.2, 0.0], [0.0, 2.4], [-1.2, -1.2]])
    needed = steps_to(family.ground, family.turns, (0.0, 0.0), spots, 0.12, most_steps=9)
    # From heading east: two steps ahead; four aside; behind, one has to sidestep and go back.
    assert needed[0].tolist()[:2] == [2, 4]
    assert int(needed[3, 2]) == int(needed[7, 2])  # the spot lies behind, and ahead
    assert (
        steps_to(family.ground, family.turns, (0, 0), spots, 0.1, most_steps=1).tolist()
        == [[2, 2, 2]] * 8
    )


def test_no_fixed_string_of_actions_sweeps_the_pool() -> None:
    family = Watermaze()
    best = choose_sweep(family, family.tasks("train", 512, seed=0), seed=0)
    played = rollout(
        SweepPolicy(best), family, family.tasks("test", 64, seed=0), lanes_per_task=8, episodes=4,
        seed=0, stage="sweep",
    )  # fmt: skip
    found = float(played.returns.mean())
    assert 2 * float(family.random_return(played.tasks).mean()) < found <= 0.45
