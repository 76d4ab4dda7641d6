"""Stage 1: learners learn, and their histories go to disk."""

from __future__ import annotations

from adbench import resources
from adbench.collect import collect, missing_shards, plan_shards
from adbench.collect.plan import learner_bytes
from adbench.progress import Progress
from adbench.stages.work import Step, Work


def step(work: Work, seed: int) -> Step:
    """Make the histories of one seed, or what is missing of them."""
    folder = work.folder.histories(seed)
    what = f"collect, seed {seed}"

    def do(progress: Progress) -> None:
        require(work, seed, what)
        collect(work.config, seed=seed, folder=folder, progress=progress, stop=work.stop)

    def done() -> bool:
        if seed not in work.verified and not missing(work, seed):
            work.verified.add(seed)
        return seed in work.verified

    return Step("collect", "", what, "episodes", do, done)


def missing(work: Work, seed: int) -> int:
    """Learners whose shard isn't there or isn't whole."""
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
        # Shards are collected side by side up to a gigabyte; turning a block over takes it twice.
        memory_bytes=2 * min(learners * a_learner, 10**9),
    )
