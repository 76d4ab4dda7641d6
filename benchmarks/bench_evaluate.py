"""What a step of evaluation costs: through the ring cache, and recomputing the window.

    pytest benchmarks/bench_evaluate.py

Both have the same 96 lanes, weights, kernels and tokens, and a window that is full: the timed steps
append a token and drop one. That both sample the same actions is checked first, at the step that
fills the window (until then they are the same function, see `adbench.policy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.evaluate import rollout
from adbench.model import DistillationModel, build_model, forward_flops
from adbench.noise import Lanes, torch_generator
from adbench.policy import DistilledPolicy, ModelPolicy, RandomPolicy, RecomputePolicy, StepView
from adbench.tokens import NO_ACTION, TERMINATED, Tokens
from adbench_envs.dark_room import DarkRoom
from benchmarks.meter import Meter, scales

LANES, EPISODE, ACTIONS = 96, 20, 5
ROLLOUT_EPISODES, ROLLOUT_TASKS, ROLLOUT_WINDOW = 5, 12, 400

pytestmark = pytest.mark.benchmark(group="evaluation")


@dataclass(frozen=True)
class Bench:
    """A model, a window's worth of tokens for its lanes, and the noise of the last step."""

    model: DistillationModel
    tokens: Tokens
    noise: Tensor

    @property
    def window(self) -> int:
        """Tokens of a lane."""
        return self.tokens.shape[1]

    def view(self, start: int, stop: int) -> StepView:
        part = self.tokens.map(lambda tensor: tensor[:, start:stop])
        return StepView(part, torch.full((len(self.noise),), stop - start, dtype=torch.int32))

    def start(self, policy: ModelPolicy) -> None:
        lanes = len(self.noise)
        policy.start(
            Lanes(0, "bench", torch.arange(lanes), tuple(range(lanes))), torch.device("cpu")
        )


def model_of(window: int, device: str) -> DistillationModel:
    family = DarkRoom()
    model = build_model(
        ModelConfig(),
        TrainConfig(window_steps=window),
        family.observation_space,
        ACTIONS,
        generator=torch_generator("bench"),
    )
    return model.to(device).eval()


def bench_of(lanes: int, window: int, device: str) -> Bench:
    drawn = torch.Generator().manual_seed(0)
    at = torch.arange(window) % (EPISODE + 1)
    shape = (lanes, window)
    action = torch.randint(ACTIONS, shape, generator=drawn).masked_fill(at == 0, NO_ACTION)
    reward = torch.randint(2, shape, generator=drawn).float().masked_fill(at == 0, 0.0)
    tokens = Tokens(
        observation=torch.randint(9, (*shape, 2), generator=drawn),
        previous_action=action,
        previous_reward=reward,
        ending=((at == EPISODE) * TERMINATED).to(torch.uint8).expand(shape),
        action=torch.full(shape, NO_ACTION),
        valid=torch.ones(shape, dtype=torch.bool),
    )
    noise = -torch.log(-torch.log(torch.rand(lanes, ACTIONS, generator=drawn)))
    return Bench(model_of(window, device), tokens, noise)


def almost_full(bench: Bench) -> tuple[DistilledPolicy, RecomputePolicy]:
    """Both policies one token before their window is full."""
    cached, recomputing = DistilledPolicy(bench.model), RecomputePolicy(bench.model)
    for policy in (cached, recomputing):
        bench.start(policy)
    before = bench.view(0, bench.window - 1)
    with torch.no_grad():
        if bench.model.device.type == "cuda":  # a recorded graph takes a token a step
            for step in range(bench.window - 1):
                cached.act(bench.view(step, step + 1), bench.noise)
        else:
            cached.logits(before.tokens, before.count)
        device = bench.model.device
        recomputing.remember(before.tokens.to(device), before.count.to(device))
    return cached, recomputing


def time_step(meter: Meter, way: str, window: int) -> None:
    meter.about(
        "a step of 96 lanes with a full window",
        "adbench" if way == "cached" else "recomputing the window",
        ours=way == "cached",
        context=window,
    )
    bench = bench_of(4 if meter.tiny else LANES, window, meter.device)
    cached, recomputing = almost_full(bench)
    last = bench.view(window - 1, window)

    def check() -> None:
        with cached.playing():
            ours, theirs = cached.act(last, bench.noise), recomputing.act(last, bench.noise)
        assert torch.equal(ours, theirs), "the two ways sample different actions: not timed"

    policy: ModelPolicy = cached if way == "cached" else recomputing
    tokens = len(bench.noise) * (1 if way == "cached" else window)
    # A token that steps sees a whole window, as all but the first of a long row do; the tokens of a
    # window that is recomputed see those before them.
    train = (
        TrainConfig(window_steps=window, sequence_steps=256 * window)
        if way == "cached"
        else TrainConfig(context="exact", window_steps=window)
    )
    flops = forward_flops(ModelConfig(), train, ACTIONS) * tokens
    seen = 2.0 * 4 * ModelConfig().layers * window * ModelConfig().width  # keys, values; float32
    with policy.playing():
        meter.time(
            lambda: policy.act(last, bench.noise),
            check=check,
            items=len(bench.noise),
            env_steps=len(bench.noise),
            flops=flops,
            moved_bytes=len(bench.noise) * seen if way == "cached" else None,
        )


@pytest.mark.parametrize("way", ["cached"])
@scales("window", 100, 200, 400, 1600, full=(6400,), gpu=(400, 1600, 6400, 25_600))
def test_step_with_a_full_window(meter: Meter, way: str, window: int) -> None:
    time_step(meter, way, window)


@pytest.mark.parametrize("way", ["recomputed"])
@scales("window", 100, 200, 400, full=(1600,), gpu=(400, 1600, 6400))
def test_step_that_recomputes_its_window(meter: Meter, way: str, window: int) -> None:
    time_step(meter, way, window)


@pytest.mark.parametrize("who", ["random", "cached"])
@scales("lanes", 12, 96, full=(384,), gpu=(96, 960, 9600))
def test_rollout(meter: Meter, who: str, lanes: int) -> None:
    """Whole episodes, world and policy together: what random actions leave of it is the world."""
    case = f"{ROLLOUT_EPISODES} episodes of Dark Room"
    if who == "random":
        case += ", random actions: the world alone"
    meter.about(case, "adbench", ours=True, lanes=lanes)
    family = DarkRoom()
    tasks = family.tasks("test", ROLLOUT_TASKS, seed=0)
    window = 40 if meter.tiny else ROLLOUT_WINDOW
    policy = RandomPolicy() if who == "random" else DistilledPolicy(model_of(window, meter.device))
    settings: dict[str, Any] = {
        "lanes_per_task": lanes // ROLLOUT_TASKS,
        "episodes": 1 if meter.tiny else ROLLOUT_EPISODES,
        "seed": 0,
        "stage": "bench",
    }
    played = rollout(policy, family, tasks, **settings)

    def check() -> None:
        again = rollout(policy, family, tasks, **settings)
        assert torch.equal(torch.as_tensor(again.returns), torch.as_tensor(played.returns)), (
            "two roll-outs differ: not timed"
        )

    meter.time(
        lambda: rollout(policy, family, tasks, **settings),
        check=check,
        items=len(played.task_index),
        env_steps=played.env_steps,
    )
