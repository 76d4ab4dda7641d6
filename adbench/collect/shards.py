"""A run's learning histories, shard by shard: what is there is kept, what is missing is made."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from pydantic import JsonValue

from adbench import plugins
from adbench.collect.learn import Expert, Learning, learn_online
from adbench.collect.plan import ShardPlan, in_batches, learner_bytes, plan_shards
from adbench.config import RunConfig
from adbench.errors import ConfigError, HistoryError, Stopped
from adbench.history.drift import sample_fields
from adbench.history.frames import renderer_of
from adbench.history.hdf5 import zstd
from adbench.history.reader import intact_shards
from adbench.history.schema import ManifestLine, ShardMeta, shard_name
from adbench.history.spaces import Space, spaces_of
from adbench.history.writer import write_shard
from adbench.noise import Lanes
from adbench.progress import Progress, Stop, never, silent
from adbench.task import TaskFamily

STAGE = "collect"
SPLIT = "train"

Batch = Sequence[ShardPlan]


def collect(
    config: RunConfig,
    *,
    seed: int,
    folder: Path,
    progress: Progress = silent,
    stop: Stop = never,
    workers: int = 1,
    device: torch.device | str = "cpu",
) -> None:
    """Make every shard of a run that is not there yet, or that is damaged.

    Shards are collected several at a time, side by side; a shard is the same beside any others.

    Args:
        config: the run.
        seed: keys everything that is random.
        folder: where the histories of this seed lie.
        progress: told episodes finished, of those that are sure to be played.
        stop: asked between batches of shards.
        workers: processes; with one, the work is done in this one.
        device: where learners live that gain by it.

    Raises:
        Stopped: `stop` said so and shards are missing; those that are there are kept.
        HistoryError: the folder holds histories of another run.
        AdbenchError: whatever goes wrong in the environment, the source or on the disk.
    """
    family = plugins.family_of(config)
    check_frames(config, family)
    plans = plan_shards(config, family)
    missing = missing_shards(config, family, plans, seed=seed, folder=folder)
    batches = tuple(
        in_batches(
            missing,
            actors=config.source.actors,
            bytes_per_learner=learner_bytes(config, family),
        )
    )
    total_episodes = sum(_episodes(config, plan) for plan in plans)
    done_before = total_episodes - sum(_episodes(config, plan) for plan in missing)
    progress(done_before, total_episodes)

    def within_batch(done: int, total: int, note: str = "") -> None:
        progress(done_before + done, total_episodes, note)

    work = _Work(config, seed, Path(folder), str(device), stop, within_batch)
    finished = work.in_processes(batches, workers) if workers > 1 else work.in_turn(family, batches)
    left = len(missing)
    for batch in finished:
        left -= len(batch)
        done_before += sum(_episodes(config, plan) for plan in batch)
        progress(done_before, total_episodes)
    if left:
        raise Stopped(
            f"Time is up after {len(plans) - left} of {len(plans)} shards in {folder}. "
            "They are kept; the same command goes on."
        )


def check_frames(config: RunConfig, family: TaskFamily) -> None:
    """Refuse to store frames where there are none, or nothing to compress them with.

    Raises:
        ConfigError: observations are not one image.
        ResourceError: hdf5plugin is missing; the message says how to install it.
    """
    if not config.collect.store_frames:
        return
    space = family.observation_space
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        raise ConfigError(
            f"collect.store_frames: {family.name} shows {space}, and only single uint8 images of "
            "three axes are stored as frames. Leave store_frames out."
        )
    zstd()


def collect_shard(
    config: RunConfig,
    family: TaskFamily,
    plan: ShardPlan,
    *,
    seed: int,
    folder: Path,
    device: torch.device | str = "cpu",
) -> ManifestLine:
    """Make one shard: a pure function of the configuration, the seed and the shard's number.

    Returns:
        the shard's line in the manifest.
    """
    return collect_batch(config, family, [plan], seed=seed, folder=folder, device=device)[0]


def collect_batch(
    config: RunConfig,
    family: TaskFamily,
    plans: Sequence[ShardPlan],
    *,
    seed: int,
    folder: Path,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[ManifestLine]:
    """Make several shards, their learners side by side; each is what `collect_shard` makes."""
    rules = config.collect
    learning = learn_online(
        family,
        torch.cat([plan.tasks for plan in plans]),
        config.source,
        seed=seed,
        stage=STAGE,
        learner_ids=[learner for plan in plans for learner in plan.learner_ids],
        episodes=rules.episodes,
        max_episodes=rules.max_episodes,
        expert=Expert(rules.expert_episodes, rules.expert_share) if rules.expert_episodes else None,
        device=device,
        frames=rules.store_frames,
        progress=progress,
    )
    kept = config.source.kept_actors or config.source.actors
    told = _told(config, family)
    lines, first = [], 0
    for plan in plans:
        last = first + kept * len(plan.tasks)
        part = learning.part(first, last)
        arrays = _arrays(part, plan, seed=seed, kept=kept)
        if family.renderer is not None and not rules.store_frames:
            arrays |= sample_fields(family, arrays)
        meta = _meta(config, family, plan, told, seed=seed)
        lines.append(write_shard(folder, plan.index, arrays, meta))
        first = last
    return lines


def missing_shards(
    config: RunConfig,
    family: TaskFamily,
    plans: Sequence[ShardPlan],
    *,
    seed: int,
    folder: Path,
) -> list[ShardPlan]:
    """Shards that are not in a folder, or are damaged; checksums are read in full.

    Raises:
        HistoryError: the folder holds a whole shard of another run; it is left alone.
    """
    there, _ = intact_shards(folder, env=family.name, env_version=family.version)
    told = _told(config, family)
    for plan in plans:
        line = there.get(shard_name(plan.index))
        if line is not None:
            _check_same(line, _meta(config, family, plan, told, seed=seed), folder)
    return [plan for plan in plans if shard_name(plan.index) not in there]


def _check_same(line: ManifestLine, meta: ShardMeta, folder: Path) -> None:
    for name in ("split", "source", "seed", "learners", "actors", "source_config"):
        theirs, ours = getattr(line, name), getattr(meta, name)
        if theirs == ours:
            continue
        if isinstance(ours, dict):
            name, theirs, ours = _first_difference(theirs, ours, name)
        raise HistoryError(
            f"{Path(folder) / line.file} was collected with {name} = {theirs!r}; this run has "
            f"{ours!r}. Nothing was overwritten; choose another folder, or delete this one."
        )


def _first_difference(
    theirs: dict[str, Any], ours: dict[str, Any], path: str
) -> tuple[str, Any, Any]:
    for name in sorted(theirs.keys() | ours.keys()):
        left, right = theirs.get(name), ours.get(name)
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            return _first_difference(left, right, f"{path}.{name}")
        return f"{path}.{name}", left, right
    return path, theirs, ours


def _told(config: RunConfig, family: TaskFamily) -> dict[str, JsonValue]:
    """Everything that a shard's content depends on, beside the environment and the seed."""
    source, algorithm = config.source, plugins.source(config.source.name)
    settings = algorithm.Settings.parse(source.settings)
    told: dict[str, JsonValue] = {
        "settings": settings.model_dump(mode="json"),
        "actors": source.actors,
        "collect": config.collect.model_dump(mode="json"),
        "tasks": config.tasks.model_dump(mode="json", include={"split_seed", "train"}),
    }
    world: dict[str, JsonValue] = {**plugins.family_settings(config.env, config.env_settings)}
    if not (algorithm.observes or config.collect.store_frames):
        # States are the same however they would be drawn.
        world = {k: v for k, v in world.items() if k not in family.frame_settings}
    return {**told, "env_settings": world} if world else told


def _meta(
    config: RunConfig,
    family: TaskFamily,
    plan: ShardPlan,
    told: dict[str, JsonValue],
    *,
    seed: int,
) -> ShardMeta:
    return ShardMeta(
        env=family.name,
        env_version=family.version,
        split=SPLIT,
        source=config.source.name,
        source_config=told,
        seed=seed,
        learners=len(plan.tasks),
        actors=config.source.kept_actors or config.source.actors,
        spaces=_spaces(config, family),
        renderer=renderer_of(family, torch.device("cpu")),
    )


def _spaces(config: RunConfig, family: TaskFamily) -> dict[str, Space]:
    found = spaces_of(family.observation_space, family.action_space)
    if config.collect.store_frames:
        found["frame"] = found.pop("observation")
    return found


def _arrays(
    learning: Learning, plan: ShardPlan, *, seed: int, kept: int
) -> dict[str, np.ndarray[Any, Any]]:
    tasks = plan.tasks.cpu().numpy()
    keys = Lanes(seed, STAGE, plan.tasks, plan.learner_ids).keys("learner")
    return {
        **learning.steps,
        **learning.endings,
        "episode_end": learning.episode_end,
        "length": learning.length,
        "task": np.repeat(tasks, kept, axis=0),
        "learner_seed": np.repeat(np.array([key[0] for key in keys]), kept),
        "learner": np.repeat(np.array(plan.learners, np.int32), kept),
        "actor": np.tile(np.arange(kept, dtype=np.int32), len(tasks)),
    }


def _episodes(config: RunConfig, plan: ShardPlan) -> int:
    """Episodes that a shard is sure to have."""
    kept = config.source.kept_actors or config.source.actors
    return len(plan.tasks) * kept * (config.collect.episodes + config.collect.expert_episodes)


@dataclass(frozen=True)
class _Work:
    """Collecting batches of shards, one after the other or in processes side by side."""

    config: RunConfig
    seed: int
    folder: Path
    device: str
    stop: Stop
    progress: Progress

    def in_turn(self, family: TaskFamily, batches: Sequence[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self.stop():
                return
            collect_batch(
                self.config,
                family,
                batch,
                seed=self.seed,
                folder=self.folder,
                device=self.device,
                progress=self.progress,
            )
            yield batch

    def in_processes(self, batches: Sequence[Batch], workers: int) -> Iterator[Batch]:
        # A fork would copy torch's threads in whatever state they are.
        context = multiprocessing.get_context("spawn")
        config = self.config.model_dump(mode="json")
        with ProcessPoolExecutor(min(workers, len(batches) or 1), mp_context=context) as pool:
            waiting = list(batches)
            running: dict[Future[None], Batch] = {}
            while waiting or running:
                while waiting and len(running) < workers and not self.stop():
                    batch = waiting.pop(0)
                    indices = [plan.index for plan in batch]
                    job = pool.submit(
                        _collect_apart, config, indices, self.seed, self.folder, self.device
                    )
                    running[job] = batch
                if not running:
                    return
                for job in wait(running, return_when=FIRST_COMPLETED).done:
                    job.result()
                    yield running.pop(job)


def _collect_apart(
    config: dict[str, Any], indices: list[int], seed: int, folder: Path, device: str
) -> None:
    """A batch in a process of its own, which plans the run anew and takes its part."""
    run = RunConfig.parse(config)
    family = plugins.family_of(run)
    plans = plan_shards(run, family)
    chosen = [plans[index] for index in indices]
    collect_batch(run, family, chosen, seed=seed, folder=folder, device=device)
