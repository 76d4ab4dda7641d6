"""A run from start to figure: which steps there are, in which order, and carrying them out.

AD's own report comes first: for every seed collect, train AD and evaluate it, then report. The
rows it is compared with that need training or a search of their own follow, and the report is
drawn again.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from adbench import plugins
from adbench.collect import check_frames
from adbench.config import PIXEL_METHODS, TRAINED_METHODS, RunConfig
from adbench.errors import ConfigError, Stopped
from adbench.folder import RunFolder
from adbench.loggers import Listen
from adbench.noise import Lanes
from adbench.progress import Reporter, Stop, never
from adbench.spaces import image_keys
from adbench.stages import collect, evaluate, report, train
from adbench.stages.memory import PeakMemory
from adbench.stages.work import Seconds, Step, Work, held_out
from adbench.task import TaskFamily

FIRST = ("source", "ad", "ad-no-reward", "ad-blind", "sweep")
"""Rows of the first report, beside `random` and `optimal`, which are computed, not rolled out."""
SECOND = ("ed", "ad-shuffled", "source-best")
"""Rows that follow it."""


def plan(work: Work, seconds: Seconds) -> tuple[Step, ...]:
    """Every step of a run, in order."""
    config = work.config
    steps: list[Step] = []
    shown: tuple[str, ...] = ()
    distils = any(method in TRAINED_METHODS for method in config.methods)
    for wave in (FIRST, SECOND):
        methods = tuple(method for method in wave if method in config.methods)
        if wave is SECOND and not methods:
            break
        for seed in config.seeds:
            if wave is FIRST and distils:
                steps.append(collect.step(work, seed))
            steps += [train.step(work, seed, name) for name in methods if name in TRAINED_METHODS]
            for method in methods:
                steps += evaluate.steps(work, seed, method)
        shown += methods
        if methods:
            steps.append(report.step(work, seconds, shown))
    return tuple(steps)


def carry_out(
    folder: RunFolder,
    stages: tuple[str, ...],
    *,
    reporter: Reporter,
    stop: Stop = never,
    listen: Listen | None = None,
) -> None:
    """Do what is left of some stages of a run.

    Args:
        folder: the run, held by this process.
        stages: which of `STAGES`; the report alone is drawn again even if it is there.
        reporter: where progress is shown.
        stop: asked between units of work.
        listen: hears every line of `metrics.jsonl`.

    Raises:
        Stopped: `stop` said so, and there is work left.
        AdbenchError: whatever goes wrong in a stage.
    """
    seconds, memory = Seconds(folder.seconds), PeakMemory(folder.memory)
    _require_room(Work(folder, plugins.family_of(folder.config)), stages)
    steps = _steps(folder, seconds, stop, listen)
    if stages == ("report",):
        steps = [replace(steps[-1], done=lambda: False)]
    steps = [step for step in steps if step.stage in stages]
    with reporter.steps([step.what for step in steps]):
        for step in steps:
            if step.done():
                reporter.skip(step.what)
                continue
            if stop():
                raise Stopped(f"Time is up before: {step.what}. What was finished is kept.")
            with (
                reporter.task(step.what, unit=step.unit) as shown,
                seconds.book(step.stage, step.account, shown) as progress,
                memory.watch(step.stage),
            ):
                step.do(progress)
            if step.stage == "report":
                reporter.say(f"report: {folder.report}")


def is_finished(folder: RunFolder) -> bool:
    """Whether every row is there and the report shows them all."""
    steps = _steps(folder, Seconds(folder.seconds), never)
    # From the end: a run under way is told from its first missing piece, without reading histories.
    return all(step.done() for step in reversed(steps))


def _steps(
    folder: RunFolder, seconds: Seconds, stop: Stop, listen: Listen | None = None
) -> list[Step]:
    return list(plan(Work(folder, plugins.family_of(folder.config), stop, listen), seconds))


def _require_room(work: Work, stages: tuple[str, ...]) -> None:
    """Refuse now what a later stage would be refused for: after hours of collecting is too late.

    Raises:
        ResourceError: with what is needed and what there is.
    """
    for seed in work.config.seeds:
        for method in work.config.methods:
            trained = work.folder.checkpoints(seed, method)
            if "train" in stages and method in TRAINED_METHODS and not trained.exists():
                train.require(work, seed, method)
            if "evaluate" in stages and method in (*FIRST, *SECOND):
                for name in work.test_sets:
                    if not work.folder.evaluation(seed, name, method).exists():
                        evaluate.require(work, seed, method, name)


def check(config: RunConfig) -> None:
    """Refuse at once what would fail after minutes of work.

    Raises:
        ConfigError: methods that need pixels where there are none, none to play, or `ed` without
            the episodes that it is trained on; frames to be stored of what is no image.
        UsageError: more tasks than a split has, or a source that cannot learn on these.
    """
    family, tasks = plugins.family_of(config), config.tasks
    _check_methods(config, family)
    for split, count in (("train", tasks.train), ("validation", tasks.validation)):
        family.tasks(split, count, seed=tasks.split_seed)  # only whether there are as many
    for test_set in family.test_sets:
        held_out(family, tasks, test_set)
    check_frames(config, family)
    _check_source(config, family)


def _check_methods(config: RunConfig, family: TaskFamily) -> None:
    blind = [method for method in config.methods if method in PIXEL_METHODS]
    if blind and not image_keys(family.observation_space):
        raise ConfigError(
            f"methods: {blind[0]!r} needs pixels, which {config.env!r} has not. "
            f"Leave out {', '.join(blind)}."
        )
    if not set(config.methods) & {*FIRST, *SECOND}:
        raise ConfigError(
            f"methods: {', '.join(config.methods)} are computed, not played; "
            f"add at least one of {', '.join((*FIRST, *SECOND))}."
        )
    if "ed" in config.methods and not config.collect.expert_episodes:
        raise ConfigError(
            "methods: 'ed' is trained on what follows the learning, and collect.expert_episodes "
            "is 0. Make it at least 1, or leave 'ed' out."
        )


def _check_source(config: RunConfig, family: TaskFamily) -> None:
    """Make one learner of the source, which refuses a family it cannot learn on."""
    source, algorithm = config.source, plugins.source(config.source.name)
    task = family.tasks("train", config.tasks.train, seed=config.tasks.split_seed)[:1]
    algorithm(
        algorithm.Settings.parse(source.settings, where=f"source.settings of {source.name}"),
        family,
        Lanes(0, "check", task, (0,)),
        actors=1,
        episodes=config.collect.episodes,
        device=torch.device("cpu"),
    )
