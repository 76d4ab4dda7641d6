"""Stage 1: learners learn, and their histories go to disk."""

from __future__ import annotations

from adbench import resources
from adbench.collect import collect, missing_shards, plan_shards
from adbench.collect.plan import learner_bytes
from adbench.progress import Progress
from adbench.stages.work import Step, Work

_PLAN_BYTES = 300
"""What a learner's task, numbers and place in a shard take in memory."""


def step(work: Work, seed: int) -> Step:
    """Make the histories of one seed, or what is missing of them."""
    folder = work.folder.histories(seed)
    what = f"collect, seed {seed}"

    def do(progress: Progress) -> None:
        require(work, seed, what)
        collect(
            work.config,
            seed=seed,
            folder=folder,
            progress=progress,
            stop=work.stop,
            device=work.config.device,
        )

    def done() -> bool:
        if seed not in work.verified and not missing(work, seed):
            work.verified.add(seed)
        return seed in work.verified

    return Step("collect", "", what, "episodes", do, done)


def missing(work: Work, seed: int) -> int:
    """Learners whose shard isn't there or isn't whole.

    Raises:
        ResourceError: there are too many to be listed.
    """
    config = work.config
    tasks = work.family.tasks("train", config.tasks.train, seed=config.tasks.split_seed)
    learners = len(tasks) * config.collect.learners_per_task
    resources.require(
        f"collect, seed {seed}", work.folder.path, memory_bytes=learners * _PLAN_BYTES
    )
    plans = plan_shards(work.config, work.family)
    folder = work.folder.histories(seed)
    left = missing_shards(work.config, work.family, plans, seed=seed, folder=folder)
    return sum(len(plan.tasks) for plan in left)


def require(work: Work, seed: int, what: str) -> None:
    """Refuse to collect what the disk has no room for."""
    config = work.config
    learners = missing(work, seed)
    # `learner_bytes` is of a learner that never converges. Most do, soon after their learning; the
    # file is trimmed to the longest of them.
    usual = min(
        1.0,
        2
        * (config.collect.episodes + config.collect.expert_episodes)
        / config.collect.max_episodes,
    )
    a_learner = learner_bytes(config, work.family)
    resources.require(
        what,
        work.folder.path,
        disk_bytes=int(learners * a_learner * usual),
        # Shards are collected side by side up to a gigabyte, or one learner where that is more;
        # turning a block over takes it twice.
        memory_bytes=2 * min(learners * a_learner, max(10**9, a_learner)),
    )
