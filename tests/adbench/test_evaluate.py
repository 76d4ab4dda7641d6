"""Roll-outs: whole episodes in every lane, and the ring is what was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.errors import ContractError, Stopped, UsageError
from adbench.evaluate import Rollout, rollout
from adbench.model import DistillationModel, build_model
from adbench.noise import Lanes, key_of, torch_generator
from adbench.policy import (
    DistilledPolicy,
    ExactPolicy,
    Policy,
    RandomPolicy,
    RecomputePolicy,
    StepView,
    TokenWindow,
    policy_of,
)
from adbench.task import BatchedEnv, Observe, TaskFamily
from adbench.tokens import NO_ACTION, RUNNING, TERMINATED, TRUNCATED, Observation, Tokens
from adbench_envs.dark_room import DarkRoom
from adbench_envs.key_to_door import KeyToDoor

FLOAT64_TOLERANCE = 1e-9
"""Rounding of a few thousand float64 operations on numbers of about one."""
FLOAT32_TOLERANCE = 1e-4
"""The same in float32, relative to the largest logit."""


class Staggered(TaskFamily):
    """Episodes of 1 to 9 steps that end in every way, at different times in every lane.

    An episode goes on with probability 3/4 after each step; it terminates or is truncated by the
    parity of what was drawn, and is truncated after 9. The observation is drawn too. The reward is
    the action, plus the step's draw.
    """

    name = "staggered"
    max_episode_steps = 9

    def __init__(self, *, dict_observation: bool = False, endless: bool = False) -> None:
        place = spaces.MultiDiscrete([8, 8])
        self.dict_observation = dict_observation
        self.endless = endless
        self.observation_space = (
            spaces.Dict({"place": place, "far": spaces.Box(0, 1, (2,))})
            if dict_observation
            else place
        )
        self.action_space = spaces.Discrete(3)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        return torch.arange(count or 16)

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> StaggeredBatch:
        ids = tuple(lane_ids) if lane_ids is not None else tuple(range(len(tasks)))
        return StaggeredBatch(self, tasks, seed, ids)

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.zeros(len(tasks))

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        return None


class StaggeredBatch(BatchedEnv):
    family: Staggered

    def __init__(
        self, family: Staggered, tasks: Tensor, seed: int, lane_ids: tuple[int, ...]
    ) -> None:
        super().__init__(family, tasks, device="cpu")
        self._noise = Lanes(seed, "env", tasks, lane_ids).noise("env", 6)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._step = 0
        self._steps = torch.zeros(self.num_envs, dtype=torch.int64)
        return self._observe(0), {}

    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        self._step += 1
        self._steps = self._steps + 1
        drawn = self._noise.at(self._step)
        over = (drawn[:, 0] < 0.25) & (not self.family.endless)
        late = (self._steps == self.family.max_episode_steps) & (not self.family.endless)
        terminated = over & (drawn[:, 1] < 0.5)
        truncated = (over | late) & ~terminated
        ended = terminated | truncated
        self._steps = self._steps * ~ended
        info = {"final_obs": self._observe(2), "_final_obs": ended, "final_state": {}}
        return self._observe(0), actions + drawn[:, 1], terminated, truncated, info

    def state(self) -> dict[str, Tensor]:
        return {}

    def _observe(self, channel: int) -> Observation:
        drawn = self._noise.at(self._step)[:, 2 + channel : 4 + channel]
        place = (drawn * 8).long()
        return {"place": place, "far": drawn.clone()} if self.family.dict_observation else place


class FirstThrow(Staggered):
    """Success ends an episode at once with 1; failure takes 20 steps and earns 0. Odds are even."""

    name = "first-throw"
    max_episode_steps = 20

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> FirstThrowBatch:
        ids = tuple(lane_ids) if lane_ids is not None else tuple(range(len(tasks)))
        return FirstThrowBatch(self, tasks, seed, ids)


class FirstThrowBatch(StaggeredBatch):
    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        self._step += 1
        self._steps = self._steps + 1
        terminated = (self._steps == 1) & (self._noise.at(self._step)[:, 0] < 0.5)
        truncated = self._steps == self.family.max_episode_steps
        ended = terminated | truncated
        self._steps = self._steps * ~ended
        info = {"final_obs": self._observe(2), "_final_obs": ended, "final_state": {}}
        return self._observe(0), terminated.float(), terminated, truncated, info


class Story:
    """Each lane's tokens since its reset, as a policy was shown them."""

    def __init__(self, lanes: int) -> None:
        self._kept: list[list[Tokens]] = [[] for _ in range(lanes)]

    def take_in(self, tokens: Tokens, count: Tensor) -> None:
        for lane, new in enumerate(count.tolist()):
            for column in range(new):
                row, at = slice(lane, lane + 1), slice(column, column + 1)
                self._kept[lane].append(tokens.map(lambda t, row=row, at=at: t[row, at]))  # type: ignore[misc]

    def length(self, lane: int) -> int:
        return len(self._kept[lane])

    def row(self, lane: int, *, last: int = 0) -> Tokens:
        """All of a lane's tokens as one row, or its last few."""
        kept = self._kept[lane][-last:]
        names = [field.name for field in fields(Tokens)]
        return Tokens(**{name: _join([getattr(token, name) for token in kept]) for name in names})


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    return torch.cat(parts, 1)


class Watched(DistilledPolicy):
    """Keeps what it was shown, and its logits at each token where an action was asked for."""

    story: Story
    asked: list[list[tuple[int, Tensor]]]

    def start(self, lanes: Lanes, device: torch.device) -> None:
        super().start(lanes, device)
        self.story = Story(len(lanes.lane_ids))
        self.asked = [[] for _ in lanes.lane_ids]

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        logits = super().logits(tokens, count)
        self.story.take_in(tokens, count)
        for lane in count.nonzero().flatten().tolist():
            self.asked[lane].append((self.story.length(lane) - 1, logits[lane]))
        return logits


class WatchedExact(ExactPolicy):
    """Compares each prediction with a forward pass over one lane's last tokens alone."""

    def start(self, lanes: Lanes, device: torch.device) -> None:
        super().start(lanes, device)
        self.story = Story(len(lanes.lane_ids))
        self.worst = 0.0

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        logits = super().logits(tokens, count)
        self.story.take_in(tokens, count)
        for lane in count.nonzero().flatten().tolist():
            alone = self.model(self.story.row(lane, last=self.model.window_steps))[0, -1]
            self.worst = max(self.worst, (alone - logits[lane]).abs().max().item())
        return logits


def _model(
    family: TaskFamily,
    *,
    dtype: torch.dtype = torch.float64,
    window: int = 12,
    context: str = "banded",
    **model: Any,
) -> DistillationModel:
    config = ModelConfig(**{"width": 16, "layers": 3, "heads": 2, "feedforward": 32, **model})
    train = TrainConfig.parse({"context": context, "window_steps": window})
    built = build_model(
        config,
        train,
        family.observation_space,
        int(family.action_space.n),
        generator=torch_generator("test"),
    )
    return built.to(dtype).eval()


def _roll(policy: Policy, family: TaskFamily, **changes: Any) -> Rollout:
    settings: dict[str, Any] = {
        "tasks": family.tasks("test", 4, seed=0),
        "lanes_per_task": 3,
        "episodes": 6,
        "seed": 0,
        "stage": "evaluate/test",
    }
    return rollout(policy, family, **{**settings, **changes})


def _equal(a: Rollout, b: Rollout) -> bool:
    return torch.equal(a.returns, b.returns) and torch.equal(a.lengths, b.lengths)


# Law 3: no estimate looks better than it is


def test_every_lane_plays_exactly_k_whole_episodes() -> None:
    played = _roll(RandomPolicy(), Staggered(), episodes=7)
    assert played.returns.shape == played.lengths.shape == (12, 7)
    assert played.task_index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (played.lengths >= 1).all() and (played.lengths <= 9).all()
    assert len(set(played.lengths.sum(1).tolist())) > 6  # lanes end at very different times


def test_returns_and_lengths_are_those_of_stepping_each_lane_alone() -> None:
    family, episodes = Staggered(), 5
    played = _roll(RandomPolicy(), family, episodes=episodes)
    for row in range(len(played.task_index)):
        tasks, lane = played.tasks[played.task_index[row]][None], row % 3
        lanes = Lanes(0, "evaluate/test", tasks, (lane,))
        noise = lanes.noise("action", 3)
        seed = int(key_of(0, "evaluate/test", "env")[0] >> 1)
        env = family.make(tasks, seed=seed, lane_ids=(lane,))
        env.reset()
        returns, lengths, step = [0.0], [0], 0
        while True:
            _, reward, terminated, truncated, _ = env.step(noise.gumbel_at(step).argmax(-1))
            returns[-1] += reward.item()
            lengths[-1] += 1
            step += 1
            if terminated or truncated:
                if len(returns) == episodes:
                    break
                returns.append(0.0)
                lengths.append(0)
        assert played.lengths[row].tolist() == lengths
        assert played.returns[row].tolist() == pytest.approx(returns)


def test_counting_whole_lanes_is_unbiased_where_taking_the_first_to_finish_is_not() -> None:
    lanes, episodes = 400, 4
    ours = _roll(
        RandomPolicy(),
        FirstThrow(),
        tasks=torch.arange(4),
        lanes_per_task=lanes // 4,
        episodes=episodes,
    )
    # Five standard errors of so many fair coins.
    tolerance = 5 * 0.5 / (lanes * episodes) ** 0.5
    assert ours.returns.mean().item() == pytest.approx(0.5, abs=tolerance)
    assert ours.curve().tolist() == pytest.approx([0.5] * episodes, abs=2 * tolerance)

    finished = ours.lengths.cumsum(1)
    first_to_finish = finished.flatten().argsort(stable=True)[: lanes * episodes // 4]
    within_a_budget = finished <= 10
    for taken in (
        ours.returns.flatten()[first_to_finish],
        ours.returns[within_a_budget],
    ):
        assert taken.mean().item() > 0.5 + 4 * tolerance


@pytest.mark.parametrize("family", [DarkRoom(), KeyToDoor()])
def test_random_actions_earn_what_dynamic_programming_says(family: TaskFamily) -> None:
    tasks = family.tasks("test", 16, seed=0)
    played = _roll(RandomPolicy(), family, tasks=tasks, lanes_per_task=32, episodes=4)
    expected = family.random_return(tasks)[played.task_index]
    by_lane = played.returns.mean(1) - expected
    # Lanes are independent: five standard errors of their mean.
    assert abs(by_lane.mean().item()) < 5 * by_lane.std().item() / len(by_lane) ** 0.5


def test_an_episode_that_outlasts_its_limit_breaks_the_contract() -> None:
    with pytest.raises(ContractError, match="max_episode_steps is 9"):
        _roll(RandomPolicy(), Staggered(endless=True))


# Law 4: randomness is keyed


def test_a_lane_does_the_same_beside_any_other_lanes() -> None:
    family = Staggered()
    policy = DistilledPolicy(_model(family))
    together = _roll(policy, family)
    assert _equal(together, _roll(policy, family, lanes_at_once=5))
    assert _equal(together, _roll(policy, family, lanes_at_once=1))
    fewer = _roll(policy, family, tasks=family.tasks("test", 4, seed=0)[2:], lanes_per_task=2)
    kept = [row for row in range(6, 12) if row % 3 < 2]
    assert torch.equal(together.returns[kept], fewer.returns)


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
def test_acting_through_buffers_that_never_move_is_acting(layout: str) -> None:
    family = Staggered()
    model = _model(family, layout=layout)
    policy = DistilledPolicy(model, static=True)
    expected = _roll(DistilledPolicy(model, static=False), family)
    for lanes_at_once in (12, 12, 5):  # again in the same buffers, then in others
        assert _equal(_roll(policy, family, lanes_at_once=lanes_at_once), expected)
    blind = DistilledPolicy(model, zero_reward=True, static=True)
    assert _equal(_roll(blind, family), _roll(DistilledPolicy(model, zero_reward=True), family))
    assert not _equal(_roll(blind, family), expected)


def test_a_family_that_cannot_step_on_a_gpu_stays_on_the_cpu() -> None:
    class OnTheHost(Staggered):
        accelerated = False

    assert _equal(
        _roll(RandomPolicy(), OnTheHost(), device="meta"), _roll(RandomPolicy(), Staggered())
    )


def test_seeds_stages_and_lanes_of_one_task_differ() -> None:
    family = Staggered()
    base = _roll(RandomPolicy(), family)
    for change in ({"seed": 1}, {"stage": "evaluate/other"}):
        assert not _equal(base, _roll(RandomPolicy(), family, **change))
    twice = _roll(RandomPolicy(), family, tasks=torch.tensor([5, 5]))
    assert len({tuple(row) for row in twice.returns.tolist()}) == 6


def test_the_likeliest_action_needs_no_noise_and_random_actions_have_none() -> None:
    family = Staggered()
    policy = DistilledPolicy(_model(family))
    assert not _equal(_roll(policy, family, action="mode"), _roll(policy, family))
    with pytest.raises(UsageError, match="no likeliest"):
        _roll(RandomPolicy(), family, action="mode")


# What a policy is shown


def test_an_ending_is_shown_as_a_final_token_and_a_new_first_one() -> None:
    family = Staggered()
    watched = Watched(_model(family))
    played = _roll(watched, family, episodes=5)
    for lane in range(12):
        row = watched.story.row(lane)
        lengths = played.lengths[lane].tolist()
        # Of the last episode the final token is never shown: nothing is asked after it.
        assert row.shape == (1, sum(length + 1 for length in lengths) - 1)
        ends = np.cumsum([length + 1 for length in lengths])[:-1]
        assert row.ending[0].nonzero().flatten().tolist() == [end - 1 for end in ends]
        assert set(row.ending[0, ends - 1].tolist()) <= {TERMINATED, TRUNCATED}
        starts = (row.previous_action[0] == NO_ACTION).nonzero().flatten().tolist()
        assert starts == [0, *ends.tolist()]
        assert row.previous_reward[0, starts].eq(0).all()
        rewards = row.previous_reward[0].double()
        for start, end, earned in zip(starts, ends, played.returns[lane], strict=False):
            assert rewards[start:end].sum().item() == pytest.approx(earned.item(), rel=1e-6)
        assert [at for at, _ in watched.asked[lane]] == [
            at for at in range(row.shape[1]) if row.ending[0, at] == RUNNING
        ]


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@pytest.mark.parametrize("dict_observation", [False, True])
def test_the_ring_is_one_forward_pass_over_all_tokens(layout: str, dict_observation: bool) -> None:
    family = Staggered(dict_observation=dict_observation)
    watched = Watched(_model(family, layout=layout))
    _roll(watched, family, episodes=14)
    for lane, asked in enumerate(watched.asked):
        with torch.no_grad():
            predicted = watched.model(watched.story.row(lane))[0]
        for at, logits in asked:
            assert (predicted[at] - logits).abs().max().item() < FLOAT64_TOLERANCE
    # The ring, 12 tokens and a little room, has wrapped twice in every lane.
    assert min(map(watched.story.length, range(12))) > 3 * 12


def test_in_float32_the_ring_takes_the_same_actions_as_the_forward_pass() -> None:
    family = Staggered()
    # Heads of 16, for which the CPU has kernels of its own.
    watched = Watched(_model(family, dtype=torch.float32, width=32))
    played = _roll(watched, family, episodes=14)
    lanes = Lanes(0, "evaluate/test", played.tasks[played.task_index], (0, 1, 2) * 4)
    noise = lanes.noise("action", 3)
    for lane, asked in enumerate(watched.asked):
        with torch.no_grad():
            predicted = watched.model(watched.story.row(lane))[0]
        for step, (at, logits) in enumerate(asked):
            scale = predicted[at].abs().max()
            assert ((predicted[at] - logits).abs().max() / scale).item() < FLOAT32_TOLERANCE
            drawn = noise.gumbel_at(step)[lane]
            assert (predicted[at] + drawn).argmax() == (logits + drawn).argmax()


def test_a_window_one_token_off_is_caught() -> None:
    family = Staggered()
    watched = Watched(_model(family))
    _roll(watched, family, episodes=14)
    other = _model(family, window=13)
    with torch.no_grad():
        predicted = other(watched.story.row(0))[0]
    worst = max((predicted[at] - logits).abs().max().item() for at, logits in watched.asked[0])
    assert worst > 1e6 * FLOAT64_TOLERANCE


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
def test_exact_context_is_a_forward_pass_over_the_last_c_tokens(layout: str) -> None:
    family = Staggered()
    model = _model(family, context="exact", layout=layout, positions="learned", norm="post")
    watched = WatchedExact(model)
    _roll(watched, family)
    assert watched.worst < FLOAT64_TOLERANCE
    assert min(map(watched.story.length, range(12))) > 12


def test_recomputing_the_window_is_the_ring_until_the_window_slides_and_not_after() -> None:
    family = Staggered()
    model = _model(family)

    class Both(DistilledPolicy):
        def start(self, lanes: Lanes, device: torch.device) -> None:
            super().start(lanes, device)
            self.baseline = RecomputePolicy(model)
            self.baseline.start(lanes, device)
            self.seen = torch.zeros(len(lanes.lane_ids))
            self.gaps: dict[bool, list[float]] = {False: [], True: []}

        def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
            logits = super().logits(tokens, count)
            gap = (self.baseline.logits(tokens, count) - logits).abs().amax(1)
            self.seen += count
            for lane in count.nonzero().flatten().tolist():
                self.gaps[bool(self.seen[lane] > model.window_steps)].append(gap[lane].item())
            return logits

    both = Both(model)
    _roll(both, family)
    assert max(both.gaps[False]) < FLOAT64_TOLERANCE
    assert max(both.gaps[True]) > 1e6 * FLOAT64_TOLERANCE


def test_without_rewards_the_model_is_shown_zeros_and_the_returns_are_still_counted() -> None:
    family = Staggered()
    watched = Watched(_model(family), zero_reward=True)
    played = _roll(watched, family)
    assert played.returns.abs().sum() > 0
    sighted = Watched(watched.model)
    _roll(sighted, family)
    for lane in range(12):
        assert watched.story.row(lane).previous_reward.eq(0).all()
        first, second = (policy.asked[lane][1][1] for policy in (watched, sighted))
        assert not torch.equal(first, second)


def test_dropout_is_off_while_playing_and_the_model_keeps_its_mode() -> None:
    family = Staggered()
    model = _model(family, dropout=0.5)
    still = _roll(DistilledPolicy(model.eval()), family)
    assert _equal(still, _roll(DistilledPolicy(model.train()), family))
    assert model.training
    with pytest.raises(Stopped):
        _roll(DistilledPolicy(model), family, stop=lambda: True)
    assert model.training


def test_a_policy_fits_what_its_model_was_trained_as() -> None:
    family = Staggered()
    banded, exact = _model(family), _model(family, context="exact")
    assert type(policy_of(banded)) is DistilledPolicy
    assert type(policy_of(exact, zero_reward=True)) is ExactPolicy
    assert policy_of(exact, zero_reward=True).zero_reward
    with pytest.raises(UsageError, match="trained with context = banded"):
        ExactPolicy(banded)


def test_a_token_window_keeps_each_lanes_last_tokens() -> None:
    window = TokenWindow(4)
    counter = torch.zeros(3, dtype=torch.int64)
    kept: list[list[int]] = [[], [], []]
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        count = torch.randint(0, 3, (3,), generator=generator)
        new = 10 * counter[:, None] + torch.arange(2)
        counter += 1
        flat = torch.zeros(3, 2)
        tokens = Tokens(new[..., None], new, flat, flat.byte(), new, flat.bool())
        rows, length = window.append(tokens, count)
        for lane, number in enumerate(count.tolist()):
            kept[lane] = (kept[lane] + new[lane, :number].tolist())[-4:]
            real = length[lane]
            assert rows.previous_action[lane, :real].tolist() == kept[lane]
            assert rows.valid[lane].tolist() == [i < real for i in range(rows.shape[1])]
        assert rows.shape[1] <= 4


# Being told, and being stopped


def test_progress_is_told_up_to_the_last_episode() -> None:
    told: list[tuple[int, int]] = []
    _roll(
        RandomPolicy(),
        Staggered(),
        lanes_at_once=5,
        progress=lambda done, total, note="": told.append((done, total)),
    )
    assert told == sorted(told) and told[-1] == (72, 72)


def test_a_stop_ends_it_and_the_next_time_gives_the_same() -> None:
    family = FirstThrow()
    asked = iter([False, True])
    with pytest.raises(Stopped, match="evaluate/test"):
        _roll(RandomPolicy(), family, episodes=20, stop=lambda: next(asked))
    assert _equal(
        _roll(RandomPolicy(), family, episodes=20), _roll(RandomPolicy(), family, episodes=20)
    )


def test_policies_see_nothing_of_lanes_that_wait() -> None:
    class Counting(RandomPolicy):
        counts: list[Tensor] = []  # noqa: RUF012

        def act(self, view: StepView, noise: Tensor | None) -> Tensor:
            self.counts.append(view.count)
            assert torch.equal(view.tokens.valid.sum(1), view.count)
            return super().act(view, noise)

    policy = Counting()
    played = _roll(policy, Staggered())
    shown = torch.stack(policy.counts).sum(0)
    # Every token but the last episode's final one: steps, and a start for each episode, and a
    # final one for each but the last.
    assert shown.tolist() == (played.lengths.sum(1) + 6 - 1).tolist()
    assert (torch.stack(policy.counts)[-1] > 0).sum() < 12
