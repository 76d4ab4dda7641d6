"""Somebody plays one task and is watched: a random, a source-trained or a trained agent.

One lane. What comes out is a trace, from which pictures are drawn.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from adbench import plugins
from adbench.collect.stream import transitions
from adbench.config import RunConfig
from adbench.errors import UsageError
from adbench.evaluate import rollout
from adbench.folder import RunFolder
from adbench.noise import Lanes, key_of
from adbench.pictures.clips import draws_states
from adbench.policy import Policy, RandomPolicy, policy_of
from adbench.progress import Progress, silent
from adbench.stages import train
from adbench.stages.work import Work
from adbench.task import TaskFamily
from adbench.trace import Recorder, Trace, Watch
from adbench.train import load_model

_STAGE = "play"


def with_pixels() -> tuple[str, ...]:
    """Names of the environments whose states can be drawn; broken ones are left out."""
    found = []
    for name in plugins.names(plugins.ENVS):
        try:
            if draws_states(plugins.family(name)):
                found.append(name)
        except Exception:  # somebody's broken plug-in is told where it is asked for
            continue
    return tuple(found)


def require_pixels(family: TaskFamily) -> None:
    """Refuse a family that there is nothing to see of.

    Raises:
        UsageError: names those that can be seen.
    """
    if not draws_states(family):
        raise UsageError(
            f"{family.name} has nothing to see: its states cannot be drawn. "
            f"These can: {', '.join(with_pixels())}."
        )


def one_task(family: TaskFamily, split: str, number: int, *, seed: int) -> Tensor:
    """A task of a split by its number, from 0; [1, ...].

    Args:
        family: whose tasks they are.
        split: "train", "validation" or one of the family's test sets.
        number: which.
        seed: of the split.

    Raises:
        UnknownNameError: no such split.
        UsageError: the split has fewer tasks.
    """
    tasks = family.tasks(split, None, seed=seed)
    if number >= len(tasks):
        raise UsageError(
            f"--task {number}: {split} has {len(tasks)} tasks of {family.name}; "
            f"ask for 0 to {len(tasks) - 1}."
        )
    return tasks[number : number + 1]


def play_random(family: TaskFamily, task: Tensor, *, episodes: int, seed: int) -> Trace:
    """Uniformly random actions; all episodes are kept."""
    return _play(RandomPolicy(), family, task, tuple(range(1, episodes + 1)), seed=seed)


def play_trained(
    folder: RunFolder, task: Tensor, *, episodes: int, progress: Progress = silent
) -> Trace:
    """AD's weights of a run, frozen, from an empty context through all episodes of its evaluation.

    Args:
        folder: the run's; AD is trained there.
        task: [1, ...].
        episodes: how many are kept, half of them the first ones, half the last.
        progress: told the episodes played.

    Raises:
        CheckpointError: AD is not trained there.
    """
    config, seed = folder.config, folder.config.seeds[0]
    work = Work(folder, plugins.family_of(config))
    model = train.new_model(work, seed).to(config.device)
    load_model(model, folder.checkpoints(seed, "ad"), config, method="ad", seed=seed)
    whole = config.evaluate.episodes
    first = -(-min(episodes, whole) // 2)
    kept = {*range(1, first + 1), *range(whole - min(episodes, whole) + first + 1, whole + 1)}
    return _play(
        policy_of(model), work.family, task, tuple(sorted(kept)), seed=seed,
        device=config.device, progress=progress,
    )  # fmt: skip


def play_source(
    config: RunConfig,
    family: TaskFamily,
    task: Tensor,
    *,
    learning_episodes: int,
    episodes: int,
    seed: int,
    progress: Progress = silent,
) -> Trace:
    """One learner of a run's source, alone on the task; what follows its learning is kept.

    Args:
        config: for its source.
        family: whose task it is.
        task: [1, ...].
        learning_episodes: before anything is kept; the source's schedules end there.
        episodes: that are kept.
        seed: keys everything that is random.
        progress: told the episodes played.

    Raises:
        UsageError: the source cannot learn on this family.
    """
    source, algorithm = config.source, plugins.source(config.source.name)
    lanes = Lanes(
        seed, _STAGE, task.repeat_interleave(source.actors, dim=0), tuple(range(source.actors))
    )
    learner = algorithm(
        algorithm.Settings.parse(source.settings, where=f"source.settings of {source.name}"),
        family,
        lanes,
        actors=source.actors,
        episodes=learning_episodes,
        device=torch.device("cpu"),
    )
    env = family.make(
        lanes.tasks,
        seed=_env_seed(seed),
        lane_ids=lanes.lane_ids,
        observe="state" if learner.privileged else "agent",
    )
    watch = Watch([0])
    played = 0
    for transition in transitions(env, learner):
        ended = transition.terminated | transition.truncated
        if played >= learning_episodes:
            watch.note(transition.state, transition.next_state, transition.reward, ended)
        if not bool(ended[0]):
            continue
        played += 1
        progress(min(played, learning_episodes), learning_episodes)
        if played == learning_episodes + episodes:
            break
    numbers = range(learning_episodes + 1, learning_episodes + episodes + 1)
    recorder = Recorder((0,), tuple(number - learning_episodes for number in numbers))
    recorder.keep(watch)
    trace = recorder.trace(task, {"env": family.name, "source": source.name, "seed": seed})
    return Trace(
        trace.state, trace.reward, trace.length, torch.tensor(numbers), trace.task, trace.about
    )


def folder_of(path: Path, env: str) -> RunFolder:
    """A run's folder that holds a run of this environment.

    Raises:
        RunFolderError: it is no run's folder.
        UsageError: it is a run of another environment.
    """
    folder = RunFolder.read(path)
    if folder.config.env != env:
        raise UsageError(
            f"{path} is a run of {folder.config.env}, and you asked for {env}. "
            f"Ask for {folder.config.env}, or name another folder."
        )
    return folder


def _play(
    policy: Policy,
    family: TaskFamily,
    task: Tensor,
    episodes: tuple[int, ...],
    *,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Trace:
    recorder = Recorder((0,), episodes)
    played = rollout(
        policy,
        family,
        task,
        lanes_per_task=1,
        episodes=episodes[-1],
        seed=seed,
        stage=_STAGE,
        device=device,
        recorder=recorder,
        progress=progress,
    )
    return recorder.trace(task, played.about)


def _env_seed(seed: int) -> int:
    return int(key_of(seed, _STAGE, "env")[0] >> 1)
