"""Lanes and frames of first-person worlds: independent lives, and what pictures tell and do not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds.family import WorldFamily

FAMILIES = (
    Watermaze,
    WatermazeSmall,
    WatermazeHard,
    DarkRoom3D,
    KeyToDoor3D,
    RadialArm,
    FourBoxes,
)
STANDARD_ERRORS = 5.0


@pytest.mark.parametrize("family_type", FAMILIES)
def test_a_lane_lives_the_same_life_beside_any_others(family_type: type[WorldFamily]) -> None:
    family = family_type()
    tasks = family.tasks("train", 9, seed=0)
    actions = torch.randint(8, (120, 9), generator=torch.Generator().manual_seed(2))

    def life(lanes: list[int]) -> list[Tensor]:
        env = family.make(tasks[lanes], seed=4, lane_ids=lanes, observe="state")
        env.reset()
        seen = []
        for action in actions[:, lanes]:
            _, reward, terminated, truncated, _ = env.step(action)
            seen += [reward, terminated, truncated, *env.state().values()]
        return seen

    together = life(list(range(9)))
    for lanes in ([8], [7, 2, 4]):
        for whole, part in zip(together, life(lanes), strict=True):
            assert torch.equal(whole[lanes], part)


@pytest.mark.parametrize("family_type", [Watermaze, DarkRoom3D, RadialArm])
def test_a_heading_can_be_told_from_a_small_frame(family_type: type[WorldFamily]) -> None:
    family = family_type(height=32, width=32)
    poses = torch.zeros(8, 3)
    poses[:, 2] = family.turns.yaw
    frames = family.render_state({"pose": poses}).float()
    apart = (frames[:, None] - frames[None]).abs().mean(dim=(2, 3, 4)) + 100 * torch.eye(8)
    assert float(apart.min()) > 4.0  # of 255, on average over all pixels


@pytest.mark.parametrize("size", [(32, 32), (84, 84), (72, 96), (5, 9)])
def test_frames_have_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    family = WatermazeSmall(height=size[0], width=size[1])
    env = family.make(family.tasks("train", 3, seed=0), seed=0)
    observation, _ = env.reset()
    assert tuple(observation.shape[1:]) == family.observation_space.shape == (*size, 3)


@pytest.mark.parametrize("family_type", FAMILIES)
def test_observations_are_the_frames_of_states_at_endings_too(
    family_type: type[WorldFamily],
) -> None:
    family = family_type(height=12, width=16)
    env = family.make(family.tasks("train", 12, seed=0), seed=0)
    observation, _ = env.reset()
    draws = torch.Generator().manual_seed(3)
    endings = 0
    for _ in range(family.max_episode_steps + 2):
        assert torch.equal(observation, family.render_state(env.state()))
        observation, _, _, _, info = env.step(torch.randint(8, (12,), generator=draws))
        assert torch.equal(info["final_obs"], family.render_state(info["final_state"]))
        endings += int(info["_final_obs"].sum())
    assert endings >= 12


@pytest.mark.parametrize("family_type", FAMILIES)
def test_no_first_frame_gives_the_task_away(family_type: type[WorldFamily]) -> None:
    family = family_type(height=12, width=12)
    num_tasks, lanes = 6, 80
    tasks = family.tasks("train", num_tasks, seed=0).repeat_interleave(lanes, dim=0)
    frames, _ = family.make(tasks, seed=0).reset()
    pixels = frames.flatten(1).double() / 255.0
    label = torch.arange(num_tasks).repeat_interleave(lanes)
    known = torch.arange(len(label)) % 2 == 0
    # Ridge regression onto the tasks; then the likeliest task of frames that it has not seen.
    pixels = torch.cat([pixels - pixels.mean(dim=0), torch.ones(len(pixels), 1)], dim=1)
    wanted = torch.nn.functional.one_hot(label, num_tasks).double()
    a = pixels[known].T @ pixels[known] + 1e-2 * torch.eye(pixels.shape[1])
    weights = torch.linalg.solve(a, pixels[known].T @ wanted[known])
    right = float(((pixels[~known] @ weights).argmax(dim=1) == label[~known]).double().mean())
    chance = 1 / num_tasks
    error = math.sqrt(chance * (1 - chance) / int((~known).sum()))
    assert right < chance + STANDARD_ERRORS * error
