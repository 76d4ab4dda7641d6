"""What a context-length study says, in sentences computed from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adbench.report.numbers import bounds, fixed, large, ordinal, percent, short
from adbench.report.words import count
from adbench.suite.context_plan import BANDED, EXACT, SERIES
from adbench.suite.paper_context import paper_lengths

Record = Mapping[str, Any]
Point = Mapping[str, Any]


def pays_sentences(record: Record) -> list[str]:
    """Where longer stops paying, a sentence or two for each series; or why nothing can be said."""
    found = [
        sentence for name in SERIES if name in record["pays"] for sentence in _pays(record, name)
    ]
    return found or ["No run is finished yet, so nothing can be said of where longer stops paying."]


def _pays(record: Record, series: str) -> Iterator[str]:
    pays = record["pays"][series]
    points = {p["context_steps"]: p for p in record["points"] if p["series"] == series}
    if pays["at"] is None:
        yield f"{series}: the tasks have no optimum to score by, so lengths cannot be compared."
        return
    at = points[pays["at"]]
    score = f"a final score of {fixed(at['final_score'])}"
    if len(points) == 1:
        yield f"{series}: of one length nothing can be compared; {_said(record, at)} gives {score}."
        return
    if pays["longest"]:
        worth = pays["worth"]
        yield (
            f"{series}: up to {_said(record, at)}, the longest tried, longer still pays: it gives "
            f"{score}, {_gained(worth)} more than {_steps(series, worth['over'])}."
        )
        return
    best = max(pays["gains"], key=lambda gain: gain["difference"])
    longest = points[max(points)]
    unsure = "" if best["interval"] else " (with one seed and one task there are no intervals)"
    yield (
        f"{series}: longer stops paying at {_said(record, at)}, with {score}: no longer one is "
        f"better beyond the interval{unsure}. The best of them, "
        f"{_steps(series, best['context_steps'])}, differs by {_gained(best)}."
    )
    cost = _cost(at, longest)
    if cost:
        far, near = (_steps(series, each["context_steps"]) for each in (longest, at))
        yield f"{far} {cost} than {near}."


def _said(record: Record, point: Point) -> str:
    text = f"{_steps(point['series'], point['context_steps'])} ({short(point['context_episodes'])} "
    text += f"episodes of {record['episode_steps']} steps"
    if point["series"] == BANDED:
        text += f"; its {record['shared']['layers']} layers reach {point['reach_steps']:,} back"
    return f"{text})"


def _steps(series: str, steps: int) -> str:
    return f"{'c' if series == EXACT else 'W'} = {steps:,}"


def _gained(gain: Mapping[str, Any]) -> str:
    return f"{fixed(gain['difference'])} {bounds(gain['interval'])}".rstrip()


def _cost(at: Point, longest: Point) -> str:
    """How much slower the longest trains and acts; nothing where that was not measured."""
    parts = []
    for what, name in (
        ("trains", "train_tokens_per_s"),
        ("acts", "evaluate_env_steps_per_s"),
    ):
        if at[name] and longest[name]:
            times = at[name]["mean"] / longest[name]["mean"]
            if times >= 1.005:
                parts.append(f"{what} {fixed(times)} times slower")
            else:
                parts.append(f"{what} {fixed(1 / times)} times faster")
    return " and ".join(parts)


def paper_sentence(record: Record) -> str:
    """How the exact series stands to the paper's figure 7."""
    if not record["same_world_as_paper"]:
        return (
            "Grey, in the first panel: the paper's figure 7 (Laskin et al. 2022), which is of "
            "another world (Key-to-Door, episodes of 50 steps), so it lies on an axis of episodes "
            "and only its shape can be looked at. In its own world the two are compared: adbench "
            "suite run context --env key-to-door. Only the exact series is the paper's method."
        )
    ours = {p["context_steps"]: p for p in record["points"] if p["series"] == EXACT}
    both = [
        f"c = {each.context_steps}: {fixed(ours[each.context_steps]['final_return'])} "
        f"{bounds(ours[each.context_steps]['final_return_interval'])}".rstrip()
        + f", paper {fixed(each.final_return)}"
        for each in paper_lengths()
        if each.context_steps in ours
    ]
    if not both:
        return "No length of the exact series is one of the paper's figure 7."
    episodes = record["shared"]["evaluated_episodes"]
    return (
        f"The exact series beside the paper's figure 7 (Laskin et al. 2022), final returns: "
        f"{'; '.join(both)}. Ours are after {episodes} episodes, the paper's after 1,000; ours "
        "count c in tokens, of which an episode has one more than steps, and its sources, model "
        "and number of updates are others. The banded series is not the paper's method."
    )


def shared_sentence(record: Record) -> str:
    """What all lengths have in common, and what differs."""
    shared = record["shared"]
    seeds = count(len(record["seeds"]), "seed")
    return (
        f"Every training of a seed reads the same histories, every{_nth(shared['subsample'])} "
        f"episode of them, and {large(shared['trained_tokens'])} tokens: "
        f"{shared['updates']:,} updates of {shared['tokens_per_update']:,}; a longer row means "
        f"fewer rows. {shared['layers']} layers of width {shared['width']}; {seeds}."
    )


def _nth(k: int) -> str:
    return "" if k == 1 else f" {ordinal(k)}"


def intervals_sentence(record: Record) -> str:
    """What the bars are."""
    over = {point["intervals_over"] for point in record["points"]}
    sure = percent(record["confidence"])
    text = (
        f"Bars of scores are {sure} bootstrap intervals over {' or '.join(sorted(over))}; of data "
        "efficiency over seeds; of rates and memory they go from the lowest to the highest seed."
    )
    if record["runs_at_once"] > 1:
        text += f" {record['runs_at_once']} runs shared the machine while they were timed."
    return text
