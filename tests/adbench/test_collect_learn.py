"""Learning online: what is recorded is what happened, and lanes keep themselves to themselves."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench import plugins
from adbench.collect import Expert, Learning, choose_source_settings, learn_online, source_rollout
from adbench.config import CollectConfig, EvaluateConfig, RunConfig, SourceConfig, TasksConfig
from adbench.errors import ContractError, Stopped
from adbench.noise import Lanes, key_of
from adbench.task import BatchedEnv, TaskFamily

FAST = {"discount": 0.95, "trace": 0.7, "initial_value": 0.01}
DARK_ROOM = type(plugins.family("dark-room"))


def learn(
    family: TaskFamily | str, learners: Sequence[int], *, source: SourceConfig | None = None,
    **changes: Any,
) -> Learning:  # fmt: skip
    family = plugins.family(family) if isinstance(family, str) else family
    tasks = family.tasks("train", 20, seed=0)[list(learners)]
    options: dict[str, Any] = {"seed": 5, "stage": "test", "episodes": 4, **changes}
    return learn_online(
        family, tasks, source or SourceConfig(settings=FAST), learner_ids=learners, **options
    )


def replay(family: TaskFamily, learning: Learning, learners: Sequence[int]) -> dict[str, Tensor]:
    """What an environment of the same lanes gives when the recorded actions are played to it."""
    tasks = family.tasks("train", 20, seed=0)[list(learners)]
    seed = int(key_of(5, "test", "env")[0] >> 1)
    env = family.make(tasks, seed=seed, lane_ids=list(learners))
    observation, _ = env.reset()
    told: dict[str, list[Any]] = {name: [] for name in ("observation", "reward", "ended", "final")}
    for actions in torch.from_numpy(learning.steps["action"]).long().unbind(1):
        told["observation"].append(observation)
        observation, reward, terminated, truncated, info = env.step(actions)
        told["reward"].append(reward)
        told["ended"].append(terminated | truncated)
        told["final"].append(info["final_obs"])
    return {name: torch.stack(values, 1) for name, values in told.items()}


@pytest.mark.parametrize("name", ["dark-room", "dark-room-hard", "key-to-door"])
def test_playing_the_recorded_actions_again_gives_what_was_recorded(name: str) -> None:
    family, learners = plugins.family(name), [0, 3, 7]
    learning = learn(family, learners, episodes=12)
    again = replay(family, learning, learners)
    for lane in range(3):
        steps = slice(0, int(learning.length[lane]))
        for field in ("observation", "reward"):
            recorded = torch.from_numpy(learning.steps[field][lane, steps])
            assert (recorded == again[field][lane, steps]).all()
        ends = again["ended"][lane, steps].nonzero()[:, 0]
        assert (ends + 1).tolist() == learning.episode_end[lane].tolist()
        reached = again["final"][lane, steps][ends]
        assert (torch.from_numpy(learning.endings["final_observation"][lane]) == reached).all()


def test_what_is_told_of_episodes_follows_from_the_steps() -> None:
    learning = learn("key-to-door", range(6), episodes=15)
    assert (learning.episodes == 15).all()
    assert len(set(learning.length.tolist())) > 1  # doors end episodes at different times
    for lane in range(6):
        ends, length = learning.episode_end[lane], learning.length[lane]
        assert ends[-1] == length
        reward = learning.steps["reward"][lane]
        for episode, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            assert learning.returns[lane, episode] == reward[start:end].sum()
            assert learning.lengths[lane, episode] == end - start
        flags = learning.steps["terminated"][lane] | learning.steps["truncated"][lane]
        assert np.flatnonzero(flags).tolist() == (ends - 1).tolist()
        for values in learning.steps.values():
            assert not values[lane, length:].any()  # padding is zero


def test_a_lane_lives_the_same_beside_any_other_lanes() -> None:
    expert = Expert(episodes=3, share=0.9)
    options: dict[str, Any] = {"expert": expert, "episodes": 6, "max_episodes": 40}
    together = learn("key-to-door", range(12), **options)
    assert len(set(together.episodes.tolist())) > 1  # they are done at different times
    for few in ([3], [11, 0, 5]):
        apart = learn("key-to-door", few, **options)
        for at, lane in enumerate(few):
            one, other = apart.part(at, at + 1), together.part(lane, lane + 1)
            assert one.returns.tolist() == other.returns.tolist()
            for name in one.steps:
                assert np.array_equal(one.steps[name], other.steps[name]), name
            for name in one.endings:
                assert np.array_equal(one.endings[name], other.endings[name]), name


def test_a_lanes_key_is_made_of_who_it_is_and_nothing_else() -> None:
    tasks = torch.arange(6).view(3, 2)
    keys = Lanes(3, "a/b", tasks, (4, 5, 4)).keys("action")
    for key, task, lane in zip(keys, tasks.numpy(), (4, 5, 4), strict=True):
        assert (key == key_of(3, "a/b", "action", task.tobytes(), lane)).all()
    assert len({key.tobytes() for key in keys}) == 3


def test_seeds_stages_and_learners_draw_apart() -> None:
    def actions(**changes: Any) -> np.ndarray:
        return learn("dark-room", [1, 2], **changes).steps["action"]

    base = actions()
    assert np.array_equal(base, actions())
    assert not np.array_equal(base, actions(seed=6))
    assert not np.array_equal(base, actions(stage="another"))
    family = plugins.family("dark-room")
    twins = learn_online(
        family, family.tasks("train", 1, seed=0).repeat(2), SourceConfig(), seed=0, stage="test",
        learner_ids=(0, 1), episodes=2,
    )  # fmt: skip
    assert not np.array_equal(twins.steps["action"][0], twins.steps["action"][1])


def test_learners_go_on_until_they_are_experts_or_given_up() -> None:
    expert = Expert(episodes=5, share=0.9)
    learning = learn("dark-room", range(20), source=SourceConfig(), episodes=5, expert=expert,
                     max_episodes=60)  # fmt: skip
    family = plugins.family("dark-room")
    optimum = family.optimal_return(family.tasks("train", 20, seed=0))
    assert optimum is not None
    for lane, episodes in enumerate(learning.episodes):
        last = learning.returns[lane, episodes - 5 : episodes].mean()
        assert episodes == 60 or last >= 0.9 * optimum[lane] - 1e-5
        assert 10 <= episodes <= 60
    assert (learning.episodes < 60).sum() >= 15


def test_only_the_kept_streams_of_a_learner_are_recorded() -> None:
    source = SourceConfig(settings=FAST, actors=3)
    every = learn("dark-room", [4, 5], source=source)
    some = learn("dark-room", [4, 5], source=source.with_(kept_actors=2))
    assert every.returns.shape[0] == 6
    assert some.returns.shape[0] == 4
    for name, values in some.steps.items():
        assert np.array_equal(values, every.steps[name][[0, 1, 3, 4]])
    assert some.num_steps == every.num_steps


def test_without_a_record_the_returns_are_the_same() -> None:
    full, bare = learn("key-to-door", [0, 1]), learn("key-to-door", [0, 1], record=False)
    assert bare.steps == {}
    assert bare.endings == {}
    assert np.array_equal(full.returns, bare.returns)
    assert np.array_equal(full.episode_end, bare.episode_end)


def test_a_source_that_gains_nothing_by_a_gpu_learns_on_the_cpu() -> None:
    asked_for = learn("dark-room", [0], device="cuda")  # there need not be one
    assert np.array_equal(asked_for.steps["action"], learn("dark-room", [0]).steps["action"])


def test_fields_are_stored_as_narrow_as_their_spaces_allow() -> None:
    steps = learn("dark-room", [0]).steps
    assert {name: values.dtype.str[1:] for name, values in steps.items()} == {
        "observation": "u1", "action": "u1", "reward": "f4", "terminated": "u1", "truncated": "u1",
    }  # fmt: skip


def test_progress_rises_to_its_end() -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        told.append((done, total))

    learn("dark-room", [0, 1], episodes=20, progress=progress)
    assert told == sorted(told)
    assert told[-1] == (40, 40)
    assert len(told) > 3


class Rendered(DARK_ROOM):  # type: ignore[misc, valid-type]
    """Dark Room, as if frames were drawn from its state."""

    renderer = "test"


def test_where_frames_are_drawn_from_states_the_states_are_kept() -> None:
    plain, drawn = learn("dark-room", [2, 3]), learn(Rendered(), [2, 3])
    assert set(drawn.steps) == {"state/cell", "action", "reward", "terminated", "truncated"}
    assert set(drawn.endings) == {"final_state/cell"}
    cells = plain.steps["observation"].astype(int) @ [1, 9]
    assert np.array_equal(drawn.steps["state/cell"], cells)
    last = plain.endings["final_observation"].astype(int) @ [1, 9]
    assert np.array_equal(drawn.endings["final_state/cell"], last)


class Looking(DARK_ROOM):  # type: ignore[misc, valid-type]
    """Dark Room whose observation is a Dict of a cell and a smell."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict(
            {"cell": spaces.MultiDiscrete([9, 9]), "smell": spaces.Box(0.0, 1.0, (2,))}
        )

    def make(self, tasks: Tensor, **options: Any) -> BatchedEnv:
        env: Any = super().make(tasks, **options)
        reset, step = env.reset, env.step

        def look(cell: Tensor) -> dict[str, Tensor]:
            return {"cell": cell, "smell": cell / 8}

        def step_looking(actions: Tensor) -> Any:
            observation, *rest, info = step(actions)
            return look(observation), *rest, {**info, "final_obs": look(info["final_obs"])}

        env.reset = lambda **options: (look(reset(**options)[0]), {})
        env.step = step_looking
        env.single_observation_space = self.observation_space
        return cast(BatchedEnv, env)


def test_dict_observations_are_recorded_key_by_key() -> None:
    learning = learn(Looking(), [0])
    cell, smell = learning.steps["observation/cell"], learning.steps["observation/smell"]
    assert (cell.dtype, smell.dtype) == (np.uint8, np.float32)
    assert np.array_equal(smell, cell.astype(np.float32) / 8)
    assert set(learning.endings) == {"final_observation/cell", "final_observation/smell"}


class Sloppy(DARK_ROOM):  # type: ignore[misc, valid-type]
    """Dark Room whose rewards are of the wrong type."""

    def make(self, tasks: Tensor, **options: Any) -> BatchedEnv:
        env: Any = super().make(tasks, **options)
        step = env.step

        def wrong(actions: Tensor) -> Any:
            observation, reward, *rest = step(actions)
            return observation, reward.double(), *rest

        env.step = wrong
        return cast(BatchedEnv, env)


def test_an_environment_that_breaks_its_contract_is_named_with_what_is_wrong() -> None:
    with pytest.raises(ContractError, match=r"'dark-room'.*reward is float64.*check-env"):
        learn(Sloppy(), [0])


class Watched(DARK_ROOM):  # type: ignore[misc, valid-type]
    """Dark Room that remembers which splits were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        self.asked.append(split)
        tasks: Tensor = super().tasks(split, count, seed=seed)
        return tasks


def run_config(**changes: Any) -> RunConfig:
    return RunConfig(
        env="dark-room",
        tasks=TasksConfig(train=4, validation=4, test=3),
        collect=CollectConfig(learners_per_task=2, episodes=30, expert_episodes=2, max_episodes=40),
        evaluate=EvaluateConfig(source_episodes=40),
        **changes,
    )


def test_the_best_settings_are_chosen_on_validation_tasks_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = plugins.source("q-lambda")
    candidates: tuple[dict[str, Any], ...] = ({"initial_value": -2.0}, {"discount": 0.8}, {})
    monkeypatch.setattr(source, "candidates", lambda: candidates)
    family = Watched()
    config = run_config(source=SourceConfig(settings={"initial_value": -1.0}))
    chosen = choose_source_settings(config, family, seed=0)
    assert set(family.asked) == {"validation"}
    assert chosen["initial_value"] == 1.5  # below zero a learner never explores
    assert chosen == choose_source_settings(config, family, seed=0)


def test_a_runs_own_settings_are_kept_where_no_candidate_is_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = plugins.source("q-lambda")
    monkeypatch.setattr(source, "candidates", lambda: ({"initial_value": -1.0},))
    chosen = choose_source_settings(run_config(), plugins.family("dark-room"), seed=0)
    assert chosen == source.Settings.parse({}).model_dump()


@pytest.mark.parametrize("name", ["q-lambda", "ucb", "a2c"])
def test_every_source_offers_a_dozen_candidates_that_its_settings_accept(name: str) -> None:
    source = plugins.source(name)
    candidates = source.candidates()
    assert len({tuple(sorted(one.items())) for one in candidates}) == 12
    for one in candidates:
        source.Settings.parse(one)


def test_the_score_of_a_source_has_a_lane_for_every_learner() -> None:
    family = plugins.family("key-to-door")
    tasks = family.tasks("test", 3, seed=0)
    config = run_config(source=SourceConfig(actors=2, settings=FAST)).with_(env="key-to-door")
    rollout = source_rollout(
        config, family, tasks, seed=0, stage="evaluate/source", lanes_per_task=4, episodes=7
    )
    assert rollout.returns.shape == (12, 7)
    assert rollout.task_index.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert ((rollout.lengths >= 1) & (rollout.lengths <= 50)).all()
    assert rollout.lengths.dtype == torch.int32
    again = source_rollout(
        config, family, tasks[1:], seed=0, stage="evaluate/source", lanes_per_task=4, episodes=7
    )
    assert torch.equal(again.returns, rollout.returns[4:])


def test_other_settings_can_be_scored() -> None:
    family = plugins.family("dark-room")
    tasks = family.tasks("test", 2, seed=0)
    options: dict[str, Any] = {
        "seed": 0, "stage": "evaluate/source", "lanes_per_task": 8, "episodes": 40,
    }  # fmt: skip
    good = source_rollout(run_config(), family, tasks, **options)
    bad = source_rollout(run_config(), family, tasks, settings={"initial_value": -1.0}, **options)
    assert good.returns[:, -5:].mean() > bad.returns[:, -5:].mean() + 3
    assert bad.about["settings"] == {"initial_value": -1.0}


def test_a_stop_ends_a_source_row_on_the_way_and_the_next_time_gives_the_same() -> None:
    family = plugins.family("dark-room")
    tasks = family.tasks("test", 2, seed=0)
    options: dict[str, Any] = {
        "seed": 0, "stage": "evaluate/source", "lanes_per_task": 2, "episodes": 30,
    }  # fmt: skip
    whole = source_rollout(run_config(), family, tasks, **options)
    asked = iter([False, False, True])
    with pytest.raises(Stopped, match=r"evaluate/source stopped before its end; it begins again"):
        source_rollout(run_config(), family, tasks, stop=lambda: next(asked), **options)
    again = source_rollout(run_config(), family, tasks, stop=lambda: False, **options)
    assert torch.equal(again.returns, whole.returns)
