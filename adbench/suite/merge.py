"""Seeds of one world side by side, though each was run by itself: from results.json alone.

S seeds, T tasks, K episodes of an evaluation, E episodes of a row in full length. What comes out
is what one run of all these seeds would have said: results.json keeps returns task by task, and
intervals are drawn as a run draws its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench import stats
from adbench.config import METHODS
from adbench.errors import ResultsError
from adbench.stats import Floats, Resamples, Statistic

STATISTICS: dict[str, Statistic] = {
    "final_mean": stats.mean,
    "worst_quarter_mean": stats.worst_quarter_mean,
    "share_under_half": stats.share_under_half,
    "iqm": stats.iqm,
}
"""Of final normalised scores, by their names in results.json."""


@dataclass(frozen=True)
class Piece:
    """Some seeds of one results.json.

    Attributes:
        path: the file.
        results: what it says.
        seeds: those that are used, in its order.
    """

    path: str
    results: Mapping[str, Any]
    seeds: tuple[int, ...]

    @property
    def places(self) -> list[int]:
        """Where the used seeds stand in lists by seed."""
        return [self.results["seeds"].index(seed) for seed in self.seeds]


@dataclass(frozen=True)
class Curve:
    """A row in full length, each seed's lanes and tasks averaged.

    Attributes:
        returns: of each episode, [S, E]; seeds of one file share its mean.
        steps: environment steps of one stream up to its end, [S, E]; none: computed, not played.
        low: lower end of the file's own interval, [S, E]; none: a file has none.
        high: its upper end, alike.
    """

    returns: Floats
    steps: Floats | None
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True, eq=False)  # arrays are no key; it is itself alone
class World:
    """All seeds of one environment, configuration and test set.

    Attributes:
        name: what it is called.
        env: the environment.
        context_steps: its context length, where several are compared; else none.
        series: which of several studies it belongs to; may be empty.
        pieces: where its numbers are from.
        seeds: S of them.
        test_set: whose tasks are scored.
        episodes: K.
        returns: of rows, lanes averaged, [S, T, K or fewer].
        lanes: behind each point of a row; 0: computed.
        random: expected return of random actions, [S, T]; none: not in the results.
        optimal: of the best policy, [S, T]; none: not in the results.
        curves: rows in full length.
        incomplete: rows that lack these seeds, and are left out.
    """

    name: str
    env: str
    context_steps: int | None
    series: str
    pieces: tuple[Piece, ...]
    seeds: tuple[int, ...]
    test_set: str
    episodes: int
    returns: Mapping[str, Floats]
    lanes: Mapping[str, int]
    random: Floats | None
    optimal: Floats | None
    curves: Mapping[str, Curve]
    incomplete: Mapping[str, list[int]]

    @property
    def results(self) -> Mapping[str, Any]:
        """Of its first file: configuration and all that the files share."""
        return self.pieces[0].results

    @property
    def num_tasks(self) -> int:
        """T."""
        return int(next(iter(self.returns.values())).shape[1])

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Tasks with room between random and optimal in every seed, [T]."""
        if self.random is None or self.optimal is None:
            return np.zeros(self.num_tasks, np.bool_)
        room = stats.has_room(self.random, self.optimal)
        return np.asarray(room.all(axis=0))

    @cached_property
    def _draws(self) -> tuple[Resamples, Resamples]:
        from adbench.noise import generator  # torch

        source = generator("intervals", self.test_set)
        how_many = int(self.results["intervals"]["resamples"])
        seeds, scored = len(self.seeds), int(self.scored.sum())
        drawn = stats.draw_resamples(seeds, self.num_tasks, source, resamples=how_many)
        if not 0 < scored < self.num_tasks:
            return drawn, drawn
        return drawn, stats.draw_resamples(seeds, scored, source, resamples=how_many)

    @property
    def resamples(self) -> Resamples:
        """Draws among all tasks: those of a run with these seeds."""
        return self._draws[0]

    @property
    def scored_resamples(self) -> Resamples:
        """Draws among the scored tasks: those of a run with these seeds."""
        return self._draws[1]

    def final_returns(self, method: str) -> Floats:
        """Return of the last tenth of a row's episodes, [S, T]."""
        returns = self.returns[method]
        last: Floats = returns[..., stats.last_tenth(returns.shape[-1])].mean(axis=-1)
        return last

    def final_scores(self, method: str) -> Floats | None:
        """The same normalised, of the scored tasks alone, [S, T']; none where there are none."""
        if self.random is None or self.optimal is None or not self.scored.any():
            return None
        kept = self.scored
        low, high = self.random[:, kept], self.optimal[:, kept]
        return stats.normalise(self.final_returns(method)[:, kept], low, high)

    def drawn_scores(self, method: str) -> dict[str, Floats] | None:
        """`STATISTICS` of a row's final scores in each resample, [R] each; none where there are no
        scores, nothing was played or nothing drawn."""
        scores, drawn = self.final_scores(method), self.scored_resamples
        if scores is None or not self.lanes[method] or drawn.over == "nothing":
            return None
        taken = drawn.take(scores)
        return {name: statistic(taken) for name, statistic in STATISTICS.items()}


def merge(
    pieces: Sequence[Piece], *, name: str, context_steps: int | None = None, series: str = ""
) -> World:
    """Put the seeds of some results of one configuration side by side.

    Args:
        pieces: no seed twice.
        name: what to call the world.
        context_steps: its context length, where several are compared.
        series: which of several studies it belongs to.

    Raises:
        ResultsError: the files are not of one environment, test set and set of tasks.
    """
    first = pieces[0].results
    for piece in pieces[1:]:
        _refuse_another(first, pieces[0].path, piece)
    seeds = tuple(seed for piece in pieces for seed in piece.seeds)
    assert len(set(seeds)) == len(seeds)
    # One run of these seeds would have them in order, and draw its intervals so.
    order = sorted(range(len(seeds)), key=lambda i: seeds[i])
    rows, incomplete = _rows(pieces)
    returns = {method: _side_by_side(pieces, method)[order] for method in rows}
    return World(
        name=name,
        env=first["env"],
        context_steps=context_steps,
        series=series,
        pieces=tuple(pieces),
        seeds=tuple(seeds[i] for i in order),
        test_set=first["headline"],
        episodes=int(first["config"]["evaluate"]["episodes"]),
        returns=returns,
        lanes={
            method: sum(
                piece.results["curves"][method]["n"][0]
                * len(piece.seeds)
                // len(piece.results["seeds"])
                for piece in pieces
            )
            for method in rows
        },
        random=returns["random"][..., 0] if "random" in returns else None,
        optimal=returns["optimal"][..., 0] if "optimal" in returns else None,
        curves={method: _curve(pieces, method, order) for method in rows},
        incomplete=incomplete,
    )


def _refuse_another(first: Mapping[str, Any], path: str, piece: Piece) -> None:
    for what in ("env", "env_version", "headline"):
        if piece.results[what] != first[what]:
            raise ResultsError(
                f"{path} and {piece.path} cannot be put together: their {what} is {first[what]!r} "
                f"and {piece.results[what]!r}."
            )
    if piece.results["task_ids"][0] != first["task_ids"][0]:
        raise ResultsError(
            f"{path} and {piece.path} cannot be put together: they were tested on different tasks."
        )


def _rows(pieces: Sequence[Piece]) -> tuple[list[str], dict[str, list[int]]]:
    """Rows that every piece has, and those that only some have with the seeds that lack them."""
    whole, incomplete = [], {}
    for method in METHODS:
        lacking = [s for p in pieces if method not in p.results["per_task"] for s in p.seeds]
        if not lacking:
            whole.append(method)
        elif len(lacking) < sum(len(piece.seeds) for piece in pieces):
            incomplete[method] = lacking
    return whole, incomplete


def _side_by_side(pieces: Sequence[Piece], method: str) -> Floats:
    """Returns of a row, [S, T, K or fewer]: sources may have played on for longer in one seed."""
    found = [
        np.asarray(piece.results["per_task"][method], np.float64)[piece.places] for piece in pieces
    ]
    shared = min(each.shape[-1] for each in found)
    return np.concatenate([each[..., :shared] for each in found])


def _curve(pieces: Sequence[Piece], method: str, order: Sequence[int]) -> Curve:
    found: dict[str, list[Floats]] = {}
    for piece in pieces:
        full, shown = piece.results["full_curves"], piece.results["curves"]
        curve = full[method] if method in full else shown[method]
        for name in ("mean", "env_steps", "ci_low", "ci_high"):
            if curve[name][0] is not None:
                values = np.asarray(curve[name], np.float64)
                found.setdefault(name, []).extend([values] * len(piece.seeds))
    shared = min(map(len, found["mean"]))

    def by_seed(name: str) -> Floats | None:
        if len(found.get(name, ())) < len(order):
            return None
        return np.stack([each[:shared] for each in found[name]])[order]

    returns = by_seed("mean")
    assert returns is not None
    return Curve(returns, by_seed("env_steps"), by_seed("ci_low"), by_seed("ci_high"))
