"""Options of worlds: what they lead to, and what a source that chooses among them learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adbench import plugins
from adbench.collect.learn import learn_online
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.radial_arm import RadialArm
from adbench_envs.worlds.family import WorldFamily

PIXEL_WORLDS = (
    "watermaze", "watermaze-small", "watermaze-hard", "dark-room-3d", "key-to-door-3d",
    "radial-arm", "four-boxes",
)  # fmt: skip
LEARNERS = 48

Choose = Callable[[Tensor, dict[str, Tensor]], Tensor]


def _followed(family: WorldFamily, tasks: Tensor, choose: Choose) -> tuple[Tensor, Tensor]:
    """Return and steps of one episode a lane, options being chosen when the last one is over."""
    env = family.make(tasks, seed=0, observe="state")
    env.reset()
    lanes = len(tasks)
    earned, steps = torch.zeros(lanes), torch.zeros(lanes, dtype=torch.int64)
    over = torch.zeros(lanes, dtype=torch.bool)
    option, under_way = torch.zeros(lanes, dtype=torch.int64), over.clone()
    for _ in range(family.max_episode_steps):
        state = env.state()
        option = torch.where(under_way, option, choose(tasks, state))
        action, under_way = family.follow(state, option)
        _, reward, terminated, truncated, _ = env.step(action)
        earned += torch.where(over, 0.0, reward)
        steps += ~over
        over |= terminated | truncated
    return earned, steps


@pytest.mark.parametrize("colours_on", [0, 1, 2, 3])
def test_the_option_of_a_colour_leads_to_its_box(colours_on: int) -> None:
    family = FourBoxes()
    tasks = family.tasks("train", None, seed=0).repeat(4, 1)

    def choose(tasks: Tensor, state: dict[str, Tensor]) -> Tensor:
        paying = tasks.gather(1, family.option_state(state)[:, None])[:, 0]
        return (paying + colours_on) % 4

    earned, steps = _followed(family, tasks, choose)
    assert earned.tolist() == [float(colours_on == 0)] * len(tasks)
    assert int(steps.max()) <= 5  # a turn and four steps


def test_entering_baited_arms_and_turning_on_finds_all_baits_in_time() -> None:
    family = RadialArm()
    tasks = torch.cat([family.tasks(s, None, seed=0) for s in ("train", "test", "region")])

    def choose(tasks: Tensor, state: dict[str, Tensor]) -> Tensor:
        row = family.option_state(state)
        arm, visited = row.clamp(max=15) // 2, row % 2 == 1
        enters = (row < 16) & ~visited & (tasks.gather(1, arm[:, None])[:, 0] > 0)
        return torch.where(enters, 0, 1)

    earned, steps = _followed(family, tasks, choose)
    assert torch.equal(earned, family.optimal_return(tasks))
    assert int(steps.max()) < family.max_episode_steps


def test_an_arm_that_was_visited_is_told_from_one_that_was_not() -> None:
    family = RadialArm()
    task = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0]])
    env = family.make(task, seed=0, observe="state")
    env.reset()
    arm = int(family.heading(env.state()))
    rows = []
    for _ in range(10):
        rows.append(int(family.option_state(env.state())))
        env.step(family.follow(env.state(), torch.tensor([0]))[0])
    assert rows == [2 * arm] * 5 + [16] * 5
    assert int(family.option_state(env.state())) == 2 * arm + 1


@pytest.mark.parametrize("env", PIXEL_WORLDS)
def test_the_source_of_each_quick_preset_learns_its_world(env: str) -> None:
    config = plugins.preset(env, "quick")
    family = plugins.family_of(config)
    tasks = family.tasks("validation", config.tasks.validation, seed=0)
    tasks = tasks[torch.arange(LEARNERS) % len(tasks)]
    learnt = learn_online(
        family, tasks, config.source, seed=0, stage="test", learner_ids=range(LEARNERS),
        episodes=config.collect.episodes, record=False,
    )  # fmt: skip
    best = family.optimal_return(tasks)
    assert best is not None
    random, late = family.random_return(tasks).mean(), learnt.returns[:, -5:].mean()
    assert float((late - random) / (best.mean() - random)) >= 0.8
