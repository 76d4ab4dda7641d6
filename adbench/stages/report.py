"""Stage 4: what was measured becomes results.json and report.html."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from adbench import plugins, resources
from adbench.checkpoint import Checkpoint
from adbench.config import METHODS, TRAINED_METHODS
from adbench.errors import CheckpointError, HistoryError, ResultsError, TrainingError
from adbench.evaluate import Rollout
from adbench.progress import Progress
from adbench.report import write_report
from adbench.results import Facts, Training, build_results
from adbench.results_file import read_results, write_results
from adbench.stages import evaluate, train
from adbench.stages.memory import PeakMemory
from adbench.stages.work import STAGES, Seconds, Step, Work
from adbench.trace import Trace

_DISK_BYTES = 50_000_000


def step(work: Work, seconds: Seconds, methods: tuple[str, ...]) -> Step:
    """Report on what is there; it is done once the report shows all of `methods`."""

    def do(progress: Progress) -> None:
        resources.require("report", work.folder.path, disk_bytes=_DISK_BYTES)
        results = gather(work, seconds)
        write_results(work.folder.results, results)
        write_report(work.folder.path, results, family=work.family, traces=_traces(work))

    def done() -> bool:
        page = work.folder.report
        if not page.is_file() or page.stat().st_size == 0:
            return False
        try:
            return set(methods) <= set(read_results(work.folder.results)["scores"])
        except ResultsError:
            return False

    return Step("report", "", "report", "parts", do, done)


def gather(work: Work, seconds: Seconds) -> dict[str, Any]:
    """Everything that results.json says of a run so far.

    Raises:
        ResultsError: nothing was evaluated, or a file of it is damaged.
    """
    config = work.config
    rollouts = {
        (method, seed, test_set): played
        for method in METHODS
        for seed in config.seeds
        for test_set in work.test_sets
        if (played := evaluate.read(work, seed, method, test_set)) is not None
    }
    trained = {
        (method, seed): found
        for method in TRAINED_METHODS
        for seed in config.seeds
        if any(key[:2] == (method, seed) for key in rollouts)
        if (found := _last_checkpoint(work, seed, method)) is not None
    }
    return build_results(
        config,
        rollouts,
        family=work.family,
        facts=_facts(work, seconds, rollouts, trained),
        training={
            key: Training(
                updates=found.update,
                tokens=int(found.training["tokens"]),
                parameters=sum(weight.numel() for weight in found.model.values()),
            )
            for key, found in trained.items()
        },
    )


def _traces(work: Work) -> dict[str, Trace]:
    """Some of AD's lanes of the first seed, by test set."""
    found = {name: evaluate.read_trace(work, work.config.seeds[0], name) for name in work.test_sets}
    return {name: trace for name, trace in found.items() if trace is not None}


def _last_checkpoint(work: Work, seed: int, method: str) -> Checkpoint | None:
    try:
        return train.last_checkpoint(work, seed, method)
    except CheckpointError as error:
        warnings.warn(f"{error} The report says nothing of it.", RuntimeWarning, stacklevel=1)
        return None


def _facts(
    work: Work,
    seconds: Seconds,
    rollouts: Mapping[tuple[str, int, str], Rollout],
    trained: Mapping[tuple[str, int], Checkpoint],
) -> Facts:
    config = work.config
    collected, distilled = _offline_steps(work)
    played = sum(r.env_steps for key, r in rollouts.items() if key[0] in evaluate.WEIGHTS)
    return Facts(
        device=_device_name(config.device),
        threads=torch.get_num_threads(),
        command=str(work.folder.begun().get("command", f"adbench run {config.env}")),
        stage_seconds={stage: seconds.of(stage) for stage in STAGES},
        throughput={
            "collect_env_steps_per_s": _rate(collected, seconds.of("collect")),
            "train_tokens_per_s": _rate(
                sum(found.training["tokens"] for found in trained.values()),
                sum(found.training["seconds"] for found in trained.values()),
            ),
            "evaluate_env_steps_per_s": _rate(played, seconds.of("evaluate", *evaluate.WEIGHTS)),
        },
        peak_memory_bytes=PeakMemory(work.folder.memory).of(),
        source_privileged=plugins.source(config.source.name).privileged,
        offline_env_steps={"collected": collected, "distilled": distilled},
    )


def _offline_steps(work: Work) -> tuple[int | None, int | None]:
    """Environment steps in the histories of all seeds: of all actors, and those AD reads.

    None where the histories are not there any more.
    """
    source = work.config.source
    kept = source.kept_actors or source.actors
    collected = distilled = 0
    try:
        for seed in work.config.seeds:
            rows = train.sampler(work, seed, "ad")
            collected += sum(line.steps for line in rows.store.manifest) * source.actors // kept
            distilled += rows.stats()["steps"]
    except (HistoryError, TrainingError):
        return None, None
    return collected, distilled


def _device_name(device: str) -> str:
    if torch.device(device).type != "cuda":
        return device
    return f"cuda: {torch.cuda.get_device_name(device)}"


def _rate(amount: float | None, seconds: float | None) -> float | None:
    return round(amount / seconds, 1) if amount and seconds else None
