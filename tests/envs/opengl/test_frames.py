"""Frames of the miniworld renderer: the ray caster's pictures, drawn by somebody else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import adbench.testing
from adbench.errors import UsageError
from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.opengl.workers import Painters
from adbench_envs.worlds.parity import BOUNDS, anywhere, difference, measured
from adbench_envs.worlds.world import World
from adbench_kernels.ray_casting import Box, Disc, Light

pytestmark = pytest.mark.requires("gl")

FAMILIES = (
    Watermaze,
    WatermazeSmall,
    WatermazeHard,
    DarkRoom3D,
    KeyToDoor3D,
    RadialArm,
    FourBoxes,
)


@pytest.mark.parametrize("family_type", FAMILIES, ids=lambda family: family.name)
def test_both_renderers_show_the_same_picture_from_200_places(
    family_type: type[WorldFamily],
) -> None:
    for samples, found in measured(family_type, 200).items():
        assert found.within(BOUNDS[samples]), (samples, found)


@pytest.mark.parametrize("size", [(32, 32), (72, 96), (20, 63)])
def test_both_renderers_show_the_same_picture_in_any_size(size: tuple[int, int]) -> None:
    shape: dict[str, Any] = {"height": size[0], "width": size[1], "samples": 4}
    ours, theirs = Watermaze(**shape), Watermaze(**shape, renderer="miniworld")
    states = anywhere(ours, 40, seed=1)
    found = difference(ours.render_state(states), theirs.render_state(states))
    assert found.within(BOUNDS[4]), found


def test_without_multisampling_edges_are_where_one_sample_has_them() -> None:
    ours, theirs = RadialArm(samples=1), RadialArm(samples=1, renderer="miniworld")
    states = anywhere(ours, 60, seed=2)
    frames = ours.render_state(states)
    single = difference(frames, theirs.render_state(states))
    four = RadialArm(samples=4, renderer="miniworld").render_state(states)
    assert single.mean_error < 0.8 * difference(frames, four).mean_error


@pytest.mark.parametrize("fault", ["half a degree", "3 cm", "another box", "a dimmer light"])
def test_a_small_difference_between_worlds_is_found(fault: str) -> None:
    """What the bounds let through: nothing that one would see."""
    ours, theirs = FourBoxes(samples=4), FourBoxes(samples=4, renderer="miniworld")
    states = anywhere(ours, 60, seed=3)
    usual = difference(ours.render_state(states), theirs.render_state(states))
    assert usual.within(BOUNDS[4])
    changed = dict(states)
    if fault == "half a degree":
        changed["pose"] = states["pose"] + torch.tensor([0.0, 0.0, 0.0087])
    elif fault == "3 cm":
        changed["pose"] = states["pose"] * torch.tensor([0.99, 0.99, 1.0])
    elif fault == "another box":
        changed["size"] = (states["size"] + 1) % 3
    else:
        worlds = tuple(
            World(w.name, w.rooms, boxes=w.boxes, camera=w.camera, light=Light(ambient=0.63))
            for w in ours.worlds
        )
        ours.worlds = worlds
        ours.draw = type(ours.draw)(worlds, ours.frame, ours.samples)  # type: ignore[call-arg]
    found = difference(ours.render_state(changed), theirs.render_state(states))
    assert found.mean_error > 2.0 * usual.mean_error, found


def test_frames_of_states_are_the_observations_of_an_environment() -> None:
    settings: dict[str, Any] = {"height": 16, "width": 20}
    drawn, cast = KeyToDoor3D(**settings, renderer="miniworld"), KeyToDoor3D(**settings)
    assert drawn.renderer == "miniworld" and cast.renderer == "raycast"
    assert not drawn.accelerated
    tasks = drawn.tasks("train", 5, seed=0)
    envs = [family.make(tasks, seed=0) for family in (drawn, cast)]
    observation, _ = envs[0].reset()
    envs[1].reset()
    draws = torch.Generator().manual_seed(3)
    for _ in range(drawn.max_episode_steps + 2):
        assert observation.dtype == torch.uint8 and observation.shape == (5, 16, 20, 3)
        assert torch.equal(observation, drawn.render_state(envs[0].state()))
        actions = torch.randint(8, (5,), generator=draws)
        observation, *outcome, info = envs[0].step(actions)
        _, *twins, told = envs[1].step(actions)
        # Who draws has no say in what happens.
        for one, other in zip(outcome, twins, strict=True):
            assert torch.equal(one, other)
        for name, value in info["final_state"].items():
            assert torch.equal(value, told["final_state"][name])


def test_a_pose_outside_the_world_is_refused_before_anything_is_drawn() -> None:
    family = Watermaze(renderer="miniworld")
    with pytest.raises(UsageError, match="of lane 0 lies outside"):
        family.render_state({"pose": torch.tensor([[9.0, 0.0, 0.0]])})


def test_no_frames_are_drawn_of_no_states() -> None:
    family = Watermaze(height=8, width=9, renderer="miniworld")
    assert family.render_state({"pose": torch.zeros(0, 3)}).shape == (0, 8, 9, 3)


def test_discs_that_move_are_refused_by_name() -> None:
    room = Watermaze().worlds[0].rooms
    world = World("lagoon", room, discs=(Disc((0.0, 0.0), 1.0, body="raft"),))
    with pytest.raises(UsageError, match=r"'lagoon': the disc 'raft' moves"):
        Painters((world,), frame=(8, 8), samples=1)


def test_boxes_stand_where_they_are_described_and_turn_about_their_body() -> None:
    """A box that is off its body's middle and askew, fixed and moved to the same place."""
    room = FourBoxes().worlds[0]
    size, colour = (0.5, 1.0, 0.9), (0.9, 0.2, 0.1)
    fixed = World("fixed", room.rooms, boxes=(Box((1.0, -1.2), size, 0.2, 0.7, colour),))
    moved = World("moved", room.rooms, boxes=(Box((0.4, 0.0), size, 0.2, 0.3, colour, "box"),))
    # The body's yaw is 0.4; its own (0.4, 0) comes to lie at (0.4 cos, -0.4 sin) of it.
    body = torch.tensor([[1.0, 0.0, -1.2, 0.4]]) - 0.4 * torch.tensor(
        [[torch.cos(torch.tensor(0.4)), 0.0, -torch.sin(torch.tensor(0.4)), 0.0]]
    )
    poses = torch.tensor([[-1.5, 0.5, 0.6], [0.5, 1.5, 1.4], [2.0, -2.5, 2.4]])
    one = Painters((fixed,), frame=(48, 48), samples=4).draw(poses.numpy())
    other = Painters((moved,), frame=(48, 48), samples=4).draw(
        poses.numpy(), bodies=body.expand(3, 1, 4).numpy()
    )
    assert difference(torch.from_numpy(one), torch.from_numpy(other)).mean_error < 0.05


def test_the_contract_of_environments_holds_whoever_draws() -> None:
    adbench.testing.check_env(WatermazeSmall(height=12, width=12, renderer="miniworld"))
