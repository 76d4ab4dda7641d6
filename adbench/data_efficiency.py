"""Environment steps of one stream that a method needs, and its source for the same return.

S seeds, T tasks, E episodes, R resamples. N_m(x) is the number of environment steps of one stream
until the mean of five neighbouring episodes of method m's all-lane curve first reaches the return
x. A ratio N_source / N_ad above 1 says that AD needs less.

Two forms, because they answer two questions. *Single stream*: one AD stream against one stream of
the source, which is what AD is trained on. *Total*: against the sum over the actors that feed one
network, which is what the paper plots; it has no meaning for independent learners. A learner that
merely copied every k-th episode of a history would be about k times as fast as its source, so that
ratio stands beside AD's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adbench.stats import CONFIDENCE, Floats, Resamples, first_reaching, mean

WINDOW_EPISODES = 5
"""Episodes over which a curve is averaged before it is compared with a target."""

SHARES = (50, 90)
"""Targets, as percentages of the way from random to optimal."""

SOURCES = ("source-best", "source")
"""Rows to compare with; the first that was run is the headline."""


@dataclass(frozen=True)
class Target:
    """A return to reach.

    Attributes:
        value: the return.
        draws: the same in each resample, [R], where it depends on the tasks drawn; else the return
            itself.
    """

    value: float
    draws: Floats | float


@dataclass(frozen=True)
class Stream:
    """What a method's streams did, lanes already averaged within tasks.

    Attributes:
        name: the method, or what to call it.
        returns: return of each episode, [S, T, E].
        steps: environment steps of each episode, [S, T, E].
        resamples: the test set's draws.
    """

    name: str
    returns: Floats
    steps: Floats
    resamples: Resamples

    def every(self, k: int) -> Stream:
        """The stream of a learner that lives through episodes k, 2k, 3k and so on alone."""
        name = (
            f"copying episodes {k}, {2 * k}, {3 * k} and so on of {self.name}"
            if k > 1
            else f"copying {self.name}"
        )
        return Stream(
            name, self.returns[..., k - 1 :: k], self.steps[..., k - 1 :: k], self.resamples
        )

    @cached_property
    def curve(self) -> Floats:
        """Return of each episode, all lanes averaged, [E]."""
        return mean(np.moveaxis(self.returns, -1, 0))

    @cached_property
    def total_steps(self) -> Floats:
        """Environment steps of one stream up to the end of each episode, [E]."""
        return np.cumsum(mean(np.moveaxis(self.steps, -1, 0)))

    @cached_property
    def drawn(self) -> tuple[Floats, Floats]:
        """`curve` and `total_steps` of each resample, [R, E]."""
        return self.resamples.means(self.returns), np.cumsum(
            self.resamples.means(self.steps), axis=-1
        )

    def episodes_to(self, target: Target) -> int | None:
        """The last of the five episodes whose mean first reaches the target; none: never."""
        return int(first_reaching(self.curve, target.value, window=WINDOW_EPISODES)) or None

    def steps_to(self, target: Target) -> float | None:
        """N(x); none: never reached."""
        episode = self.episodes_to(target)
        return None if episode is None else float(self.total_steps[episode - 1])

    def drawn_steps_to(self, target: Target) -> Floats:
        """N(x) of each resample, [R]; infinite: never reached."""
        curves, total_steps = self.drawn
        episode = first_reaching(curves, target.draws, window=WINDOW_EPISODES)
        at = np.take_along_axis(total_steps, np.maximum(episode - 1, 0)[:, None], axis=1)[:, 0]
        return np.where(episode > 0, at, np.inf)

    def why_not(self, target: Target) -> str | None:
        """Why the target is never reached; none where it is."""
        if self.episodes_to(target) is not None:
            return None
        episodes = len(self.curve)
        if episodes < WINDOW_EPISODES:
            few = f"fewer than the {WINDOW_EPISODES} that are averaged"
            return f"{self.name} played {episodes} episodes, {few}"
        return (
            f"{self.name} never reached a {WINDOW_EPISODES}-episode mean return of "
            f"{target.value:.4g} in its {episodes} episodes "
            f"({self.total_steps[-1]:.0f} environment steps)"
        )


def ratio(theirs: Stream, ours: Stream, target: Target) -> tuple[float | None, str | None]:
    """N_theirs(x) / N_ours(x), or none and the reason."""
    their_steps, our_steps = theirs.steps_to(target), ours.steps_to(target)
    if their_steps is None or our_steps is None:
        return None, "; ".join(why for stream in (ours, theirs) if (why := stream.why_not(target)))
    return their_steps / our_steps, None


def ratio_interval(
    theirs: Stream, ours: Stream, target: Target
) -> tuple[float | None, float | None]:
    """Interval of N_theirs / N_ours over the same resamples of both.

    In a resample either may never reach the target: never ours makes the ratio 0, never theirs
    makes it infinite, never either counts against both bounds. A bound that comes out as 0 or
    infinite is none.
    """
    if ours.resamples.over == "nothing":
        return None, None
    with np.errstate(invalid="ignore"):
        ratios = theirs.drawn_steps_to(target) / ours.drawn_steps_to(target)
    tail = (1.0 - CONFIDENCE) / 2.0
    low = np.quantile(np.where(np.isnan(ratios), 0.0, ratios), tail, method="lower")
    high = np.quantile(np.where(np.isnan(ratios), np.inf, ratios), 1.0 - tail, method="higher")
    return (float(low) if low > 0 else None), (float(high) if math.isfinite(high) else None)


def share_targets(random: Floats, optimal: Floats, resamples: Resamples) -> dict[str, Target]:
    """50 % and 90 % of the way from random to optimal, by their percentage.

    Args:
        random: [S, T].
        optimal: [S, T].
        resamples: the test set's draws; easier tasks drawn make a target easier.
    """
    low, high = float(mean(random)), float(mean(optimal))
    low_draws, high_draws = resamples.means(random), resamples.means(optimal)
    return {
        str(share): Target(
            low + share / 100 * (high - low), low_draws + share / 100 * (high_draws - low_draws)
        )
        for share in SHARES
    }


def round_returns(random: float, optimal: float, extra: Sequence[float] = ()) -> list[float]:
    """About six round returns between random and optimal, and those of `extra` in between."""
    room = optimal - random
    if not room > 0:
        return []
    power = 10.0 ** math.floor(math.log10(room / 6))
    step = next(power * size for size in (1.0, 2.0, 2.5, 5.0, 10.0) if room <= 7 * power * size)
    first = math.floor(random / step)
    multiples = [step * i for i in range(first, first + 10)]
    inside = {float(f"{x:.6g}") for x in (*multiples, *extra)}
    return sorted(x for x in inside if random < x < optimal)


def compare_with_sources(
    streams: Mapping[str, Stream],
    targets: Mapping[str, Target],
    *,
    method: str = "ad",
    subsample: int,
    actors: int,
    at_returns: Sequence[float],
) -> dict[str, Any]:
    """Steps of every method to each target, and one method's ratios to its sources in both forms.

    Args:
        streams: method -> stream; `source` and `source-best` unsubsampled and in full length.
        targets: 50 % and 90 %, or nothing where no optimum is known.
        method: whose efficiency it is.
        subsample: every k-th episode of a history was trained on.
        actors: streams that share one network on one task.
        at_returns: absolute returns to compare at as well.

    Returns:
        The `data_efficiency` record of results.json, without what only the run knows.
    """
    ours = streams.get(method)
    against = next((name for name in SOURCES if name in streams), None)
    by_source = {
        name: _against(
            streams[name], ours, targets, copied=streams.get("source"), k=subsample, actors=actors
        )
        for name in SOURCES
        if name in streams and ours is not None
    }
    nothing: dict[str, dict[str, float | None]] = {
        form: {str(share): None for share in SHARES}
        for form in ("vs_source_single_stream", "vs_source_total")
    }
    record: dict[str, Any] = {
        "method": method,
        "against": against,
        "window_episodes": WINDOW_EPISODES,
        "targets": {str(share): targets[str(share)].value if targets else None for share in SHARES},
        "steps": {
            name: {
                str(share): stream.steps_to(targets[str(share)]) if targets else None
                for share in SHARES
            }
            for name, stream in streams.items()
        },
        **nothing,
        "reasons": {},
        "at_returns": [],
        "subsampling_k": subsample,
        "actors": actors,
        "by_source": by_source,
    }
    why = None
    if ours is None:
        why = f"no {method} row was run"
    elif against is None:
        why = "no source row was run"
    elif not targets:
        why = "the optimal return is not known"
    if why is not None:
        record["reasons"] = {f"{form}.{share}": why for form in nothing for share in SHARES}
    if ours is None or against is None:
        return record
    if why is None:
        headline = by_source[against]
        record |= {form: headline[form] for form in nothing} | {"reasons": headline["reasons"]}
    record["at_returns"] = [
        _at_return(value, streams[against], ours, actors) for value in at_returns
    ]
    return record


def _against(
    theirs: Stream,
    ours: Stream,
    targets: Mapping[str, Target],
    *,
    copied: Stream | None,
    k: int,
    actors: int,
) -> dict[str, Any]:
    """Ratios to one source at each target, and those of copying every k-th distilled episode."""
    record: dict[str, Any] = {
        "vs_source_single_stream": {},
        "single_stream_interval": {},
        "vs_source_total": {},
        "copying_ratio": {},
    }
    reasons: dict[str, str] = {}

    def put(form: str, key: str, value: float | None, why: str | None) -> None:
        record[form][key] = value
        if value is None:
            reasons[f"{form}.{key}"] = str(why)

    for key, target in targets.items():
        single, why = ratio(theirs, ours, target)
        put("vs_source_single_stream", key, single, why)
        record["single_stream_interval"][key] = list(ratio_interval(theirs, ours, target))
        if actors == 1:
            why = "the learners are independent: no actors share a network, so there is no total"
        put("vs_source_total", key, _total(single, actors), why)
        # AD is trained on the histories of `source`, whichever source it is compared with.
        if copied is None:
            put("copying_ratio", key, None, "no source row was run, so there is nothing to copy")
        else:
            put("copying_ratio", key, *ratio(theirs, copied.every(k), target))
    return record | {"reasons": reasons}


def _total(single: float | None, actors: int) -> float | None:
    return None if single is None or actors == 1 else actors * single


def _at_return(value: float, theirs: Stream, ours: Stream, actors: int) -> dict[str, Any]:
    target = Target(value, value)
    single, why = ratio(theirs, ours, target)
    return {
        "return": value,
        "steps": ours.steps_to(target),
        "source_steps": theirs.steps_to(target),
        "ratio_single": single,
        "ratio_single_interval": list(ratio_interval(theirs, ours, target)),
        "ratio_total": _total(single, actors),
        "reason": why,
    }
