"""Which learners make up which shard: a pure function of the configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adbench.config import RunConfig
from adbench.history.schema import SHARD_BYTES_MAX
from adbench.history.spaces import spaces_of, storage_dtype
from adbench.task import TaskFamily

_BATCH_LANES = 1024
# Reward, flags; and, where observations are drawn from it, a state that only the environment knows.
_OTHER_STEP_BYTES, _STATE_BYTES = 6, 64


@dataclass(frozen=True)
class ShardPlan:
    """One unit of work: some learners of a run, to become one file.

    Attributes:
        index: the shard's number.
        tasks: one a learner, [M, ...].
        learner_ids: number of each learner among those of its task.
        learners: number of each learner among all of the run's.
    """

    index: int
    tasks: Tensor
    learner_ids: tuple[int, ...]
    learners: tuple[int, ...]


def plan_shards(config: RunConfig, family: TaskFamily) -> tuple[ShardPlan, ...]:
    """Spread a run's learners over its shards.

    There are `collect.shards` of them, more where a file could pass a gigabyte, and never more than
    learners. Each holds many tasks, so that one that is lost takes no task with it.

    Raises:
        UsageError: the family has not as many training tasks as the configuration asks for.
    """
    tasks = family.tasks("train", config.tasks.train, seed=config.tasks.split_seed)
    num_learners = len(tasks) * config.collect.learners_per_task
    total_bytes = num_learners * learner_bytes(config, family)
    num_shards = max(config.collect.shards, math.ceil(total_bytes / SHARD_BYTES_MAX))
    tasks = torch.cat([tasks] * config.collect.learners_per_task)
    ids = np.array(numbers_within_tasks(tasks))
    parts = np.array_split(np.arange(num_learners), min(num_shards, num_learners))
    return tuple(
        ShardPlan(
            index=index,
            tasks=tasks[torch.from_numpy(learners)],
            learner_ids=tuple(ids[learners].tolist()),
            learners=tuple(learners.tolist()),
        )
        for index, learners in enumerate(parts)
    )


def numbers_within_tasks(tasks: Tensor) -> tuple[int, ...]:
    """The number of each learner among those of its task, also where a split has a task twice.

    Args:
        tasks: one a learner, [M, ...].
    """
    seen: dict[bytes, int] = {}
    numbers = []
    for task in tasks.detach().cpu().contiguous().numpy():
        key = task.tobytes()
        numbers.append(seen.get(key, 0))
        seen[key] = numbers[-1] + 1
    return tuple(numbers)


def learner_bytes(config: RunConfig, family: TaskFamily) -> int:
    """Bytes on disk of one learner's histories, if none of them converges before the limit; frames
    count in full, as they are held before they are compressed."""
    kept = config.source.kept_actors or config.source.actors
    sizes = {
        name: np.dtype(storage_dtype(space)).itemsize * math.prod(space.shape)
        for name, space in spaces_of(family.observation_space, family.action_space).items()
    }
    observation = sum(size for name, size in sizes.items() if name.startswith("observation"))
    if family.renderer is not None:
        observation = _STATE_BYTES + (observation if config.collect.store_frames else 0)
    a_step = observation + sizes["action"] + _OTHER_STEP_BYTES
    an_episode = family.max_episode_steps * a_step + observation + 4
    return kept * config.collect.max_episodes * an_episode


def in_batches(
    plans: Sequence[ShardPlan], *, actors: int, bytes_per_learner: int
) -> Iterator[list[ShardPlan]]:
    """Shards that are collected side by side: few lanes leave a processor idle, too many its cache.

    Args:
        plans: shards to collect.
        actors: streams of a learner.
        bytes_per_learner: as `learner_bytes` has it.
    """
    batch: list[ShardPlan] = []
    learners = 0
    for plan in plans:
        more = learners + len(plan.tasks)
        if batch and (more * actors > _BATCH_LANES or more * bytes_per_learner > SHARD_BYTES_MAX):
            yield batch
            batch, learners = [], 0
        batch.append(plan)
        learners += len(plan.tasks)
    if batch:
        yield batch
