"""The four families: known answers, the contract, keyed randomness, splits."""

from __future__ import annotations

import itertools

import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from adbench.errors import UnknownNameError, UsageError
from adbench.task import BatchedEnv, TaskFamily
from adbench_envs.bandit import Bandit
from adbench_envs.dark_room import DarkRoom, DarkRoomHard
from adbench_envs.key_to_door import KeyToDoor

LEFT, RIGHT, UP, DOWN, STAY = range(5)
FAMILIES = (Bandit, DarkRoom, DarkRoomHard, KeyToDoor)
_MOST_LANES = 1024
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


def _same_action(env: BatchedEnv, action: int) -> Tensor:
    return torch.full((env.num_envs,), action)


def _distinct(rows: Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in rows.reshape(len(rows), -1).tolist()}


def _random_walk(
    env: BatchedEnv, steps: int, *, columns: list[int] | None = None
) -> tuple[Tensor, ...]:
    """Observation, reward, terminated and truncated of every step, [S, N, ...]."""
    actions = torch.randint(
        int(env.family.action_space.n),
        (steps, _MOST_LANES),
        generator=torch.Generator().manual_seed(5),
    )
    actions = actions[:, columns if columns is not None else range(env.num_envs)]
    first, _ = env.reset()
    assert isinstance(first, Tensor)
    steps_taken = [env.step(row)[:4] for row in actions]
    return (first, *(torch.stack(list(part)) for part in zip(*steps_taken, strict=True)))


@pytest.mark.parametrize("family_type", FAMILIES)
def test_every_docstring_has_the_fixed_headings_in_order(family_type: type[TaskFamily]) -> None:
    lines = [line.strip() for line in (family_type.__doc__ or "").splitlines()]
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)


# Known answers


def test_dark_room_pays_on_every_step_that_ends_on_the_goal() -> None:
    env = DarkRoom().make(torch.tensor([4 * 9 + 5]), seed=0)  # one cell right of the centre
    observation, _ = env.reset()
    assert observation.tolist() == [[4, 4]]
    rewards = []
    for action in (RIGHT, STAY, LEFT, RIGHT):
        observation, reward, *_ = env.step(_same_action(env, action))
        rewards.append(reward.item())
    assert rewards == [1.0, 1.0, 0.0, 1.0]
    assert observation.tolist() == [[5, 4]]


def test_dark_room_hard_pays_once_an_episode_and_again_in_the_next() -> None:
    env = DarkRoomHard().make(torch.tensor([8 * 17 + 8]), seed=0)  # the centre itself
    env.reset()
    rewards = [env.step(_same_action(env, STAY))[1].item() for _ in range(41)]
    assert [step for step, reward in enumerate(rewards) if reward] == [0, 20, 40]


def test_up_is_towards_smaller_y_and_walls_hold() -> None:
    env = DarkRoom().make(torch.tensor([0]), seed=0)
    env.reset()
    for _ in range(6):
        observation, *_ = env.step(_same_action(env, UP))
    assert observation.tolist() == [[4, 0]]
    observation, *_ = env.step(_same_action(env, LEFT))
    assert observation.tolist() == [[3, 0]]


def test_key_to_door_pays_the_key_once_then_the_door_and_ends_there() -> None:
    family = KeyToDoor()
    # Any start is led to (0, 0) by eight lefts and eight ups; the key lies there, the door beside.
    env = family.make(torch.tensor([[0, 1]]), seed=3)
    env.reset()
    for action in [LEFT] * 8 + [UP] * 8:
        env.step(_same_action(env, action))
    assert env.state()["has_key"].tolist() == [True]
    _, reward, terminated, *_ = env.step(_same_action(env, STAY))
    assert (reward.item(), terminated.item()) == (0.0, False)  # the key pays once
    _, reward, terminated, truncated, info = env.step(_same_action(env, RIGHT))
    assert (reward.item(), terminated.item(), truncated.item()) == (1.0, True, False)
    assert info["final_obs"].tolist() == [[1, 0]]
    assert info["final_state"]["has_key"].tolist() == [True]
    assert env.state()["has_key"].tolist() == [False]  # the new episode begins without it


def test_the_door_pays_nothing_without_the_key() -> None:
    env = KeyToDoor().make(torch.tensor([[80, 0]]), seed=3)
    env.reset()
    total = 0.0
    for action in [LEFT] * 8 + [UP] * 8 + [STAY] * 4:
        _, reward, terminated, *_ = env.step(_same_action(env, action))
        total += reward.item()
        assert not terminated.item()
    assert total == 0.0


def test_a_door_on_the_keys_own_cell_pays_both_in_one_step() -> None:
    env = KeyToDoor().make(torch.tensor([[0, 0]]), seed=3)
    env.reset()
    rewards = []
    for action in [LEFT] * 8 + [UP] * 8:
        _, reward, terminated, *_ = env.step(_same_action(env, action))
        rewards.append(reward.item())
        if terminated.item():
            break
    assert rewards[-1] == 2.0 and sum(rewards) == 2.0


def test_key_to_door_truncates_after_fifty_steps_and_starts_elsewhere() -> None:
    tasks = torch.tensor([[80, 79]]).repeat(64, 1)
    env = KeyToDoor().make(tasks, seed=0)
    first, _ = env.reset()
    for step in range(50):
        second, _, terminated, truncated, info = env.step(_same_action(env, STAY))
        assert truncated.all().item() == (step == 49)
    assert not terminated.any()
    assert torch.equal(info["final_obs"], first)
    assert not torch.equal(second, first)
    cells = _distinct(torch.cat([first, second]))
    assert len(cells) > 40  # starts are spread over the room


def test_a_door_opened_on_the_last_step_terminates_and_does_not_truncate() -> None:
    env = KeyToDoor().make(torch.tensor([[0, 1]]), seed=3)
    env.reset()
    for action in [LEFT] * 8 + [UP] * 8 + [STAY] * 33:
        env.step(_same_action(env, action))
    _, reward, terminated, truncated, info = env.step(_same_action(env, RIGHT))  # step 50
    assert (reward.item(), terminated.item(), truncated.item()) == (1.0, True, False)
    assert info["_final_obs"].tolist() == [True]


def test_a_pull_is_an_episode_and_pays_with_the_arms_mean() -> None:
    lanes, pulls = 500, 40
    means = torch.tensor([0.0, 1.0, 0.3, 0.7, *[0.5] * 6])
    env = Bandit().make(means.expand(lanes, 10), seed=0)
    env.reset()
    for arm, mean in enumerate(means.tolist()):
        rewards = []
        for _ in range(pulls):
            _, reward, terminated, truncated, info = env.step(_same_action(env, arm))
            assert terminated.all() and not truncated.any() and info["_final_obs"].all()
            rewards.append(reward)
        # Five standard errors of 20,000 Bernoulli draws.
        tolerance = 5 * (mean * (1 - mean) / (lanes * pulls)) ** 0.5
        assert torch.stack(rewards).mean().item() == pytest.approx(mean, abs=tolerance + 1e-9)


# Returns of random and optimal behaviour


def test_random_return_in_the_dark_room_is_a_cell_in_81_of_twenty_steps() -> None:
    # Averaged over all goals, every step of any walk is on the goal once in 81 times.
    assert DarkRoom().random_return(torch.arange(81)).mean().item() == pytest.approx(20 / 81)


def test_returns_over_all_tasks_are_those_of_the_papers_worlds() -> None:
    dark, hard, keys = DarkRoom(), DarkRoomHard(), KeyToDoor()
    pairs = torch.tensor(list(itertools.product(range(81), range(81))))[::7]
    assert dark.optimal_return(torch.arange(81)).mean().item() == pytest.approx(16.54, abs=0.005)
    assert hard.random_return(torch.arange(289)).mean().item() == pytest.approx(0.037, abs=0.0005)
    assert hard.optimal_return(torch.arange(289)).tolist() == [1.0] * 289
    assert keys.random_return(pairs).mean().item() == pytest.approx(0.249, abs=0.005)
    assert keys.optimal_return(pairs).tolist() == [2.0] * len(pairs)


def test_the_dark_rooms_optimum_is_the_steps_left_on_arrival() -> None:
    goals = torch.tensor([4 * 9 + 4, 4 * 9 + 5, 0])
    assert DarkRoom().optimal_return(goals).tolist() == [20.0, 20.0, 13.0]


def test_bandit_returns_are_the_mean_and_the_best_arm() -> None:
    means = torch.linspace(0, 0.9, 10)[None]
    assert Bandit().random_return(means).item() == pytest.approx(0.45)
    assert Bandit().optimal_return(means).item() == pytest.approx(0.9)


@pytest.mark.parametrize("family_type", FAMILIES)
def test_stepping_at_random_earns_the_random_return(family_type: type[TaskFamily]) -> None:
    family = family_type()
    split = family.test_sets[0]
    tasks = family.tasks(split, min(16, len(family.tasks(split, None, seed=1))), seed=1)
    lanes = tasks.repeat_interleave(64, dim=0)
    env = family.make(lanes, seed=0)
    _, _, reward, terminated, truncated = _random_walk(env, family.max_episode_steps)
    endings = (terminated | truncated).int()
    in_first_episode = endings.cumsum(0) - endings == 0
    returns = (reward * in_first_episode).sum(0)
    expected = family.random_return(lanes)
    # Returns and expectations differ by noise alone: five standard errors of their mean.
    error = (returns - expected).std() / len(lanes) ** 0.5
    assert abs((returns - expected).mean().item()) < 5 * error.item()


# The contract


@pytest.mark.parametrize("family_type", FAMILIES)
def test_batches_keep_the_contract_of_shapes_and_types(family_type: type[TaskFamily]) -> None:
    family = family_type()
    env = family.make(family.tasks("train", 7, seed=0), seed=0)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, info = env.reset()
    assert info == {}
    shape = (7, *(family.observation_space.shape or ()))
    for step in range(1, 2 * family.max_episode_steps + 1):
        assert isinstance(observation, Tensor)
        assert observation.shape == shape and observation.dtype == torch.int64
        assert env.observation_space.contains(observation.numpy())
        states = family.tabular_state(env.state())
        assert states.shape == (7,) and states.dtype == torch.int64
        assert 0 <= states.min() and states.max() < family.num_tabular_states
        action = torch.arange(7) % int(family.action_space.n)
        observation, reward, terminated, truncated, info = env.step(action)
        assert reward.dtype == torch.float32 and reward.shape == (7,)
        assert terminated.dtype == truncated.dtype == torch.bool
        assert not (terminated & truncated).any()
        assert torch.equal(info["_final_obs"], terminated | truncated)
        assert info["final_obs"].shape == shape
        assert info["final_state"].keys() == env.state().keys()
        if step == family.max_episode_steps:
            assert info["_final_obs"].all()  # no lane outlives the limit


@pytest.mark.parametrize("family_type", FAMILIES)
def test_a_reset_starts_the_same_story_again(family_type: type[TaskFamily]) -> None:
    family = family_type()
    env = family.make(family.tasks("train", 5, seed=0), seed=4)
    once = _random_walk(env, 130)
    again = _random_walk(env, 130)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    env.reset(seed=4)
    with pytest.raises(UsageError, match="made with seed 4"):
        env.reset(seed=5)


@pytest.mark.parametrize("family_type", (KeyToDoor, Bandit))
def test_a_lane_is_the_same_beside_any_other_lanes(family_type: type[TaskFamily]) -> None:
    family = family_type()
    tasks = family.tasks("train", 6, seed=0)
    together = _random_walk(family.make(tasks, seed=9, lane_ids=range(6)), 300)
    kept = [4, 1]
    apart = _random_walk(family.make(tasks[kept], seed=9, lane_ids=kept), 300, columns=kept)
    assert torch.equal(together[0][kept], apart[0])
    for whole, part in zip(together[1:], apart[1:], strict=True):
        assert torch.equal(whole[:, kept], part)


def test_lane_ids_and_seeds_make_different_stories() -> None:
    tasks = torch.tensor([[3, 70]]).repeat(32, 1)
    starts = [
        KeyToDoor().make(tasks, seed=seed, lane_ids=range(first, first + 32)).reset()[0]
        for seed, first in ((0, 0), (1, 0), (0, 32))
    ]
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert len(_distinct(starts[0])) > 16


@pytest.mark.parametrize("family_type", FAMILIES)
def test_what_was_handed_out_stays_as_it_was(family_type: type[TaskFamily]) -> None:
    family = family_type()
    env = family.make(family.tasks("train", 4, seed=0), seed=0)
    env.reset()
    held = []
    for step in range(60):
        state = env.state()
        result = env.step(torch.full((4,), step % int(family.action_space.n)))
        tensors = [*state.values(), *result[:4], result[4]["final_obs"]]
        held.append((tensors, [tensor.clone() for tensor in tensors]))
    for tensors, copies in held:
        assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))


def test_writing_into_what_was_handed_out_does_not_reach_the_world() -> None:
    family = KeyToDoor()
    tasks = family.tasks("train", 4, seed=0)
    plain, spoilt = (family.make(tasks, seed=0) for _ in range(2))
    plain.reset()
    spoilt.reset()[0].zero_()
    for step in range(120):
        action = torch.full((4,), step % 5)
        expected, *_ = plain.step(action)
        got, reward, terminated, truncated, info = spoilt.step(action)
        assert torch.equal(expected, got)
        for tensor in (got, reward, terminated, truncated, *spoilt.state().values()):
            tensor.zero_()
        for tensor in (info["final_obs"], info["_final_obs"], *info["final_state"].values()):
            tensor.zero_()


@pytest.mark.parametrize("family_type", FAMILIES)
@pytest.mark.parametrize("wrong", (-1, 10, 1000))
def test_actions_out_of_range_are_refused_with_the_range(
    family_type: type[TaskFamily], wrong: int
) -> None:
    family = family_type()
    env = family.make(family.tasks("train", 3, seed=0), seed=0)
    env.reset()
    with pytest.raises(UsageError, match=f"from 0 to {family.action_space.n - 1}"):
        env.step(torch.tensor([0, wrong, 0]))


@pytest.mark.parametrize(
    ("family", "tasks", "says"),
    [
        (DarkRoom(), torch.tensor([81]), "from 0 to 80"),
        (DarkRoom(), torch.tensor([[1, 2]]), "shape"),
        (DarkRoom(), torch.tensor([0.5]), "integers"),
        (DarkRoom(), torch.zeros(0, dtype=torch.int64), "shape"),
        (KeyToDoor(), torch.tensor([3]), "shape"),
        (KeyToDoor(), torch.tensor([[-1, 0]]), "from 0 to 80"),
        (Bandit(), torch.zeros(2, 9), "arm means"),
        (Bandit(), torch.full((1, 10), 1.5), "from 0 to 1"),
    ],
)
def test_tasks_of_another_kind_are_refused(family: TaskFamily, tasks: Tensor, says: str) -> None:
    for use in (lambda: family.make(tasks, seed=0), lambda: family.random_return(tasks)):
        with pytest.raises(UsageError, match=says):
            use()


def test_as_many_lane_ids_as_tasks_are_wanted() -> None:
    with pytest.raises(UsageError, match="2 tasks came with 3 lane ids"):
        DarkRoom().make(torch.tensor([1, 2]), seed=0, lane_ids=(0, 1, 2))


# Splits


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        (DarkRoom(), (57, 8, 16)),
        (DarkRoomHard(), (202, 29, 58)),
        (KeyToDoor(), (4593, 656, 1312)),
    ],
)
def test_splits_share_no_task_and_leave_none_out(
    family: TaskFamily, sizes: tuple[int, int, int]
) -> None:
    parts = [family.tasks(split, None, seed=2) for split in ("train", "validation", "test")]
    assert tuple(map(len, parts)) == sizes
    assert len(_distinct(torch.cat(parts))) == sum(sizes)


@pytest.mark.parametrize("family_type", FAMILIES)
def test_a_split_is_a_function_of_its_seed_and_grows_at_its_end(
    family_type: type[TaskFamily],
) -> None:
    family = family_type()
    for split in ("train", "validation", *family.test_sets):
        few, many = (family.tasks(split, count, seed=3) for count in (3, 8))
        assert torch.equal(few, many[:3])
        assert not torch.equal(many, family.tasks(split, 8, seed=4))


def test_bandits_of_different_splits_are_different_bandits() -> None:
    family = Bandit()
    parts = [family.tasks(s, None, seed=0) for s in ("train", "validation", *family.test_sets)]
    assert len(_distinct(torch.cat(parts))) == sum(map(len, parts))


def test_odd_arms_are_good_in_95_of_100_training_bandits_and_even_ones_in_the_even_set() -> None:
    family = Bandit()
    for split, share in (("train", 0.95), ("odd", 0.95), ("even", 0.05)):
        means = family.tasks(split, 4000, seed=0)
        odd_is_good = (means[:, 1::2] >= 0.5).all(1) & (means[:, 0::2] < 0.5).all(1)
        even_is_good = (means[:, 0::2] >= 0.5).all(1) & (means[:, 1::2] < 0.5).all(1)
        assert (odd_is_good | even_is_good).all()
        # Five standard errors of 4,000 draws with probability 0.05.
        assert odd_is_good.float().mean().item() == pytest.approx(share, abs=0.0173)
    uniform = family.tasks("uniform", 4000, seed=0)
    assert uniform.mean(0).tolist() == pytest.approx([0.5] * 10, abs=0.025)


@pytest.mark.parametrize("family_type", FAMILIES)
def test_unknown_splits_and_impossible_counts_are_refused(family_type: type[TaskFamily]) -> None:
    family = family_type()
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        family.tasks("trian", 1, seed=0)
    with pytest.raises(UsageError, match="were asked for"):
        family.tasks("train", 0, seed=0)


def test_more_tasks_than_a_split_has_are_refused_with_both_numbers() -> None:
    with pytest.raises(
        UsageError, match="17 test dark-room tasks were asked for; the split has 16"
    ):
        DarkRoom().tasks("test", 17, seed=0)
