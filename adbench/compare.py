"""Runs side by side: scores, what differs between them, and what makes them hard to compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.errors import UsageError
from adbench.report.numbers import NOTHING, bounds, fixed, seconds, short
from adbench.report.table import aligned
from adbench.results_file import read_results

_SCORES = (
    "final_mean",
    "final_mean_interval",
    "worst_quarter_mean",
    "share_under_half",
    "auc",
    "final_return",
    "episodes_to_50",
    "episodes_to_90",
)
# Where a run lies and what it is called say nothing of what it is.
_NOT_CONFIG = ("preset",)


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Set runs of one environment side by side.

    Args:
        folders: the runs', two or more.

    Returns:
        `env`; `runs`: a record each (folder, preset, seeds, device, commit, test_sets{NAME:
        {METHOD: scores}}, data_efficiency, stage_seconds); `differing`: configuration field -> its
        value in each run; `warnings`.

    Raises:
        UsageError: fewer than two runs, or runs of different environments.
        ResultsError: a run without results, or with damaged ones.
    """
    if len(folders) < 2:
        raise UsageError(f"{len(folders)} run was named; name two or more: adbench compare DIR DIR")
    found = {str(folder): read_results(folder) for folder in folders}
    if len(found) < len(folders):
        raise UsageError("a run was named twice; name two or more different ones.")
    _refuse_different_worlds(found)
    everything = list(found.values())
    return {
        "env": everything[0]["env"],
        "runs": [_run(folder, results) for folder, results in found.items()],
        "differing": _differing([results["config"] for results in everything]),
        "warnings": _warnings(found),
    }


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """A comparison as plain text: scores, data efficiency, times, differing fields, warnings."""
    runs = comparison["runs"]
    names = _short_names([run["folder"] for run in runs])
    parts = []
    for test_set in _in_order(name for run in runs for name in run["test_sets"]):
        scores = [run["test_sets"].get(test_set, {}) for run in runs]
        methods = _in_order(method for each in scores for method in each)
        lines = [[f"{test_set}: score", *names]]
        lines += [[method, *(_score(each.get(method)) for each in scores)] for method in methods]
        parts.append(aligned(lines))
    efficiency = [run["data_efficiency"] for run in runs]
    lines = [["ad and its making", *names]]
    for share in ("50", "90"):
        ratios = [fixed(each["vs_source_single_stream"][share]) for each in efficiency]
        lines.append([f"data efficiency, single stream, to {share} %", *ratios])
    lines.append(["every k-th episode, k", *(short(each["subsampling_k"]) for each in efficiency)])
    for stage in ("collect", "train", "evaluate"):
        lines.append([f"{stage} time", *(seconds(run["stage_seconds"][stage]) for run in runs)])
    parts.append(aligned(lines))
    if comparison["differing"]:
        lines = [["differing configuration", *names]]
        for name, values in comparison["differing"].items():
            lines.append([name, *(NOTHING if value is None else str(value) for value in values)])
        parts.append(aligned(lines))
    parts += [f"warning: {warning}" for warning in comparison["warnings"]]
    return "\n\n".join(parts)


def _refuse_different_worlds(found: Mapping[str, Mapping[str, Any]]) -> None:
    worlds = {
        folder: f"{each['env']} (version {each['env_version']})" for folder, each in found.items()
    }
    if len(set(worlds.values())) > 1:
        which = ", ".join(f"{folder}: {world}" for folder, world in worlds.items())
        raise UsageError(
            f"these runs are of different environments: {which}. Returns of different worlds have "
            "no common unit, and a raised version says that scores stopped being comparable. "
            "Compare runs of one environment."
        )


def _run(folder: str, results: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "folder": folder,
        **{key: results[key] for key in ("preset", "seeds", "device", "commit", "stage_seconds")},
        "test_sets": {
            name: {
                method: {key: score[key] for key in _SCORES}
                for method, score in record["scores"].items()
            }
            for name, record in results["test_sets"].items()
        },
        "data_efficiency": {
            key: results["data_efficiency"][key]
            for key in ("against", "vs_source_single_stream", "vs_source_total", "subsampling_k")
        },
    }


def _differing(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Dotted fields whose values are not the same in all configurations; None: not there."""
    flat = [dict(flattened(config)) for config in configs]
    names = _in_order(name for each in flat for name in each)
    values = {name: [each.get(name) for each in flat] for name in names if name not in _NOT_CONFIG}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def flattened(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Every setting of a configuration by its dotted name."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _warnings(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    everything = list(found.values())
    warnings = []

    def differ(what: str, values: Sequence[Any], so: str) -> None:
        if any(value != values[0] for value in values):
            warnings.append(f"the runs differ in {what}: {so}.")

    for name in _in_order(name for each in everything for name in each["test_sets"]):
        ids = [each["test_sets"].get(name, {}).get("task_ids") for each in everything]
        if all(each is not None for each in ids):
            sets = [sorted(map(str, each[0])) for each in ids]
            differ(f"the tasks of test set {name}", sets, "their scores are not on the same tasks")
        else:
            warnings.append(f"not every run was evaluated on test set {name}.")
    differ(
        "evaluate.episodes",
        [each["config"]["evaluate"]["episodes"] for each in everything],
        "the last tenth of episodes, which is scored, comes at different times",
    )
    differ(
        "the number of seeds", [len(each["seeds"]) for each in everything], "so do their intervals"
    )
    differ(
        "the machine",
        [(each["device"], each["threads"], each["machine"]) for each in everything],
        "times and rates are not comparable",
    )
    differ("versions", [each["versions"] for each in everything], "results may differ by rounding")
    differ("the code's commit", [each["commit"] for each in everything], "the code is not the same")
    estimated = [folder for folder, each in found.items() if each["optimal_estimated"]]
    if estimated:
        warnings.append(
            f"in {', '.join(estimated)} the optimal return is an estimate, the best of the run's "
            "own source: normalised scores of such runs have different units."
        )
    return warnings


def _score(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return NOTHING
    return f"{fixed(score['final_mean'])} {bounds(score['final_mean_interval'])}".rstrip()


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _short_names(folders: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    parts = [Path(folder).resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(folders)
