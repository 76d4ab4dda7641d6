"""The row `ad-blind`: one constant frame takes the place of every other, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from adbench.config import ModelConfig, TrainConfig
from adbench.evaluate import Rollout, rollout
from adbench.flags import resolve
from adbench.folder import RunFolder
from adbench.model import build_model
from adbench.noise import Lanes, torch_generator
from adbench.policy import DistilledPolicy, ModelPolicy, policy_of
from adbench.stages.evaluate import constant_frame
from adbench.stages.work import Work
from adbench.task import BatchedEnv, Observe, TaskFamily
from adbench.tokens import Observation, Tokens
from adbench_envs.watermaze import WatermazeSmall

STEPS = 4


class Doors(TaskFamily):
    """A task is the door (0 or 1) that pays at every step.

    The frame lights up on the side of the door that pays, or shows noise where `shows` is off: then
    only rewards tell. With `keyed`, a number stands beside the frame.
    """

    name = "doors"
    action_space = spaces.Discrete(2)
    max_episode_steps = STEPS

    def __init__(self, *, shows: bool, keyed: bool = False) -> None:
        self.shows, self.keyed = shows, keyed
        frame = spaces.Box(0, 255, (2, 4), np.uint8)
        self.observation_space: Any = (
            spaces.Dict({"frame": frame, "door": spaces.Discrete(2)}) if keyed else frame
        )

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        return torch.arange(count or 2) % 2

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> BatchedEnv:
        return DoorBatch(self, tasks, seed, tuple(lane_ids or range(len(tasks))))

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.full((len(tasks),), STEPS / 2)

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        return torch.full((len(tasks),), float(STEPS))


class DoorBatch(BatchedEnv):
    family: Doors

    def __init__(self, family: Doors, tasks: Tensor, seed: int, lane_ids: tuple[int, ...]) -> None:
        super().__init__(family, tasks, device="cpu")
        self._noise = Lanes(seed, "env", tasks, lane_ids).noise("env", 8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._step = 0
        return self._seen(), {}

    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        self._step += 1
        ended = torch.full((self.num_envs,), self._step % STEPS == 0)
        info = {"final_obs": self._seen(), "_final_obs": ended, "final_state": {}}
        paid = (actions == self.tasks).float()
        return self._seen(), paid, torch.zeros_like(ended), ended, info

    def state(self) -> dict[str, Tensor]:
        return {}

    def _seen(self) -> Observation:
        frame = (self._noise.at(self._step) * 100).to(torch.uint8).view(-1, 2, 4)
        if self.family.shows:
            frame[torch.arange(self.num_envs), :, self.tasks] = 255
        return {"frame": frame, "door": self.tasks.clone()} if self.family.keyed else frame


class Model(nn.Module):
    """Stands in for a transformer where a policy only asks where it lives."""

    device = torch.device("cpu")


class Sighted(ModelPolicy):
    """Goes where the light is; without one, nowhere in particular."""

    def start(self, lanes: Lanes, device: torch.device) -> None: ...

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        assert isinstance(tokens.observation, Tensor)
        last = (count.long() - 1).clamp(min=0)
        frames = tokens.observation[torch.arange(len(last)), last]
        return (frames[:, 0, :2] == 255).float() * 100.0


class Rewarded(ModelPolicy):
    """Stays at the door that paid last, and leaves the one that did not: no need of eyes."""

    def start(self, lanes: Lanes, device: torch.device) -> None:
        self._belief = torch.zeros(len(lanes.lane_ids), 2)

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        took, paid = tokens.previous_action[:, :1], tokens.previous_reward[:, :1]
        known = (took >= 0) & (count[:, None] > 0)
        right = torch.where(paid > 0, took, 1 - took).clamp(0, 1)
        told = torch.zeros_like(self._belief).scatter(1, right, 100.0)
        self._belief = torch.where(known, told, self._belief)
        return self._belief


class Reader(ModelPolicy):
    """Reads the number beside the frame."""

    def start(self, lanes: Lanes, device: torch.device) -> None: ...

    def logits(self, tokens: Tokens, count: Tensor) -> Tensor:
        assert isinstance(tokens.observation, dict)
        return torch.nn.functional.one_hot(tokens.observation["door"][:, 0], 2) * 100.0


FRAME = torch.zeros(2, 4, dtype=torch.uint8)


def played(
    kind: type[ModelPolicy], family: Doors, blind: Observation | None, lanes_per_task: int = 50
) -> Rollout:
    model: Any = Model()
    return rollout(
        kind(model, blind=blind), family, torch.arange(2), lanes_per_task=lanes_per_task,
        episodes=3, seed=0, stage="evaluate/ad",
    )  # fmt: skip


def test_who_needs_no_sight_scores_the_same_blind() -> None:
    family = Doors(shows=False)
    seeing, blind = (played(Rewarded, family, frame) for frame in (None, FRAME))
    assert torch.equal(seeing.returns, blind.returns)
    assert float(seeing.returns[:, -1].mean()) == STEPS  # and that is solved


def test_who_needs_sight_falls_to_chance_blind() -> None:
    family = Doors(shows=True)
    seeing, blind = (played(Sighted, family, frame) for frame in (None, FRAME))
    assert float(seeing.returns.mean()) == STEPS
    # Five standard errors of 100 lanes x 3 episodes x 4 fair coins.
    assert float(blind.returns.mean()) == pytest.approx(STEPS / 2, abs=5 * STEPS * 0.5 / 1200**0.5)


def test_a_frame_that_lights_up_one_side_makes_the_blind_go_there_always() -> None:
    lit = FRAME.clone()
    lit[:, 1] = 255
    blind = played(Sighted, Doors(shows=True), lit)
    assert torch.equal(blind.returns.mean(dim=1), STEPS * blind.task_index.float())


def test_of_a_dict_only_what_is_named_is_hidden() -> None:
    blind = played(Reader, Doors(shows=True, keyed=True), {"frame": FRAME})
    assert float(blind.returns.mean()) == STEPS


@pytest.mark.parametrize("context", ["banded", "exact"])
def test_the_transformer_is_blind_in_every_way_of_stepping(context: str) -> None:
    """Its weights are random: with eyes it acts otherwise, blind always the same."""
    family = WatermazeSmall(height=16, width=16)
    model = build_model(
        ModelConfig(width=16, layers=1, heads=2, feedforward=32),
        TrainConfig.parse({"context": context, "window_steps": 30}),
        family.observation_space,
        int(family.action_space.n),
        generator=torch_generator("blind"),
    )
    for weight in model.parameters():  # or its first answers are all but the same
        weight.data *= 3.0
    frame = torch.full((16, 16, 3), 90, dtype=torch.uint8)
    ways = [policy_of(model), policy_of(model, blind=frame)]
    if context == "banded":
        ways += [DistilledPolicy(model, blind=frame, static=True)]
    seeing, *blind = (
        rollout(
            policy, family, family.tasks("train", 3, seed=0), lanes_per_task=3, episodes=3, seed=0,
            stage="x",
        )
        for policy in ways
    )  # fmt: skip
    assert all(torch.equal(each.lengths, blind[0].lengths) for each in blind)
    assert not torch.equal(seeing.lengths, blind[0].lengths)


def test_what_the_blind_see_in_a_run_is_a_real_first_frame_the_same_for_all(tmp_path: Path) -> None:
    settings = {"height": 16, "width": 16}
    config = resolve("watermaze-small", "smoke", None, {"env_settings": settings})
    work = Work(RunFolder(tmp_path, config), WatermazeSmall(height=16, width=16))
    frame, again = constant_frame(work), constant_frame(work)
    assert isinstance(frame, Tensor) and isinstance(again, Tensor) and torch.equal(frame, again)
    assert frame.shape == (16, 16, 3) and frame.dtype == torch.uint8
    env = work.family.make(work.family.tasks("train", 1, seed=0), seed=0, lane_ids=(0,))
    seen, _ = env.reset()
    assert isinstance(seen, Tensor) and torch.equal(frame, seen[0])
    assert float(frame.float().std()) > 10  # a room, and no grey
