"""Stage 3: held-out tasks. The only stage that reads the ids of test tasks.

Each method plays each test set in a file of its own, so that a run that was killed repeats one of
them at most.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from adbench import resources
from adbench.collect.score import source_rollout
from adbench.config import PIXEL_METHODS, TRAINED_METHODS
from adbench.errors import ResultsError
from adbench.evaluate import LANES_AT_ONCE, Rollout, rollout
from adbench.model.flops import encoder_of
from adbench.policy import Policy, policy_of
from adbench.progress import Progress
from adbench.spaces import image_keys, tensors
from adbench.stages import choices, train
from adbench.stages.work import Step, Work
from adbench.sweep import SweepPolicy
from adbench.tokens import Observation
from adbench.trace import Recorder, Trace
from adbench.train import load_model

_LANE_BYTES = 500
"""What a lane's task, number and keys take, a learner's table aside."""
_EPISODE_BYTES = 20
"""What is noted of an episode: its return and length, while it is played and afterwards."""

WEIGHTS = {method: method for method in TRAINED_METHODS} | {
    "ad-no-reward": "ad",
    "ad-blind": "ad",
}
"""Whose weights a method plays with."""

TRACED = "ad"
"""The row of which some lanes are kept state by state, where states can be drawn."""
_TRACED_TASKS, _TRACED_EPISODES = 6, 3
"""The first lane of so many tasks, evenly spaced; its first and its last episodes."""


def steps(work: Work, seed: int, method: str) -> tuple[Step, ...]:
    """Roll one method out on every test set."""
    played = (_step(work, seed, method, name) for name in work.test_sets)
    return (*choices.before(work, seed, method), *played)


def read(work: Work, seed: int, method: str, test_set: str) -> Rollout | None:
    """What one method did on one test set; none where it has not played.

    Raises:
        ResultsError: the file is damaged or of something else.
    """
    path = work.folder.evaluation(seed, test_set, method)
    return Rollout.load(path, about=_about(work, seed, method, test_set)) if path.exists() else None


def read_trace(work: Work, seed: int, test_set: str) -> Trace | None:
    """What some of AD's lanes went through; none where it has not played or cannot be drawn.

    Raises:
        ResultsError: the file is damaged or of something else.
    """
    path = work.folder.trace(seed, test_set, TRACED)
    return Trace.load(path, about=_about(work, seed, TRACED, test_set)) if path.exists() else None


def _about(work: Work, seed: int, method: str, test_set: str) -> dict[str, Any]:
    return {"env": work.family.name, "seed": seed, "stage": _stage(method, test_set)}


def _step(work: Work, seed: int, method: str, test_set: str) -> Step:
    traced = method == TRACED and work.family.renderer is not None

    def do(progress: Progress) -> None:
        require(work, seed, method, test_set)
        tasks = work.held_out(test_set)
        stage = _stage(method, test_set)
        if method not in (*WEIGHTS, *PIXEL_METHODS):
            played = _play_source(work, seed, method, stage, tasks, progress)
        else:
            recorder = _recorder(work, len(tasks)) if traced else None
            played = _play(
                work, seed, _policy(work, seed, method), stage, tasks, recorder, progress
            )
            if recorder:
                seen = played.tasks[played.task_index[list(recorder.lanes)]]
                trace = recorder.trace(seen, played.about)
                trace.save(work.folder.trace(seed, test_set, method))
        played.save(work.folder.evaluation(seed, test_set, method))

    def done() -> bool:
        try:
            there = read(work, seed, method, test_set) is not None
            return there and (not traced or read_trace(work, seed, test_set) is not None)
        except ResultsError as error:
            warnings.warn(f"{error} It is played again.", RuntimeWarning, stacklevel=1)
            return False

    where = "" if work.test_sets == ("test",) else f" on {test_set}"
    what = f"evaluate {method}{where}, seed {seed}"
    return Step("evaluate", method, what, "episodes", do, done)


def require(work: Work, seed: int, method: str, test_set: str) -> None:
    """Refuse a roll-out that the machine has no memory for."""
    config = work.config
    lanes, episodes = (
        len(work.held_out(test_set)) * config.evaluate.lanes_per_task,
        config.evaluate.episodes,
    )
    memory = 0
    if method not in (*WEIGHTS, *PIXEL_METHODS):
        episodes = config.evaluate.source_episodes or config.collect.episodes
        memory += lanes * (config.source.actors - 1) * _LANE_BYTES
    elif method in WEIGHTS and train.on_cpu(work):
        # Keys and values of every layer, in float32; a GPU has its own memory.
        a_lane = config.train.window_steps * config.model.layers * 2 * config.model.width * 4
        # Where an episode ends there are two observations a lane, before and behind the encoder.
        encoder = encoder_of(config.model, work.family.observation_space)
        a_lane += 2 * (2 * train.observation_bytes(work) + 4 * encoder.kept_floats)
        memory += min(LANES_AT_ONCE, lanes) * a_lane
    resources.require(
        f"evaluate {method}, seed {seed}",
        work.folder.path,
        memory_bytes=memory + lanes * (episodes * _EPISODE_BYTES + _LANE_BYTES),
    )


def _stage(method: str, test_set: str) -> str:
    """What keys a roll-out's noise, and is written into its file."""
    return f"evaluate/{test_set}/{method}"


def _policy(work: Work, seed: int, method: str) -> Policy:
    if method == "sweep":
        actions = choices.sweep_actions(work, seed)
        assert actions is not None  # chosen in the step before
        return SweepPolicy(actions)
    config, weights = work.config, WEIGHTS[method]
    model = train.new_model(work, seed).to(config.device)
    folder = work.folder.checkpoints(seed, weights)
    load_model(model, folder, config, method=weights, seed=seed)
    blind = constant_frame(work) if method == "ad-blind" else None
    return policy_of(model, zero_reward=method == "ad-no-reward", blind=blind)


def constant_frame(work: Work) -> Observation:
    """What `ad-blind` sees always: the first frame on the first training task, drawn with seed 0.

    Of a Dict space the frames alone, by key. docs/statistics.md says why a real frame.
    """
    config, family = work.config, work.family
    task = family.tasks("train", config.tasks.train, seed=config.tasks.split_seed)[:1]
    env = family.make(task, seed=0, lane_ids=(0,))
    observation, _ = env.reset()
    env.close()
    keys = image_keys(family.observation_space)
    shown = {key: tensors(observation)[key][0].to(config.device) for key in keys}
    return shown if isinstance(observation, dict) else shown[""]


def _recorder(work: Work, num_tasks: int) -> Recorder:
    played = work.config.evaluate
    count = min(_TRACED_TASKS, num_tasks)
    tasks = torch.linspace(0, num_tasks - 1, count, dtype=torch.float64).round().long()
    first = range(1, min(_TRACED_EPISODES, played.episodes) + 1)
    last = range(max(1, played.episodes - _TRACED_EPISODES + 1), played.episodes + 1)
    return Recorder((tasks * played.lanes_per_task).tolist(), sorted({*first, *last}))


def _play(
    work: Work,
    seed: int,
    policy: Policy,
    stage: str,
    tasks: Tensor,
    recorder: Recorder | None,
    progress: Progress,
) -> Rollout:
    config = work.config
    return rollout(
        policy,
        work.family,
        tasks,
        lanes_per_task=config.evaluate.lanes_per_task,
        episodes=config.evaluate.episodes,
        seed=seed,
        stage=stage,
        device=config.device,
        action=config.evaluate.action,
        recorder=recorder,
        progress=progress,
        stop=work.stop,
    )


def _play_source(
    work: Work, seed: int, method: str, stage: str, tasks: Tensor, progress: Progress
) -> Rollout:
    config = work.config
    return source_rollout(
        config,
        work.family,
        tasks,
        seed=seed,
        stage=stage,
        lanes_per_task=config.evaluate.lanes_per_task,
        episodes=config.evaluate.source_episodes or config.collect.episodes,
        settings=choices.source_settings(work, seed) if method == "source-best" else None,
        progress=progress,
        stop=work.stop,
    )
