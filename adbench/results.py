"""results.json: the face of a run to other programs.

`build_results` makes the record from what was measured, `write_results` checks it against the JSON
Schema in this package and puts it in place in one move, `read_results` refuses what is not such a
file. `docs/statistics.md` explains the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adbench import provenance, stats
from adbench.config import METHODS, RunConfig
from adbench.data_efficiency import compare_with_sources, round_returns
from adbench.errors import ResultsError
from adbench.paper_curves import WORLDS
from adbench.results_file import SCHEMA, plain, read_results, validate, write_results
from adbench.rows import Baseline, HeldOut, Rollout, gather, task_ids
from adbench.scores import OURS, held_out_record

if TYPE_CHECKING:
    from adbench.task import TaskFamily

__all__ = [
    "SCHEMA",
    "Facts",
    "Training",
    "build_results",
    "read_results",
    "validate",
    "write_results",
]


@dataclass(frozen=True)
class Training:
    """What one trained row of one seed took.

    Attributes:
        updates: gradient updates.
        tokens: transition tokens read in them, padding left out.
        parameters: of the model.
    """

    updates: int
    tokens: int
    parameters: int | None = None


@dataclass(frozen=True)
class Facts:
    """What only the run knows about itself.

    Attributes:
        device: what it ran on ("cpu", "cuda: NVIDIA H200").
        threads: CPU threads of torch.
        command: the command line.
        stage_seconds: wall time of each stage so far; none: not run here.
        throughput: `collect_env_steps_per_s`, `train_tokens_per_s`, `evaluate_env_steps_per_s`.
        peak_memory_bytes: what each stage held at most, by kind ("process", "gpu") and stage; left
            out: not measured.
        source_privileged: whether the source saw what the agent does not; none: no source.
        offline_env_steps: environment steps in the histories, `collected` by all actors and
            `distilled` (kept actors' learning episodes that subsampling kept), summed over seeds.
        versions: of the packages that shaped it.
        commit: of the code.
        machine: kind of machine.
    """

    device: str
    threads: int
    command: str
    stage_seconds: Mapping[str, float | None] = field(default_factory=dict)
    throughput: Mapping[str, float | None] = field(default_factory=dict)
    peak_memory_bytes: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    source_privileged: bool | None = None
    offline_env_steps: Mapping[str, int | None] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=provenance.versions)
    commit: str | None = field(default_factory=provenance.commit)
    machine: Mapping[str, str | int] = field(default_factory=provenance.machine)


def build_results(
    config: RunConfig,
    evaluations: Mapping[tuple[str, int, str], Rollout],
    *,
    family: TaskFamily,
    facts: Facts,
    training: Mapping[tuple[str, int], Training] | None = None,
    resamples: int = stats.RESAMPLES,
) -> dict[str, Any]:
    """The record of a run, ready for `write_results`.

    A row that lacks one of the run's seeds is left out and named in `incomplete`; a row that was
    not run is absent.

    Args:
        config: the run's.
        evaluations: roll-outs by (method, seed, test set).
        family: the environment's; gives task ids and the returns of random and optimal play.
        facts: what only the run knows.
        training: by (method, seed).
        resamples: bootstrap draws of each interval.

    Raises:
        ResultsError: nothing was evaluated, or what was does not fit together.
    """
    test_sets = [
        name
        for name in config.evaluate.scored(family.test_sets)
        if any(key[2] == name for key in evaluations)
    ]
    if not test_sets:
        raise ResultsError(
            f"{config.env}: nothing was evaluated yet; there are no results. "
            "Run `adbench evaluate DIR`."
        )
    held_out = {
        name: _held_out(name, config, evaluations, family, resamples=resamples)
        for name in test_sets
    }
    records = {name: held_out_record(each) for name, each in held_out.items()}
    headline = records[test_sets[0]]
    trained = _by_method(training or {}, config.seeds)
    raw = {
        "schema": SCHEMA,
        "env": config.env,
        "env_version": family.version,
        "preset": config.preset,
        "seeds": config.seeds,
        "split": _split(config, family, held_out),
        "device": facts.device,
        "threads": facts.threads,
        "machine": facts.machine,
        "versions": facts.versions,
        "commit": facts.commit,
        "command": facts.command,
        "config": config.model_dump(mode="json"),
        "stage_seconds": {
            stage: facts.stage_seconds.get(stage)
            for stage in ("collect", "train", "evaluate", "report")
        },
        "throughput": {
            rate: facts.throughput.get(rate)
            for rate in (
                "collect_env_steps_per_s",
                "train_tokens_per_s",
                "evaluate_env_steps_per_s",
            )
        },
        "peak_memory_bytes": {
            kind: {
                stage: facts.peak_memory_bytes.get(kind, {}).get(stage)
                for stage in ("collect", "train", "evaluate")
            }
            for kind in ("process", "gpu")
        },
        "updates": {method: each["updates"] for method, each in trained.items()},
        "tokens": {method: each["tokens"] for method, each in trained.items()},
        "parameters": {method: each["parameters"] for method, each in trained.items()},
        "intervals": {
            "confidence": stats.CONFIDENCE,
            "resamples": resamples,
            "over": held_out[test_sets[0]].resamples.over,
        },
        "headline": test_sets[0],
        **headline,
        "test_sets": records,
        "data_efficiency": _data_efficiency(config, held_out[test_sets[0]], facts),
    }
    results: dict[str, Any] = plain(raw)
    return results


def _held_out(
    name: str,
    config: RunConfig,
    evaluations: Mapping[tuple[str, int, str], Rollout],
    family: TaskFamily,
    *,
    resamples: int,
) -> HeldOut:
    from adbench.noise import generator  # imports torch, which reading results does not need

    rollouts = {
        (method, seed): each for (method, seed, of), each in evaluations.items() if of == name
    }
    baselines = {}
    for seed in config.seeds:
        tasks = next(
            (each.tasks for (_, of_seed), each in rollouts.items() if of_seed == seed), None
        )
        if tasks is None:
            raise ResultsError(
                f"test set {name}: nothing was evaluated with seed {seed}. Run `adbench evaluate`."
            )
        baselines[seed] = Baseline(family.random_return(tasks), family.optimal_return(tasks))
    return gather(
        name,
        rollouts,
        baselines,
        methods=config.methods,
        episodes=config.evaluate.episodes,
        generator=generator("intervals", name),
        resamples=resamples,
        goal_within=family.max_episode_steps if family.ends_at_goal else None,
    )


def _split(
    config: RunConfig, family: TaskFamily, held_out: Mapping[str, HeldOut]
) -> dict[str, Any]:
    """Ids of the tasks learnt from, chosen by and tested on; `test` is the headline's."""
    seed = config.tasks.split_seed
    ids = {
        "train": task_ids(family.tasks("train", config.tasks.train, seed=seed)),
        "validation": task_ids(family.tasks("validation", config.tasks.validation, seed=seed)),
        "test": [],
    }
    if config.evaluate.held_out == "test":
        ids["test"] = next(iter(held_out.values())).task_ids[0]
    return ids | {name: each.task_ids[0] for name, each in held_out.items()}


def _by_method(
    training: Mapping[tuple[str, int], Training], seeds: tuple[int, ...]
) -> dict[str, dict[str, Any]]:
    """What each row took in one seed: equal numbers as they are, unequal ones as their mean."""
    by_method = {}
    for method in METHODS:
        each = [training[method, seed] for seed in seeds if (method, seed) in training]
        if each:
            by_method[method] = {
                "updates": round(sum(one.updates for one in each) / len(each)),
                "tokens": round(sum(one.tokens for one in each) / len(each)),
                "parameters": each[0].parameters,
            }
    return by_method


def _data_efficiency(config: RunConfig, held_out: HeldOut, facts: Facts) -> dict[str, Any]:
    at_returns: list[float] = []
    if held_out.targets and held_out.optimal is not None:
        world = WORLDS.get(config.env)
        at_returns = round_returns(
            float(stats.mean(held_out.random)),
            float(stats.mean(held_out.optimal)),
            world.at_returns if world else (),
        )
    record = compare_with_sources(
        held_out.streams,
        held_out.targets,
        method=OURS,
        subsample=config.train.subsample,
        actors=config.source.actors,
        at_returns=at_returns,
    )
    return record | {
        "source": config.source.name,
        "source_privileged": facts.source_privileged,
        "offline_env_steps": {
            key: facts.offline_env_steps.get(key) for key in ("collected", "distilled")
        },
    }
