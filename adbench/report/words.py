"""What results say, in sentences made from the numbers, with what they do not show beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from adbench.data_efficiency import SHARES, SOURCES
from adbench.report.numbers import bounds, fixed, large, ordinal, percent, short

Results = Mapping[str, Any]

_COMPARE_AT = 20
"""Episode at which AD is set against the other rows, where it was played."""

_WIDTH = 100
"""Columns of a terminal that a line of ours takes at most."""

_FEW_SEEDS = 5
"""With fewer seeds than this the intervals are clearly too narrow (docs/statistics.md)."""


def setting(results: Results, test_set: str) -> str:
    """One line: which world, which tasks, how many seeds and episodes."""
    record = results["test_sets"][test_set]
    optimal = record["optimal_return"]
    known = "" if optimal is None else f", optimal {short(optimal)}"
    known += " (estimated: the best of the source)" if record["optimal_estimated"] else ""
    tasks, seeds = len(record["task_ids"][0]), len(results["seeds"])
    return (
        f"{results['env']} {results['preset']}, {test_set}: {count(tasks, 'task')}, "
        f"{count(seeds, 'seed')}, {count(episodes(record), 'episode')}; "
        f"random {short(record['random_return'])}{known}"
    )


def count(amount: int, noun: str) -> str:
    """An amount of something: 1 task, 16 tasks."""
    return f"{amount} {noun}{'' if amount == 1 else 's'}"


def episodes(record: Mapping[str, Any]) -> int:
    """K of a test set: episodes of the rows that share one axis."""
    lengths = {name: len(curve["episode"]) for name, curve in record["curves"].items()}
    shared = [length for name, length in lengths.items() if name not in SOURCES]
    return max(shared or lengths.values())


def summary(results: Results) -> str:
    """What the main figure shows, in a sentence or two."""
    scores = results["scores"]
    if "ad" not in scores:
        return "AD was not run; these are rows that it would be compared with."
    first, last = (scores["ad"]["at_episodes"][i] for i in (0, -1))
    text = (
        f"On {count(len(results['task_ids'][0]), 'task')} that it has never seen, the frozen "
        f"transformer goes from a return of {short(first['return'])} in its first episode to "
        f"{short(last['return'])} in episode {last['episode']}"
    )
    if last["share_of_optimal"] is not None:
        best = short(results["optimal_return"])
        text += f", which is {percent(last['share_of_optimal'])} of the {best} that is optimal"
    text += f". Random actions earn {short(results['random_return'])}."
    source = next((name for name in SOURCES if name in scores), None)
    if source is not None:
        at = scores[source]["at_episodes"][-1]
        text += (
            f" The source, which learns each task anew, is at {short(at['return'])} in episode "
            f"{at['episode']}{' with its best settings' if source == 'source-best' else ''}."
        )
    return text


def sight(results: Results) -> str | None:
    """What the transformer sees of a world of frames, and what else its encoder learnt; none where
    there is nothing of it."""
    config = results["config"]
    world, parts = config.get("env_settings", {}), []
    if {"height", "width"} <= world.keys():
        samples = f"{count(world.get('samples', 1), 'sample')} a pixel"
        parts.append(f"{world['height']} x {world['width']} pixels, {samples}")
        parts.append(f"read by the encoder {config['model']['encoder']!r}")
    if config["train"].get("auxiliary", "none") != "none":
        parts.append(
            f"which also learnt {config['train']['auxiliary']} (weight "
            f"{short(config['train']['auxiliary_weight'])})"
        )
    return ", ".join(parts) or None


def intervals(results: Results) -> str:
    """What the bands are, and what they are not."""
    how, seeds = results["intervals"], len(results["seeds"])
    sure, draws = percent(how["confidence"]), how["resamples"]
    if how["over"] == "nothing":
        return "There are no intervals: of one seed and one task nothing can be resampled."
    if how["over"] == "tasks":
        return (
            f"Bands are {sure} bootstrap intervals over tasks ({draws} resamples). There is one "
            "seed, so they say nothing of how another training run would turn out."
        )
    text = (
        f"Bands are {sure} stratified bootstrap intervals over {how['over']} ({draws} resamples: "
        "seeds are drawn, then tasks within them)."
    )
    if seeds < _FEW_SEEDS:
        text += f" With {seeds} seeds they tend to be too narrow; see docs/statistics.md."
    return text


def difference_lines(results: Results) -> list[str]:
    """AD minus each other row that was rolled out, at one episode, a line each."""
    lines, on = [], on_set(results)
    for name, record in results["differences"].items():
        if name in ("random", "optimal"):
            continue
        at = [each for each in record["at_episodes"] if each["episode"] <= _COMPARE_AT][-1]
        difference = f"{fixed(at['mean'])} {bounds((at['ci_low'], at['ci_high']))}".rstrip()
        lines.append(f"ad minus {name}{on}, return at episode {at['episode']}: {difference}")
    return lines


def on_set(results: Results, test_set: str | None = None) -> str:
    """Of which test set a line speaks, where there are several: " on test"; none: the headline."""
    several = len(results["test_sets"]) > 1
    return f" on {test_set or results['headline']}" if several else ""


def data_efficiency_lines(results: Results) -> list[str]:
    """For the terminal: the single-stream ratios and what stands beside them; or nothing."""
    record = results["data_efficiency"]
    against = record["by_source"].get(record["against"])
    if against is None:
        return []
    lines = [
        f"data efficiency{on_set(results)}, steps of {record['against']} / steps of ad, "
        f"single stream, k = {record['subsampling_k']}:"
    ]
    for share in map(str, SHARES):
        value = record["vs_source_single_stream"][share]
        if value is None:
            why = record["reasons"][f"vs_source_single_stream.{share}"]
            lines.append(f"to {share} %: none ({why})")
            continue
        copying = against["copying_ratio"].get(share) if record["subsampling_k"] > 1 else None
        beside = "" if copying is None else f" (copying gives {fixed(copying)})"
        within = bounds(against["single_stream_interval"][share])
        lines.append(f"to {share} %: {fixed(value)} {within}".rstrip() + beside)
    return wrapped(lines[:1]) + wrapped(lines[1:], indent="  ")


def wrapped(lines: list[str], indent: str = "") -> list[str]:
    """Lines that fit a terminal; what goes on is indented."""
    return [
        piece
        for line in lines
        for piece in textwrap.wrap(line, _WIDTH, initial_indent=indent, subsequent_indent="    ")
    ]


def data_efficiency_sentences(results: Results) -> list[str]:
    """The ratios in both forms, then their caveats."""
    record = results["data_efficiency"]
    if "ad" not in results["scores"]:
        return ["AD was not run, so there is nothing to compare."]
    if record["against"] is None:
        return ["No source was run, so there is nothing to compare AD with."]
    return [
        *(_target(record, str(share)) for share in SHARES),
        _total(record),
        *_caveats(record),
    ]


def _target(record: Mapping[str, Any], share: str) -> str:
    against, target = record["against"], record["targets"][share]
    value = record["vs_source_single_stream"][share]
    start = f"{share} % of the way from random to optimal"
    if target is not None:
        start += f", a return of {short(target)}"
    if value is None:
        return (
            f"{start}: no ratio, because {record['reasons'][f'vs_source_single_stream.{share}']}."
        )
    ours, theirs = (record["steps"][name][share] for name in ("ad", against))
    within = bounds(record["by_source"][against]["single_stream_interval"][share])
    return (
        f"{start}: AD needs {short(ours)} environment steps, one stream of the source"
        f"{' with its best settings' if against == 'source-best' else ''} {short(theirs)}. "
        f"That is {fixed(value)} times as many {within}".rstrip()
        + "."
    )


def _total(record: Mapping[str, Any]) -> str:
    if record["actors"] == 1:
        return (
            "In total steps there is no ratio: the learners are independent. (The paper sets the "
            "steps of all actors that share one network against one AD stream.)"
        )
    totals = [
        f"{short(record['vs_source_total'][share])} at {share} %"
        for share in map(str, SHARES)
        if record["vs_source_total"][share] is not None
    ]
    return (
        f"In total steps of the {record['actors']} actors that share one network, as the paper "
        f"counts: {' and '.join(totals) or 'no ratio'}. AD is trained on single streams, so the "
        "single-stream ratio is the one to judge by."
    )


def _caveats(record: Mapping[str, Any]) -> list[str]:
    k, against = record["subsampling_k"], record["against"]
    copying = record["by_source"][against]["copying_ratio"]
    shown = [f"{fixed(copying[s])} at {s} %" for s in map(str, SHARES) if copying.get(s)]
    found = [
        "AD was trained on every episode of the histories: none of its speed is from skipping."
    ]
    if k > 1:
        found = [
            f"AD was trained on every {ordinal(k)} episode of the histories. A learner that merely "
            f"copied those would have a ratio of {' and '.join(shown) or 'no number'}."
        ]
    distilled, collected = (record["offline_env_steps"][key] for key in ("distilled", "collected"))
    if distilled is not None:
        whole = "" if collected is None else f" (of {large(collected)} collected)"
        found.append(
            f"Before its first step on a held-out task AD read {large(distilled)} environment "
            f"steps{whole} of other tasks; the source starts with none."
        )
    if record["source_privileged"]:
        found.append("The source sees what the agent does not, which makes its task easier.")
    if against != "source-best":
        found.append("The source has the settings of this run; better ones may need fewer steps.")
    found.append(
        f"A return counts as reached once the mean of {record['window_episodes']} neighbouring "
        "episodes, over all lanes, is at least that."
    )
    return found
