"""The best settings of a source, so that it is beaten at its best or not at all."""

from __future__ import annotations

import numpy as np
import torch

from adbench import plugins
from adbench.collect.learn import learn_online
from adbench.collect.plan import numbers_within_tasks
from adbench.config import RunConfig, Scalar
from adbench.progress import Progress, silent
from adbench.task import TaskFamily

_LEARNERS = 64


def choose_source_settings(
    config: RunConfig, family: TaskFamily, *, seed: int, progress: Progress = silent
) -> dict[str, Scalar]:
    """Settings for `source-best`: those that earn most on the validation tasks while they learn.

    The run's own settings are tried first, then the source's candidates, each on its own defaults.
    What counts is the mean return over all episodes of learning, each task's on the scale from its
    random to its optimal return where those are known: settings that learn fast and well have it.

    Args:
        config: the run.
        family: its family.
        seed: keys everything that is random.
        progress: told settings tried, of all.

    Returns:
        every setting by name, the source's defaults included.
    """
    algorithm = plugins.source(config.source.name)
    tasks = family.tasks("validation", config.tasks.validation, seed=config.tasks.split_seed)
    tasks = torch.cat([tasks] * -(-_LEARNERS // len(tasks)))
    low, high = family.random_return(tasks), family.optimal_return(tasks)
    span = np.ones(len(tasks)) if high is None else (high - low).double().cpu().numpy()
    span = np.where(span > 0, span, 1.0)
    episodes = config.evaluate.source_episodes or config.collect.episodes
    tried: list[tuple[float, dict[str, Scalar]]] = []
    candidates = (config.source.settings, *algorithm.candidates())
    for settings in candidates:
        progress(len(tried), len(candidates))
        learning = learn_online(
            family,
            tasks,
            config.source.with_(settings=settings, kept_actors=1),
            seed=seed,
            stage="choose-source",
            learner_ids=numbers_within_tasks(tasks),
            episodes=episodes,
            record=False,
        )
        mean_return = learning.returns.mean(axis=1, dtype=np.float64)
        resolved = algorithm.Settings.parse(settings).model_dump()
        tried.append((float((mean_return / span).mean()), resolved))
    progress(len(candidates), len(candidates))
    return max(tried, key=lambda one: one[0])[1]  # the first of equals
