"""Which episodes are trained on, and where their tokens lie.

H histories of a store, U of them chosen, M chosen episodes in all, B rows, L tokens a row, P pieces
of episodes in a batch. The chosen episodes of a history, one after the other, are its sequence of
tokens: an episode of n steps makes n + 1 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adbench.history.reader import HistoryStore


def learning_part(num_episodes: int, learning_episodes: int | None, subsample: int) -> np.ndarray:
    """Every k-th of a history's first episodes: k - 1, 2k - 1, ..., int64; so an early and a late
    one are both there.

    Args:
        num_episodes: episodes that the history has.
        learning_episodes: how many of them are its learning part; none: all.
        subsample: k.
    """
    stop = num_episodes if learning_episodes is None else min(num_episodes, learning_episodes)
    return np.arange(subsample - 1, stop, subsample)


@dataclass(frozen=True)
class ExpertParts:
    """The last episodes of the histories that had converged.

    Attributes:
        episodes: chosen episodes of each history that qualifies.
        best_share: greatest share of its optimum that any history reaches; minus infinity where
            none is long enough.
    """

    episodes: dict[int, np.ndarray]
    best_share: float


def expert_parts(
    store: HistoryStore,
    histories: np.ndarray,
    expert_episodes: int,
    share: float,
    optimal: Tensor | None,
) -> ExpertParts:
    """The last `expert_episodes` of each history where their mean return is at least `share` of the
    optimum.

    Args:
        store: the histories.
        histories: which of them may be chosen, int64.
        expert_episodes: how many last episodes.
        share: 0.9 of an optimum of 10 is 9, of one of -10 it is -11: the same distance below it.
        optimal: the task's optimum for each history of the store, [H]; none: the best mean among
            those of the same task.
    """
    means = np.full(store.num_histories, -np.inf)
    counts = {int(h): len(store.episode_ends(int(h))) for h in histories}
    for history, count in counts.items():
        if expert_episodes and count >= expert_episodes:
            means[history] = store.returns(history)[-expert_episodes:].mean(dtype=np.float64)
    if optimal is None:
        optimum = _best_of_task(store.tasks, means)
    else:
        optimum = optimal.detach().cpu().numpy().astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = 1.0 - (optimum - means) / np.abs(optimum)
    # float32 returns of a task whose optimum is reached exactly may fall short of it by their
    # rounding.
    reached = means >= optimum - (1.0 - share) * np.abs(optimum) - 1e-6 * np.maximum(
        1.0, np.abs(optimum)
    )
    chosen = {
        history: np.arange(count - expert_episodes, count)
        for history, count in counts.items()
        if reached[history] and np.isfinite(means[history])
    }
    shares = shares[np.isfinite(shares)]
    return ExpertParts(chosen, float(shares.max()) if len(shares) else -np.inf)


def _best_of_task(tasks: Tensor, means: np.ndarray) -> np.ndarray:
    _, task_of = torch.unique(tasks, dim=0, return_inverse=True)
    best = np.full(int(task_of.max()) + 1, -np.inf)
    np.maximum.at(best, task_of.numpy(), means)
    optimum: np.ndarray = best[task_of.numpy()]
    return optimum


@dataclass(frozen=True)
class Sequences:
    """The chosen episodes, history after history.

    Attributes:
        history: the store's number of each chosen history, int64 [U].
        begin: first token of each history, counted through all of them; then the end, int64 [U +
            1].
        token: the same for each episode, int64 [M + 1].
        shard: index of the shard where each episode lies, int64 [M].
        first_step: its first step among the shard's steps laid end to end, int64 [M].
        number: its place among the shard's episodes laid end to end, int64 [M].
    """

    history: np.ndarray
    begin: np.ndarray
    token: np.ndarray
    shard: np.ndarray
    first_step: np.ndarray
    number: np.ndarray

    @classmethod
    def lay_out(cls, store: HistoryStore, chosen: Mapping[int, np.ndarray]) -> Sequences:
        """Lay chosen episodes end to end, in the order in which they are given.

        Args:
            store: the histories.
            chosen: episodes of each history; at least one history, each with at least one episode.
        """
        lengths, first_steps, numbers = [], [], []
        for history, episodes in chosen.items():
            shard, row = store.shards[store.shard_of[history]], int(store.row_of[history])
            ends = store.episode_ends(history).astype(np.int64)
            starts = np.concatenate([[0], ends[:-1]])
            lengths.append((ends - starts)[episodes])
            first_steps.append(row * shard.num_steps + starts[episodes])
            numbers.append(row * shard.num_episodes + episodes)
        counts = [len(episodes) for episodes in lengths]
        token = np.concatenate([[0], np.cumsum(np.concatenate(lengths) + 1)])
        history_ids = np.fromiter(chosen, np.int64, len(chosen))
        return cls(
            history=history_ids,
            begin=token[np.cumsum([0, *counts])],
            token=token,
            shard=np.repeat(store.shard_of[history_ids], counts),
            first_step=np.concatenate(first_steps),
            number=np.concatenate(numbers),
        )


@dataclass(frozen=True)
class Part:
    """What a batch takes from one shard.

    Attributes:
        shard: which.
        rows: the batch's rows that come from it, int64 [R].
        counts: real tokens of each of them, int64 [R].
        tokens: where those are among the batch's real tokens.
        finals: where their final tokens are among the batch's.
    """

    shard: int
    rows: np.ndarray
    counts: np.ndarray
    tokens: slice
    finals: slice

    def put(self, values: np.ndarray, row_values: np.ndarray) -> None:
        """Write values of the part's tokens, [n, ...], into the batch's rows, [B, L, ...]."""
        length = row_values.shape[1]
        if (self.counts == length).all():
            row_values[self.rows] = values.reshape(-1, *row_values.shape[1:])
            return
        ends = np.cumsum(self.counts)
        for row, end, count in zip(self.rows, ends, self.counts, strict=True):
            row_values[row, :count] = values[end - count : end]


@dataclass(frozen=True)
class Pieces:
    """A batch of rows as pieces of episodes, resolved to places in the shards.

    V real tokens, F final ones, shard after shard, R rows of one shard. A place is an index into
    the batch, [B * L].

    Attributes:
        step: the step taken at each token, among its shard's; a final token has its episode's
            last, int64 [V].
        before: the step that led to each token; an episode's first token has its own, int64 [V].
        starts: places where episodes start, int64.
        finals: places of final tokens, int64 [F].
        number: the episode that ends there, among its shard's, int64 [F].
        parts: the above, shard by shard.
    """

    step: np.ndarray
    before: np.ndarray
    starts: np.ndarray
    finals: np.ndarray
    number: np.ndarray
    parts: tuple[Part, ...]

    @classmethod
    def between(
        cls, start: np.ndarray, stop: np.ndarray, row_steps: int, sequences: Sequences
    ) -> Pieces:
        """Resolve rows.

        Args:
            start: first token of each row, int64 [B].
            stop: one past its last; start < stop <= start + L, within one history, int64 [B].
            row_steps: L.
            sequences: where tokens lie.
        """
        first = np.searchsorted(sequences.token, start, side="right") - 1
        order = np.argsort(sequences.shard[first], kind="stable")
        start, stop, first = start[order], stop[order], first[order]
        row, offset = _ragged(np.searchsorted(sequences.token, stop) - first)
        episode = first[row] + offset
        begins, ends = sequences.token[episode], sequences.token[episode + 1]
        low, high = np.maximum(begins, start[row]), np.minimum(ends, stop[row])
        began, ended = low == begins, high == ends
        piece, offset = _ragged(high - low)
        past = np.cumsum(high - low)  # one past each piece's last token, [P]
        step = (sequences.first_step[episode] + low - begins)[piece] + offset
        before = step - 1
        before[(past - (high - low))[began]] += 1
        step[past[ended] - 1] -= 1
        place_of_low = order[row] * row_steps + low - start[row]
        finals = (place_of_low + high - low - 1)[ended]
        return cls(
            step=step,
            before=before,
            starts=place_of_low[began],
            finals=finals,
            number=sequences.number[episode][ended],
            parts=_parts(
                sequences.shard[first],
                order,
                stop - start,
                np.bincount(row[ended], minlength=len(start)),
            ),
        )


def _parts(
    shard: np.ndarray, rows: np.ndarray, counts: np.ndarray, finals: np.ndarray
) -> tuple[Part, ...]:
    """Cut rows that are sorted by shard; `counts` and `finals` are tokens of each, int64 [B]."""
    shards, first = np.unique(shard, return_index=True)
    bounds = [*first.tolist(), len(shard)]
    token_end = np.concatenate([[0], np.cumsum(counts)])[bounds].tolist()
    final_end = np.concatenate([[0], np.cumsum(finals)])[bounds].tolist()
    return tuple(
        Part(
            shard=which,
            rows=rows[bounds[i] : bounds[i + 1]],
            counts=counts[bounds[i] : bounds[i + 1]],
            tokens=slice(*token_end[i : i + 2]),
            finals=slice(*final_end[i : i + 2]),
        )
        for i, which in enumerate(shards.tolist())
    )


def _ragged(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each member's group and place in it: [2, 1] members give [0, 0, 1] and [0, 1, 0]."""
    group = np.repeat(np.arange(len(counts)), counts)
    offset = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    return group, offset
