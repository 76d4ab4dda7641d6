"""Plain gymnasium environments become a task family, with nothing lost on the way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

import adbench
from adbench.contract import Subject, run_checks
from adbench.errors import ContractError, UnknownNameError, UsageError
from adbench.gym_adapter import GymFamily, gym_family

Box, Dict, Discrete, MultiDiscrete = spaces.Box, spaces.Dict, spaces.Discrete, spaces.MultiDiscrete


class Scripted(gymnasium.Env[Any, Any]):
    """Counts its steps: pays the step's number, and ends as it is told."""

    def __init__(
        self,
        observation: Any = 0,
        space: gymnasium.Space[Any] | None = None,
        *,
        actions: gymnasium.Space[Any] | None = None,
        terminates: int = 10**9,
        truncates: int = 10**9,
    ) -> None:
        self.observation_space = Discrete(100) if space is None else space
        self.action_space = Discrete(2) if actions is None else actions
        self.shown = observation
        self.terminates, self.truncates = terminates, truncates
        self.taken: list[Any] = []
        self.steps = 0

    def look(self) -> Any:
        return self.steps if isinstance(self.observation_space, Discrete) else self.shown

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {"private": "info"}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.taken.append(action)
        over, late = self.steps >= self.terminates, self.steps >= self.truncates
        return self.look(), float(self.steps), over, late, {"private": "info"}


class Coin(Scripted):
    """Pays 1 for action 1, drawn again with its own generator half of the time."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, over, late, info = super().step(action)
        pays = action == 1 if self.np_random.random() < 0.5 else self.np_random.random() < 0.5
        return observation, float(pays), over, late, info


def family_of(make: Callable[[Any], gymnasium.Env[Any, Any]], **settings: Any) -> GymFamily:
    """A family of three tasks and ten steps, unless said otherwise."""
    given = {"tasks": [0, 1, 2], "max_episode_steps": 10, "name": "scripted", **settings}
    return gym_family(make, **given)


def shown(observation: Any, space: gymnasium.Space[Any]) -> Any:
    """What a lane gets to see of an environment that shows one thing."""
    family = family_of(lambda task: Scripted(observation, space))
    env = family.make(family.tasks("train", 1, seed=0), seed=0)
    return env.reset()[0], family.observation_space


def frozen_lakes() -> GymFamily:
    """Small frozen lakes; the task is where the holes are."""
    return adbench.gym_family(
        lambda task: gymnasium.make(
            "FrozenLake-v1", desc=generate_random_map(4, seed=task["map"]), is_slippery=False
        ),
        tasks=[{"map": seed} for seed in range(12)],
        optimal=1.0,
        name="frozen-lakes",
        max_episode_steps=30,
    )


def slippery_lakes() -> GymFamily:
    """A lake that draws in every step, as many tasks as one likes."""
    return adbench.gym_family(
        lambda task: gymnasium.make(
            "FrozenLake-v1", desc=generate_random_map(4, seed=task), is_slippery=True
        ),
        tasks=lambda rng: int(rng.integers(10**6)),
        name="slippery-lakes",
        max_episode_steps=20,
    )


def poles() -> GymFamily:
    """Poles of many lengths, some of them behind mirrors: a vector to look at."""

    def make(task: Any) -> gymnasium.Env[Any, Any]:
        env = gymnasium.make("CartPole-v1")
        cart: Any = env.unwrapped
        cart.length, cart.force_mag = task["length"], 10.0 * task["mirror"]
        return env

    return adbench.gym_family(
        make,
        tasks=[
            {"length": length, "mirror": mirror}
            for length, mirror in itertools.product((0.25, 0.5, 1.0), (-1, 1))
        ],
        optimal=40.0,
        name="poles",
        max_episode_steps=40,
    )


@pytest.mark.parametrize("build", [frozen_lakes, slippery_lakes, poles])
def test_gymnasiums_own_environments_keep_the_contract(build: Callable[[], GymFamily]) -> None:
    results = run_checks(Subject(build(), sample_steps=5000))
    assert [(r.name, r.findings) for r in results if r.status != "ok"] == []


def minigrid_rooms() -> GymFamily:
    """Four rooms of minigrid's; the task is where goal and agent are."""
    return adbench.gym_family(
        lambda task: gymnasium.make(
            "MiniGrid-FourRooms-v0", agent_pos=(1, 1), goal_pos=tuple(task["goal"])
        ),
        tasks=[{"goal": [x, y]} for x in range(2, 8, 2) for y in range(2, 8, 2)],
        name="four-rooms",
        max_episode_steps=12,
        random_episodes=4,
    )


def minigrid_empty() -> GymFamily:
    """An empty room of minigrid's, begun anywhere."""
    return adbench.gym_family(
        lambda task: gymnasium.make(f"MiniGrid-Empty-Random-{task}x{task}-v0"),
        tasks=[5, 6, "5"],
        name="empty-rooms",
        max_episode_steps=12,
        random_episodes=4,
    )


@pytest.mark.parametrize("build", [minigrid_rooms, minigrid_empty])
def test_an_environment_from_pypi_keeps_the_contract(build: Callable[[], GymFamily]) -> None:
    pytest.importorskip("minigrid", reason="minigrid is not installed: pip install minigrid")
    with pytest.warns(UserWarning, match="does not see the text of 'mission'"):
        family = build()
    assert isinstance(family.observation_space, Dict)
    assert set(family.observation_space.spaces) == {"direction", "image"}
    results = run_checks(Subject(family, sample_steps=1000))
    assert [(r.name, r.findings) for r in results if r.status != "ok"] == []


def test_what_is_seen_has_the_dtypes_of_its_space() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    seen, space = shown(
        {"where": 3, "wall": np.array([2, 1]), "near": np.array([0.5, -1.0]), "frame": image},
        Dict(
            where=Discrete(5),
            wall=MultiDiscrete([3, 2]),
            near=Box(-1.0, 1.0, (2,), np.float64),
            frame=Box(0, 255, (4, 4, 3), np.uint8),
        ),
    )
    assert isinstance(space, Dict)
    assert {key: (value.dtype, value.tolist()) for key, value in seen.items()} == {
        "where": (torch.int64, [3]),
        "wall": (torch.int64, [[2, 1]]),
        "near": (torch.float32, [[0.5, -1.0]]),
        "frame": (torch.uint8, [image.tolist()]),
    }


def test_multi_discrete_observations_count_from_0() -> None:
    seen, space = shown(np.array([5, 7]), MultiDiscrete([3, 4], start=[4, 4]))
    assert seen.tolist() == [[1, 3]]
    assert space == MultiDiscrete([3, 4])


def test_actions_count_from_0_and_reach_the_environment_as_its_own() -> None:
    made: list[Scripted] = []

    def make(task: Any) -> Scripted:
        made.append(Scripted(actions=Discrete(3, start=-1)))
        return made[-1]

    family = family_of(make)
    assert family.action_space == Discrete(3)
    env = family.make(family.tasks("train", 1, seed=0), seed=0)
    env.reset()
    for action in range(3):
        env.step(torch.tensor([action]))
    assert made[-1].taken == [-1, 0, 1]


@pytest.mark.parametrize(
    ("space", "wrapper"),
    [
        (Box(-1, 1, (2, 2)), "FlattenObservation"),
        (Box(0, 1, (8, 8, 3)), "TransformObservation to uint8"),
        (Box(-1, 1, ()), "ReshapeObservation"),
        (spaces.MultiBinary(4), "FlattenObservation"),
        (spaces.Tuple([Discrete(2), Discrete(3)]), "FlattenObservation"),
        (MultiDiscrete(np.full((2, 2), 2)), "TransformObservation"),
        (spaces.Sequence(Discrete(3)), "TransformObservation"),
        (spaces.Graph(Discrete(3), None), "TransformObservation"),
        (spaces.Text(4), "TransformObservation"),
        (Dict(inner=Dict(deep=Discrete(2))), "FlattenObservation"),
        (Dict(fine=Discrete(2), coarse=spaces.Tuple([Discrete(2)])), "its key 'coarse'"),
    ],
    ids=str,
)
def test_other_observations_are_refused_and_the_wrapper_is_named(
    space: gymnasium.Space[Any], wrapper: str
) -> None:
    with pytest.raises(UsageError, match=wrapper):
        family_of(lambda task: Scripted(0, space))


@pytest.mark.filterwarnings("ignore:.*does not see")
def test_nothing_but_text_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing can be seen"):
        family_of(lambda task: Scripted(0, Dict(say=spaces.Text(4))))


@pytest.mark.parametrize(
    ("actions", "wrapper"),
    [
        (Box(-1, 1, (2,)), "gymnasium.wrappers.DiscretizeAction"),
        (MultiDiscrete([2, 2]), "gymnasium.wrappers.TransformAction"),
        (spaces.MultiBinary(2), "gymnasium.wrappers.TransformAction"),
    ],
    ids=str,
)
def test_other_actions_are_refused_and_the_wrapper_is_named(
    actions: gymnasium.Space[Any], wrapper: str
) -> None:
    with pytest.raises(UsageError, match=wrapper):
        family_of(lambda task: Scripted(actions=actions))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: gymnasium.wrappers.FlattenObservation(env),
        lambda env: gymnasium.wrappers.TransformObservation(env, lambda seen: 1, Discrete(2)),
    ],
)
def test_the_wrappers_that_are_named_work(wrap: Callable[[Any], Any]) -> None:
    tuples = spaces.Tuple([Discrete(2), Discrete(3)])
    family = family_of(lambda task: wrap(Scripted((1, 2), tuples)))
    run = run_checks(Subject(family), only=("values",))
    assert [r.findings for r in run if r.status != "ok"] == []


def test_terminated_and_truncated_stay_apart_and_no_step_is_lost_or_added() -> None:
    endings = [{"terminates": 4}, {"truncates": 3}, {"terminates": 3, "truncates": 3}, {}]
    tasks = [*endings, {"terminates": 10}, {"truncates": 12}]
    family = family_of(lambda task: Scripted(**task), tasks=tasks)
    numbers = torch.arange(6)[:, None]
    env = family.make(numbers, seed=0)
    env.reset()
    lengths: list[list[tuple[int, str]]] = [[] for _ in tasks]
    clock = [0] * 6
    for _ in range(24):
        seen, reward, terminated, truncated, info = env.step(torch.zeros(6, dtype=torch.int64))
        assert isinstance(seen, torch.Tensor)
        ended = terminated | truncated
        assert not bool((terminated & truncated).any())
        assert torch.equal(info["_final_obs"], ended)
        for lane in range(6):
            clock[lane] += 1
            assert float(reward[lane]) == clock[lane]  # no dummy step between episodes
            if ended[lane]:
                assert int(info["final_obs"][lane]) == clock[lane] and int(seen[lane]) == 0
                how = "terminated" if terminated[lane] else "truncated"
                lengths[lane].append((clock[lane], how))
                clock[lane] = 0
            else:
                assert int(seen[lane]) == clock[lane]
    assert [set(lane) for lane in lengths] == [
        {(4, "terminated")},
        {(3, "truncated")},
        {(3, "terminated")},
        {(10, "truncated")},
        {(10, "terminated")},
        {(10, "truncated")},
    ]


def test_an_episode_length_must_be_known() -> None:
    with pytest.raises(UsageError, match="Pass max_episode_steps"):
        family_of(lambda task: Scripted(), max_episode_steps=None)
    with pytest.raises(UsageError, match="at least 1"):
        family_of(lambda task: Scripted(), max_episode_steps=0)
    lake = family_of(lambda task: gymnasium.make("FrozenLake-v1"), max_episode_steps=None)
    assert lake.max_episode_steps == 100


def test_a_lists_splits_are_disjoint_and_the_tasks_are_whole() -> None:
    tasks = [{"x": x, "name": f"t{x}"} for x in range(20)]
    family = family_of(lambda task: Scripted(), tasks=tasks)
    splits = {s: family.tasks(s, None, seed=3) for s in ("train", "validation", "test")}
    assert {s: tuple(t.shape) for s, t in splits.items()} == {
        "train": (14, 1),
        "validation": (2, 1),
        "test": (4, 1),
    }
    together = [task for t in splits.values() for task in family.values(t)]
    assert sorted(together, key=lambda task: task["x"]) == tasks
    assert not torch.equal(family.tasks("test", None, seed=4), splits["test"])


def test_a_sampler_never_shows_a_test_task_in_training() -> None:
    family = family_of(lambda task: Scripted(), tasks=lambda rng: [int(rng.integers(40))])
    found = {
        s: {json.dumps(task) for task in family.values(family.tasks(s, None, seed=0))}
        for s in ("train", "validation", "test")
    }
    assert sum(map(len, found.values())) == 40  # every task once, in one of the three
    assert len(set.union(*found.values())) == 40


def test_a_samplers_tasks_are_its_numbers_whatever_else_is_asked() -> None:
    family = family_of(lambda task: Scripted(), tasks=lambda rng: float(rng.random()))
    few, many = family.tasks("train", 3, seed=1), family.tasks("train", 30, seed=1)
    assert torch.equal(few, many[:3])
    assert family.values(few) == family.values(many)[:3]
    assert few.dtype == torch.int64 and tuple(few.shape) == (3, 1)
    assert int(many.max()) < 2**53  # results.json lists them as numbers
    with pytest.raises(UnknownNameError, match="Did you mean 'train'"):
        family.tasks("trian", 3, seed=1)


def test_a_sampler_that_runs_dry_is_said() -> None:
    family = family_of(lambda task: Scripted(), tasks=lambda rng: int(rng.integers(9)))
    with pytest.raises(UsageError, match=r"gave \d different train tasks .* 10 were asked for"):
        family.tasks("train", 10, seed=0)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([1, 2], "three or more"),
        ([1, 2, 1], "tasks 0 and 2 are the same: 1"),
        ([1, 2, np.int64(3)], "task 2 is not a JSON value: .*int64"),
        ([1, 2, float("nan")], "task 2 is not a JSON value"),
        ([{"a": {1, 2}}, 2, 3], "task 0 is not a JSON value: .*set"),
    ],
)
def test_tasks_that_cannot_be_written_down_or_split_are_refused(tasks: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        family_of(lambda task: Scripted(), tasks=tasks)


def test_a_task_that_make_changes_is_whole_again_for_the_next_lane() -> None:
    def make(task: Any) -> Scripted:
        return Scripted(terminates=task.pop("n"))

    family = family_of(make, tasks=[{"n": 2}, {"n": 3}, {"n": 4}])
    assert family.values(torch.tensor([[1]])) == [{"n": 3}]
    family.make(torch.tensor([[1], [1]]), seed=0).reset()
    assert family.values(torch.tensor([[1]])) == [{"n": 3}]


def test_a_lane_is_seeded_by_who_it_is() -> None:
    family = family_of(lambda task: Coin())
    tasks = torch.tensor([[0], [0], [1]])
    actions = torch.zeros(3, dtype=torch.int64)

    def rewards(seed: int, lanes: tuple[int, ...]) -> list[tuple[float, ...]]:
        env = family.make(tasks, seed=seed, lane_ids=lanes)
        env.reset()
        steps = [env.step(actions)[1] for _ in range(40)]
        return [tuple(lane) for lane in torch.stack(steps, dim=1).tolist()]

    first = rewards(0, (5, 6, 5))
    assert len(set(first)) == 3  # neither the lane id nor the task is forgotten
    assert rewards(0, (6, 5, 5)) == [first[1], first[0], first[2]]
    assert not set(rewards(1, (5, 6, 5))) & set(first)


def test_processes_live_through_the_same_as_one_process_does() -> None:
    def rollout(vectorization: Any) -> list[Any]:
        family = family_of(lambda task: Coin(terminates=3), vectorization=vectorization)
        env: Any = family.make(torch.tensor([[0], [1]]), seed=0)
        seen = [env.reset()[0].tolist()]
        for step in range(8):
            observation, reward, terminated, truncated, info = env.step(torch.tensor([step % 2, 1]))
            flags = (terminated, truncated, info["_final_obs"], info["final_obs"])
            seen.append([part.tolist() for part in (observation, reward, *flags)])
        env.close()
        return seen

    assert rollout("async") == rollout("sync")


def test_too_many_processes_are_refused() -> None:
    family = family_of(lambda task: Scripted(), vectorization="async")
    with pytest.raises(UsageError, match="a process a lane, and 200 lanes"):
        family.make(torch.zeros(200, 1, dtype=torch.int64), seed=0)
    with pytest.raises(UsageError, match="'sync' or 'async'"):
        family_of(lambda task: Scripted(), vectorization="threads")


def test_random_return_is_the_mean_of_whole_episodes() -> None:
    # Task k pays 1, 2, ... and terminates at step k + 1, whatever one does.
    family = family_of(lambda task: Scripted(terminates=task + 1), random_episodes=4)
    assert family.random_return(torch.tensor([[0], [1], [2], [1]])).tolist() == [1, 3, 6, 3]


def test_random_return_does_not_depend_on_what_else_is_asked() -> None:
    tasks = torch.tensor([[2], [0], [1]])
    together = family_of(lambda task: Coin()).random_return(tasks)
    alone = [family_of(lambda task: Coin()).random_return(task[None]) for task in tasks]
    assert together.tolist() == torch.cat(alone).tolist()
    # 32 episodes of 10 steps, each paying 1/2: standard error sqrt(10 / 4 / 32) = 0.28.
    assert all(abs(mean - 5.0) < 5 * 0.28 for mean in together.tolist())


@pytest.mark.parametrize(
    ("optimal", "expected"),
    [(None, None), (2.5, [2.5, 2.5]), (lambda task: 10 * task, [0.0, 20.0])],
)
def test_the_optimum_is_a_number_a_function_or_unknown(optimal: Any, expected: Any) -> None:
    family = family_of(lambda task: Scripted(), optimal=optimal)
    found = family.optimal_return(torch.tensor([[0], [2]]))
    assert (found if found is None else found.tolist()) == expected


def test_tasks_of_other_spaces_are_refused_by_name() -> None:
    family = family_of(lambda task: Scripted(space=Discrete(100 + task["n"])), tasks=[
        {"n": 0}, {"n": 0, "again": True}, {"n": 5},
    ])  # fmt: skip
    with pytest.raises(UsageError, match=r"task .* observation space Discrete\(10"):
        family.make(torch.tensor([[0], [1], [2]]), seed=0)


def test_faults_of_the_environment_are_told_with_its_task() -> None:
    class Faulty(Scripted):
        def step(self, action: Any) -> Any:
            raise ZeroDivisionError("no more")

    family = family_of(lambda task: Faulty(), tasks=["a", "b", "c"])
    env = family.make(torch.tensor([[1]]), seed=0)
    env.reset()
    with pytest.raises(ContractError, match=r'scripted: step\(\) .* task "b" raised Zero.*no more'):
        env.step(torch.tensor([0]))

    def make(task: Any) -> Any:
        raise KeyError(task)

    with pytest.raises(ContractError, match=r"make\(\) of task 1 raised KeyError"):
        family_of(make, tasks=[1, 1.5, 2]).make(torch.tensor([[0]]), seed=0)
    with pytest.raises(UsageError, match=r"gave a str, not a gymnasium\.Env"):
        family_of(lambda task: "env")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "tasks",
    [torch.zeros(2, dtype=torch.int64), torch.zeros(2, 1), torch.zeros(0, 1, dtype=torch.int64)],
)
def test_tasks_of_another_form_are_refused(tasks: torch.Tensor) -> None:
    family = family_of(lambda task: Scripted())
    with pytest.raises(UsageError, match=r"int64 \[N, 1\]"):
        family.make(tasks, seed=0)


def test_numbers_and_actions_out_of_range_are_refused() -> None:
    family = family_of(lambda task: Scripted())
    with pytest.raises(UsageError, match="no task 7; the list has 3"):
        family.make(torch.tensor([[7]]), seed=0)
    env = family.make(torch.tensor([[0]]), seed=0)
    env.reset()
    for actions, words in (
        (torch.tensor([2]), "from 0 to 1; got 2"),
        (torch.tensor([-1]), "got -1"),
        (torch.tensor([0, 0]), r"int64 \[1\]"),
        (torch.tensor([0.5]), "float32"),
    ):
        with pytest.raises(UsageError, match=words):
            env.step(actions)
    with pytest.raises(UsageError, match="made with seed 0"):
        env.reset(seed=1)
    with pytest.raises(UsageError, match="2 lane ids"):
        family.make(torch.tensor([[0]]), seed=0, lane_ids=(1, 2))
