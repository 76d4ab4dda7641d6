"""What a step of evaluation costs: through the ring cache, and recomputing the window.

    pytest benchmarks/bench_evaluate.py

Both have the same 96 lanes, weights, kernels and tokens, and a window of 400 that is full: the
timed steps append a token and drop one. That both sample the same actions is checked first, at the
step that fills the window (until then they are the same function, see `adbench.policy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.evaluate import rollout
from adbench.model import DistillationModel, build_model
from adbench.noise import Lanes, torch_generator
from adbench.policy import DistilledPolicy, ModelPolicy, RandomPolicy, RecomputePolicy, StepView
from adbench.tokens import NO_ACTION, TERMINATED, Tokens
from adbench_envs.dark_room import DarkRoom

LANES, WINDOW, EPISODE = 96, 400, 20


@dataclass(frozen=True)
class Bench:
    """A model and `WINDOW` steps' worth of tokens for it, and the noise of the last step."""

    model: DistillationModel
    tokens: Tokens
    noise: Tensor

    def view(self, start: int, stop: int) -> StepView:
        part = self.tokens.map(lambda tensor: tensor[:, start:stop])
        return StepView(part, torch.full((LANES,), stop - start, dtype=torch.int32))

    def start(self, policy: ModelPolicy) -> None:
        policy.start(
            Lanes(0, "bench", torch.arange(LANES), tuple(range(LANES))), torch.device("cpu")
        )


@pytest.fixture(scope="module")
def bench() -> Bench:
    family = DarkRoom()
    model = build_model(
        ModelConfig(),
        TrainConfig(window_steps=WINDOW),
        family.observation_space,
        5,
        generator=torch_generator("bench"),
    )
    drawn = torch.Generator().manual_seed(0)
    at = torch.arange(WINDOW) % (EPISODE + 1)
    shape = (LANES, WINDOW)
    action = torch.randint(5, shape, generator=drawn).masked_fill(at == 0, NO_ACTION)
    reward = torch.randint(2, shape, generator=drawn).float().masked_fill(at == 0, 0.0)
    tokens = Tokens(
        observation=torch.randint(9, (*shape, 2), generator=drawn),
        previous_action=action,
        previous_reward=reward,
        ending=((at == EPISODE) * TERMINATED).to(torch.uint8).expand(shape),
        action=torch.full(shape, NO_ACTION),
        valid=torch.ones(shape, dtype=torch.bool),
    )
    noise = -torch.log(-torch.log(torch.rand(LANES, 5, generator=drawn)))
    return Bench(model.eval(), tokens, noise)


def _filled(bench: Bench) -> tuple[DistilledPolicy, RecomputePolicy]:
    """Both policies one token before their window is full."""
    cached, recomputing = DistilledPolicy(bench.model), RecomputePolicy(bench.model)
    for policy in (cached, recomputing):
        bench.start(policy)
    with torch.no_grad():
        for step in range(WINDOW - 1):
            cached.logits(*_arguments(bench.view(step, step + 1)))
    recomputing.remember(*_arguments(bench.view(0, WINDOW - 1)))
    return cached, recomputing


def _arguments(view: StepView) -> tuple[Tokens, Tensor]:
    return view.tokens, view.count


@pytest.mark.parametrize("way", ["cached", "recomputed"])
def test_step_with_a_full_window(benchmark: BenchmarkFixture, bench: Bench, way: str) -> None:
    cached, recomputing = _filled(bench)
    last = bench.view(WINDOW - 1, WINDOW)
    with cached.playing():
        ours, theirs = cached.act(last, bench.noise), recomputing.act(last, bench.noise)
    assert torch.equal(ours, theirs), "the two ways sample different actions: do not time them"
    policy = cached if way == "cached" else recomputing
    with policy.playing():
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            policy.act,
            args=(last, bench.noise),
            rounds=100 if way == "cached" else 3,
            warmup_rounds=5 if way == "cached" else 0,
        )
    _tell(benchmark, lanes=LANES, window=WINDOW, steps=LANES)


@pytest.mark.parametrize("who", ["random", "cached"])
def test_rollout_of_twenty_episodes(benchmark: BenchmarkFixture, bench: Bench, who: str) -> None:
    family = DarkRoom()
    tasks = family.tasks("test", 12, seed=0)
    policy = RandomPolicy() if who == "random" else DistilledPolicy(bench.model)
    settings: dict[str, Any] = {"lanes_per_task": 8, "episodes": 20, "seed": 0, "stage": "bench"}
    played = benchmark.pedantic(  # type: ignore[no-untyped-call]
        rollout, args=(policy, family, tasks), kwargs=settings, rounds=3 if who == "random" else 1
    )
    _tell(benchmark, lanes=len(played.task_index), window=WINDOW, steps=played.env_steps)


def _tell(benchmark: BenchmarkFixture, *, lanes: int, window: int, steps: int) -> None:
    assert benchmark.stats is not None
    benchmark.extra_info.update(
        lanes=lanes,
        window_tokens=window,
        threads=torch.get_num_threads(),
        env_steps_per_s=round(steps / benchmark.stats.stats.median),
    )
