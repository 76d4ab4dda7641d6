"""The `source` rows: a source that starts from scratch on given tasks, scored as all others are.

T tasks, N lanes, K episodes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench.collect.learn import learn_online
from adbench.collect.plan import numbers_within_tasks
from adbench.config import RunConfig, Scalar
from adbench.outcome import Rollout
from adbench.progress import Progress, Stop, never, silent
from adbench.task import TaskFamily


def source_rollout(
    config: RunConfig,
    family: TaskFamily,
    tasks: Tensor,
    *,
    seed: int,
    stage: str,
    lanes_per_task: int,
    episodes: int,
    settings: dict[str, Scalar] | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    stop: Stop = never,
) -> Rollout:
    """Let independent learners learn on each task and take down what every episode returned.

    A learner with several actors is one lane: its first actor's stream, while all of them learn.

    Args:
        config: the run, for its source.
        family: whose tasks they are.
        tasks: [T, ...].
        seed: the run's seed.
        stage: what this is ("evaluate/source"); keys the noise.
        lanes_per_task: learners on each task; N = T * lanes_per_task.
        episodes: K, all of them learning.
        settings: of the source; None: the run's own.
        device: where environment and learners live.
        progress: told the episodes played, of all lanes.
        stop: asked now and then whether to give up.

    Raises:
        Stopped: `stop` said so; nothing is kept.
    """
    source = config.source.with_(kept_actors=1)
    if settings is not None:
        source = source.with_(settings=settings)
    task_index = torch.arange(len(tasks)).repeat_interleave(lanes_per_task)
    lanes = tasks[task_index]
    learning = learn_online(
        family,
        lanes,
        source,
        seed=seed,
        stage=stage,
        learner_ids=numbers_within_tasks(lanes),
        episodes=episodes,
        device=device,
        record=False,
        progress=progress,
        stop=stop,
    )
    return Rollout(
        returns=torch.from_numpy(learning.returns),
        lengths=torch.from_numpy(learning.lengths),
        task_index=task_index,
        tasks=tasks.detach().cpu(),
        about={
            "env": family.name,
            "env_version": family.version,
            "stage": stage,
            "seed": seed,
            "source": source.name,
            "settings": dict(source.settings),
            "actors": source.actors,
        },
    )
