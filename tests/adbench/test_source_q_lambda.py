"""Q(lambda): against its definition with dense traces, on known answers, and learning Dark Room."""

from typing import Any

import numpy as np
import pytest
import torch

from adbench import plugins
from adbench.collect import learn_online
from adbench.config import SourceConfig
from adbench.errors import UsageError
from adbench.noise import Lanes
from adbench.source.q_lambda import QLambda, QLambdaSettings
from adbench.source.watkins import Tables, choose, take_in, trace_slots

Array = np.ndarray[Any, Any]

# Float32 against float64: some tens of roundings of numbers of about 1, and freed eligibilities.
ROUNDING = 2e-3


def tables(
    learners: int = 1, actors: int = 1, states: int = 4, choices: int = 3, **changes: Any
) -> Tables:
    kwargs: dict[str, Any] = {"value": 0.0, "slots": 50, **changes}
    return Tables.fresh(learners, actors, states, choices, **kwargs)


def pick(
    known: Tables,
    states: list[int],
    noise: Array,
    *,
    actors: int = 1,
    persistence: float = 0.0,
    epsilon: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Array:
    choose(
        known.values,
        known.action,
        known.greedy,
        known.finished,
        known.under_way,
        np.array(states),
        np.asarray(noise, np.float32),
        actors,
        persistence,
        *epsilon,
    )
    return known.action.copy()


def back_up(
    known: Tables,
    states: list[int] | Array,
    rewards: list[float] | Array,
    next_states: list[int] | Array,
    *,
    terminated: list[bool] | Array | None = None,
    truncated: list[bool] | Array | None = None,
    actors: int = 1,
    rate: float = 1.0,
    discount: float = 0.5,
    trace: float = 0.0,
) -> None:
    none = np.zeros(len(states), bool)
    take_in(
        known.values,
        known.trace_pairs,
        known.trace_weights,
        known.trace_lengths,
        known.action,
        known.greedy,
        known.finished,
        known.under_way,
        np.asarray(states),
        np.asarray(rewards, np.float32),
        none if terminated is None else np.asarray(terminated),
        none if truncated is None else np.asarray(truncated),
        np.asarray(next_states),
        actors,
        rate,
        discount,
        trace,
    )


def dense_backup(
    values: Array,
    traces: Array,
    state: int,
    action: int,
    greedy: bool,
    reward: float,
    ended: bool,
    over: bool,
    next_state: int,
    rate: float,
    discount: float,
    trace: float,
) -> None:
    """Watkins's Q(lambda) with replacing traces as textbooks write it; one lane, float64."""
    traces *= discount * trace if greedy else 0.0
    traces[state, action] = 1.0
    future = 0.0 if over else discount * values[next_state].max()
    values += rate * (reward + future - values[state, action]) * traces
    if ended:
        traces[:] = 0.0


@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.8), (0.5, 0.0), (0.99, 1.0)])
def test_sparse_traces_do_what_dense_traces_do(discount: float, trace: float) -> None:
    lanes, states, choices, steps = 6, 7, 3, 400
    rng = np.random.default_rng(0)
    known = tables(lanes, states=states, choices=choices, slots=trace_slots(discount * trace, 30))
    values, traces = np.zeros((2, lanes, states, choices))
    here = rng.integers(0, states, lanes)
    for step in range(steps):
        action = pick(known, here.tolist(), rng.random((lanes, 2)), epsilon=(0.3, 0.3, 0.0))
        greedy = known.greedy.copy()
        there, reward = rng.integers(0, states, lanes), rng.normal(size=lanes)
        ended = np.full(lanes, step % 30 == 29) | (rng.random(lanes) < 0.05)
        over = ended & (rng.random(lanes) < 0.5)
        back_up(
            known, here, reward, there, terminated=over, truncated=ended & ~over,
            rate=0.1, discount=discount, trace=trace,
        )  # fmt: skip
        for lane in range(lanes):
            dense_backup(
                values[lane], traces[lane], here[lane], action[lane], greedy[lane],
                float(np.float32(reward[lane])), ended[lane], over[lane], there[lane],
                0.1, discount, trace,
            )  # fmt: skip
        here = there
    np.testing.assert_allclose(known.values, values, atol=ROUNDING)
    assert np.abs(values).max() > 0.3


def test_an_end_has_no_future_and_a_time_limit_has_one() -> None:
    known = tables(2)
    known.values[:, 1] = 8.0
    known.action[:] = 2
    back_up(known, [0, 0], [1.0, 1.0], [1, 1], terminated=[True, False], truncated=[False, True])
    assert known.values[0, 0, 2] == 1.0
    assert known.values[1, 0, 2] == 1.0 + 0.5 * 8.0


def test_a_reward_reaches_back_along_the_trace_in_one_episode() -> None:
    known = tables(states=5)
    for state in range(4):
        known.action[:], known.greedy[:] = 1, True
        back_up(
            known, [state], [float(state == 3)], [state + 1], terminated=[state == 3], trace=0.5
        )
    # Reward 1, and a quarter (discount 0.5 times lambda 0.5) of it each step further back.
    assert known.values[0, :4, 1].tolist() == [1 / 64, 1 / 16, 1 / 4, 1.0]


def test_an_exploratory_choice_cuts_the_trace() -> None:
    known = tables(states=5)
    for state in range(4):
        known.action[:], known.greedy[:] = 1, state != 2
        back_up(known, [state], [float(state == 3)], [state + 1], trace=0.5)
    assert known.values[0, :4, 1].tolist() == [0.0, 0.0, 1 / 4, 1.0]


def test_no_trace_is_one_step_q_learning() -> None:
    known = tables(states=3)
    known.values[0, 1] = [0.0, 6.0, 2.0]
    known.action[:], known.greedy[:] = 0, True
    back_up(known, [0], [1.0], [1], rate=0.25)
    assert known.values[0, 0].tolist() == [0.25 * (1.0 + 0.5 * 6.0), 0.0, 0.0]


def test_the_trace_never_needs_more_slots_than_it_has() -> None:
    for decay, steps in ((0.0, 10), (0.45, 500), (0.63, 12), (0.97, 1000)):
        slots = trace_slots(decay, steps)
        known = tables(states=steps + 1, choices=2, slots=slots + 1)  # one slot to see an overflow
        for state in range(steps):
            known.action[:], known.greedy[:] = 0, True
            back_up(known, [state], [0.0], [state + 1], discount=decay, trace=1.0)
            assert known.trace_lengths[0] <= slots
        assert slots <= steps


def test_ties_are_broken_evenly_and_only_among_the_best() -> None:
    lanes = 3000
    known = tables(lanes)
    known.values[:, 0] = [2.0, 1.0, 2.0]
    chosen = pick(known, [0] * lanes, np.random.default_rng(0).random((lanes, 2)))
    counts = np.bincount(chosen, minlength=3)
    assert counts[1] == 0
    # 1500 of 3000 expected, standard deviation 27.
    assert abs(counts[0] - 1500) < 5 * 27
    assert known.greedy.all()


def test_what_rounding_left_is_a_tie() -> None:
    known = tables(2)
    known.values[:, 0] = [[1.0, 1.0 + 2e-6, 0.0], [1.0, 1.001, 0.0]]
    known.action[:] = 0
    assert pick(known, [0, 0], np.full((2, 2), 0.5), persistence=1.0).tolist() == [0, 1]
    assert known.greedy.all()


@pytest.mark.parametrize("persistence", [0.0, 0.6, 1.0])
def test_persistence_keeps_to_the_last_choice_where_it_is_among_the_best(
    persistence: float,
) -> None:
    lanes = 4000
    known = tables(lanes)
    known.values[:, 0] = [0.0, -1.0, 0.0]
    noise = np.random.default_rng(1).random((lanes, 2))
    known.action[:] = 2
    kept = (pick(known, [0] * lanes, noise, persistence=persistence) == 2).mean()
    expected = persistence + (1 - persistence) / 2
    assert abs(kept - expected) < 5 * np.sqrt(0.25 / lanes)
    known.action[:] = 1  # not among the best
    assert (pick(known, [0] * lanes, noise, persistence=persistence) != 1).all()
    known.action[:] = -1  # an episode's first choice
    first = pick(known, [0] * lanes, noise, persistence=persistence)
    assert abs((first == 2).mean() - 0.5) < 5 * np.sqrt(0.25 / lanes)


def test_exploration_falls_linearly_over_its_episodes_and_then_stays() -> None:
    lanes = 4000
    noise = np.random.default_rng(2).random((lanes, 2))
    for finished, expected in ((0, 0.8), (5, 0.5), (10, 0.2), (99, 0.2)):
        known = tables(lanes, choices=4)
        known.values[:, 0, 0] = 1.0
        known.finished[:] = finished
        chosen = pick(known, [0] * lanes, noise, epsilon=(0.8, 0.2, 10.0))
        others = (chosen != 0).mean()  # a random choice is another one three times in four
        assert abs(others - 0.75 * expected) < 5 * np.sqrt(0.25 / lanes)
        assert (known.greedy == (chosen == 0)).all()


def test_actors_share_a_table_and_have_traces_of_their_own() -> None:
    known = tables(learners=1, actors=2)
    known.action[:], known.greedy[:] = [0, 1], True
    back_up(known, [0, 1], [1.0, 1.0], [2, 2], actors=2)
    assert known.values[0, 0, 0] == 1.0
    assert known.values[0, 1, 1] == 1.0
    assert known.trace_lengths.tolist() == [1, 1]
    assert known.trace_pairs[:, 0].tolist() == [0, 1 * 3 + 1]


def test_a_lane_that_turns_keeps_its_choice_and_learns_nothing_from_the_turn() -> None:
    known = tables(2)
    known.values[:, 0] = [0.0, 1.0, 0.0]
    known.action[:] = 2
    known.under_way[:] = [True, False]
    assert pick(known, [0, 0], np.full((2, 2), 0.5)).tolist() == [2, 1]
    before = known.values.copy()
    back_up(known, [0, 0], [7.0, 7.0], [1, 1])
    assert (known.values[0] == before[0]).all()
    assert known.values[1, 0, 1] == 7.0


def test_an_episode_that_ends_in_a_turn_ends() -> None:
    known = tables(1)
    known.action[:], known.under_way[:], known.trace_lengths[:] = 2, True, 3
    back_up(known, [0], [0.0], [1], truncated=[True])
    assert not known.under_way[0]
    assert (known.action[0], known.trace_lengths[0], known.finished[0]) == (-1, 0, 1)


def test_what_it_learns_of_a_place_holds_for_every_heading() -> None:
    """Watermaze starts with a random heading: a table of headings learns each apart."""
    family = plugins.family("watermaze-small")
    tasks = family.tasks("train", 64, seed=0)
    late = {}
    for choices in ("actions", "options"):
        settings = {"choices": choices, "discount": 0.9, "trace": 0.7, "initial_value": 0.01}
        learning = learn_online(
            family, tasks, SourceConfig(settings=settings), seed=0, stage="test",
            learner_ids=range(64), episodes=10, record=False,
        )  # fmt: skip
        late[choices] = learning.returns[:, 5:].mean()
    # 0.9 and 0.65; the standard error of either is at most 0.06 for 64 learners.
    assert late["options"] > late["actions"] + 0.1


def test_it_refuses_options_of_a_family_without_any() -> None:
    family = plugins.family("dark-room")
    lanes = Lanes(0, "test", family.tasks("train", 2, seed=0), (0, 1))
    settings = QLambdaSettings(choices="options")
    with pytest.raises(UsageError, match="'options', and dark-room has none"):
        QLambda(settings, family, lanes, actors=1, episodes=1, device=torch.device("cpu"))


def test_it_refuses_a_family_without_a_table() -> None:
    family = plugins.family("dark-room")
    family.num_tabular_states = 0
    lanes = Lanes(0, "test", family.tasks("train", 2, seed=0), (0, 1))
    with pytest.raises(UsageError, match=r"dark-room has no tabular states.*a2c"):
        QLambda(QLambdaSettings(), family, lanes, actors=1, episodes=1, device=torch.device("cpu"))


def test_optimistic_values_make_a_learner_try_every_action_it_can() -> None:
    family = plugins.family("dark-room")
    tasks = family.tasks("train", 4, seed=0)
    learning = learn_online(
        family, tasks, SourceConfig(settings={"initial_value": 100.0}), seed=0, stage="test",
        learner_ids=range(4), episodes=60,
    )  # fmt: skip
    seen = learning.steps["observation"].astype(int)
    pairs = (seen[..., 1] * 9 + seen[..., 0]) * 5 + learning.steps["action"]
    for lane in pairs:
        assert len(np.unique(lane)) > 0.9 * 81 * 5


def test_it_learns_dark_room_on_nearly_all_tasks_within_a_hundred_episodes() -> None:
    family = plugins.family("dark-room")
    tasks = torch.cat([family.tasks("train", None, seed=0)] * 2)
    learning = learn_online(
        family, tasks, SourceConfig(), seed=0, stage="test",
        learner_ids=[0] * 57 + [1] * 57, episodes=100, record=False,
    )  # fmt: skip
    optimum = family.optimal_return(tasks)
    assert optimum is not None
    reached = learning.returns[:, -20:].mean(1) / optimum.numpy()
    assert (reached >= 0.9).mean() >= 0.95
    early = learning.returns[:, :3].mean()
    assert early < 3.0  # and it does learn that: there is something to distil
