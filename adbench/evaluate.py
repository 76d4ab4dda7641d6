"""Roll-outs on held-out tasks: frozen weights, empty contexts, K whole episodes in every lane.

T tasks, N lanes, K episodes, A actions. No estimate looks better than it is: each lane plays
exactly K episodes, however long they last. Taking the first that finish would favour short
episodes, and where success ends an episode, successful ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from adbench.errors import ContractError, Stopped
from adbench.noise import Lanes, key_of
from adbench.outcome import Rollout
from adbench.policy import Policy, StepView
from adbench.progress import Progress, Stop, never, silent
from adbench.task import TaskFamily
from adbench.tokens import (
    NO_ACTION,
    RUNNING,
    TERMINATED,
    TRUNCATED,
    Observation,
    Tokens,
    map_observation,
)
from adbench.trace import Recorder, Watch

__all__ = ["LANES_AT_ONCE", "Rollout", "rollout"]

LANES_AT_ONCE = 512
"""Lanes that are rolled out side by side; more are played in turns, to bound the memory."""

_STEPS_BETWEEN_STOPS = 64


def rollout(
    policy: Policy,
    family: TaskFamily,
    tasks: Tensor,
    *,
    lanes_per_task: int,
    episodes: int,
    seed: int,
    stage: str,
    device: torch.device | str = "cpu",
    action: Literal["sample", "mode"] = "sample",
    lanes_at_once: int = LANES_AT_ONCE,
    recorder: Recorder | None = None,
    progress: Progress = silent,
    stop: Stop = never,
) -> Rollout:
    """Let a policy play K whole episodes in every lane.

    A lane draws the same noise beside any other lanes: what it does depends on (seed, stage, task,
    its number among the lanes of its task) and on nothing else.

    Args:
        policy: who acts.
        family: whose tasks they are.
        tasks: [T, ...].
        lanes_per_task: independent roll-outs of each task; N = T * lanes_per_task.
        episodes: K.
        seed: the run's seed.
        stage: what this is ("evaluate/ad"); keys the noise.
        device: where the environment lives, if it can step there; a model is where its weights are.
        action: sample the policy, or take its likeliest action.
        lanes_at_once: lanes played side by side.
        recorder: takes down what some of the lanes go through; none: nobody does.
        progress: told the episodes played, of all lanes.
        stop: asked now and then whether to give up.

    Raises:
        Stopped: `stop` said so; nothing is kept.
        ContractError: an episode outlasts `family.max_episode_steps`.
    """
    task_index = torch.arange(len(tasks)).repeat_interleave(lanes_per_task)
    lane_ids = _lane_ids(tasks[task_index])
    played: list[_Ledger] = []
    num_lanes = len(task_index)
    for start in range(0, num_lanes, lanes_at_once):
        chosen = slice(start, start + lanes_at_once)
        lanes = Lanes(seed, stage, tasks[task_index[chosen]], lane_ids[chosen])

        def tell(done: int, before: int = start * episodes) -> None:
            progress(before + done, num_lanes * episodes)

        watch = recorder.watch(start, len(lanes.lane_ids)) if recorder else None
        with policy.playing():
            played.append(_play(policy, family, lanes, episodes, device, action, watch, tell, stop))
        if recorder and watch:
            recorder.keep(watch)
    return Rollout(
        returns=torch.cat([part.returns for part in played]),
        lengths=torch.cat([part.lengths for part in played]),
        task_index=task_index,
        tasks=tasks.detach().cpu(),
        about={
            "env": family.name,
            "env_version": family.version,
            "stage": stage,
            "seed": seed,
            "action": action,
        },
    )


def _lane_ids(tasks: Tensor) -> tuple[int, ...]:
    """Each lane's number among the lanes of its task, also where a task is listed twice."""
    seen: dict[bytes, int] = {}
    ids = []
    for task in tasks.detach().cpu().contiguous().numpy():
        key = task.tobytes()
        ids.append(seen.get(key, 0))
        seen[key] = ids[-1] + 1
    return tuple(ids)


def _play(
    policy: Policy,
    family: TaskFamily,
    lanes: Lanes,
    episodes: int,
    device: torch.device | str,
    action: Literal["sample", "mode"],
    watch: Watch | None,
    progress: Callable[[int], None],
    stop: Stop,
) -> _Ledger:
    """Step N lanes until each has played its episodes."""
    device = torch.device(device if family.accelerated else "cpu")
    # The environment has a seed of its own in each stage, as the actions' noise has.
    env_seed = int(key_of(lanes.seed, lanes.stage, "env")[0] >> 1)
    env = family.make(
        lanes.tasks,
        seed=env_seed,
        lane_ids=lanes.lane_ids,
        device=device,
        observe="agent" if policy.sees else "state",
    )
    noise = lanes.noise("action", int(family.action_space.n), device=device)
    ledger = _Ledger(len(lanes.lane_ids), episodes, device)
    views = _Views(len(lanes.lane_ids), device)
    policy.start(lanes, device)
    unseen = torch.empty(len(lanes.lane_ids), 0, device=device)
    observation, _ = env.reset()
    view = views.first(observation if policy.sees else unseen)
    state = env.state() if watch else {}
    for step in range(episodes * family.max_episode_steps):
        if step % _STEPS_BETWEEN_STOPS == 0 and stop():
            raise Stopped(f"{lanes.stage} stopped before its end; it begins again next time.")
        actions = policy.act(view, noise.gumbel_at(step) if action == "sample" else None)
        observation, reward, terminated, truncated, info = env.step(actions)
        ended = terminated | truncated
        ledger.add(reward, ended)
        if watch:
            watch.note(state, info["final_state"], reward, ended)
            state = env.state()
        final = info["final_obs"]
        if not policy.sees:
            observation = final = unseen
        # The one look at the device in a step: where nothing ended there is one token a lane.
        if not bool(ended.any()):
            view = views.running(observation, actions, reward, ledger.playing)
            continue
        played = ledger.episodes_played()
        progress(played)
        if played == ledger.episodes_in_all:
            return ledger
        view = views.ending(observation, actions, reward, terminated, ended, ledger.playing, final)
    raise ContractError(
        f"{family.name}: after {episodes * family.max_episode_steps} steps some lanes have not "
        f"ended {episodes} episodes, though max_episode_steps is {family.max_episode_steps}. "
        "Truncate episodes there, or raise it."
    )


class _Ledger:
    """Returns and lengths of N lanes, K episodes each; what comes after them is not counted."""

    def __init__(self, lanes: int, episodes: int, device: torch.device) -> None:
        self._episodes = episodes
        self.episodes_in_all = lanes * episodes
        # One column more than episodes takes what waiting lanes do.
        self._returns = torch.zeros(lanes, episodes + 1, dtype=torch.float64, device=device)
        self._lengths = torch.zeros(lanes, episodes + 1, dtype=torch.int32, device=device)
        self._episode = torch.zeros(lanes, 1, dtype=torch.int64, device=device)
        self._one = torch.ones(lanes, 1, dtype=torch.int32, device=device)

    def add(self, reward: Tensor, ended: Tensor) -> None:
        """Take in a step: float32 [N], bool [N]."""
        self._returns.scatter_add_(1, self._episode, reward[:, None].double())
        self._lengths.scatter_add_(1, self._episode, self._one)
        self._episode = (self._episode + ended[:, None]).clamp_(max=self._episodes)

    @property
    def playing(self) -> Tensor:
        """Lanes that have episodes left to play, bool [N]."""
        return self._episode[:, 0] < self._episodes

    def episodes_played(self) -> int:
        """Episodes finished, of all lanes."""
        return int(self._episode.sum())

    @property
    def returns(self) -> Tensor:
        """Float32 [N, K] on the CPU."""
        return self._returns[:, :-1].float().cpu()

    @property
    def lengths(self) -> Tensor:
        """Int32 [N, K] on the CPU."""
        return self._lengths[:, :-1].cpu()


class _Views:
    """Turns steps of N lanes into tokens."""

    def __init__(self, lanes: int, device: torch.device) -> None:
        self._asks = torch.full((lanes, 1), NO_ACTION, device=device)
        self._nothing = torch.zeros(lanes, 1, device=device)
        self._running = torch.full((lanes, 1), RUNNING, dtype=torch.uint8, device=device)
        self._all = torch.ones(lanes, 1, dtype=torch.bool, device=device)

    def first(self, observation: Observation) -> StepView:
        """Every lane's first token."""
        return self._view(
            map_observation(observation, lambda part: part[:, None]),
            self._asks,
            self._nothing,
            self._running,
            self._all,
        )

    def running(
        self, observation: Observation, action: Tensor, reward: Tensor, playing: Tensor
    ) -> StepView:
        """One token a lane, none where it waits."""
        return self._view(
            map_observation(observation, lambda part: part[:, None]),
            action[:, None],
            reward[:, None],
            self._running,
            playing[:, None],
        )

    def ending(
        self,
        observation: Observation,
        action: Tensor,
        reward: Tensor,
        terminated: Tensor,
        ended: Tensor,
        playing: Tensor,
        final: Observation,
    ) -> StepView:
        """Two tokens where an episode ended: its final one, and the next one's first."""
        how = torch.where(terminated, TERMINATED, TRUNCATED).to(torch.uint8)
        return self._view(
            _two_tokens(observation, ended, final),
            torch.cat((action[:, None], self._asks), dim=1),
            torch.cat((reward[:, None], self._nothing), dim=1),
            torch.cat((torch.where(ended, how, RUNNING)[:, None], self._running), dim=1),
            torch.stack((playing, playing & ended), dim=1),
        )

    def _view(
        self,
        observation: Observation,
        previous_action: Tensor,
        previous_reward: Tensor,
        ending: Tensor,
        valid: Tensor,
    ) -> StepView:
        tokens = Tokens(
            observation=observation,
            previous_action=previous_action,
            previous_reward=previous_reward,
            ending=ending,
            action=self._asks.expand(-1, valid.shape[1]),
            valid=valid,
        )
        return StepView(tokens, valid.sum(dim=1, dtype=torch.int32))


def _two_tokens(observation: Observation, ended: Tensor, final: Observation) -> Observation:
    def stack(now: Tensor, last: Tensor) -> Tensor:
        where = ended.view(-1, *[1] * (now.ndim - 1))
        return torch.stack((torch.where(where, last, now), now), dim=1)

    if isinstance(observation, dict):
        assert isinstance(final, dict)
        return {name: stack(part, final[name]) for name, part in observation.items()}
    assert isinstance(final, Tensor)
    return stack(observation, final)
