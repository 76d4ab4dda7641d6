"""From histories to training rows.

B rows, L tokens a row, H histories, U of them chosen. A row is a stretch of one history's sequence
of tokens (`sequences`), so it never straddles two histories.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from adbench.errors import CheckpointError, TrainingError
from adbench.history.gather import Gatherer
from adbench.history.reader import HistoryStore
from adbench.history.sequences import Sequences, expert_parts, learning_part
from adbench.noise import generator
from adbench.tokens import Tokens

Episodes = Literal["learning", "expert"]


class WindowSampler:
    """Draws training rows from the histories of a store, the same ones on every machine.

    Batch n is a function of (seed, label, n) and of the histories alone, so resuming needs the
    number n and nothing else.

    Args:
        store: the histories.
        subsample: keep episodes k - 1, 2k - 1, ... of the learning part.
        row_steps: L, transition tokens in a row.
        episodes: "learning": the learning part. "expert": the last `expert_episodes`, unsubsampled,
            of the histories where their mean return reaches `expert_share` of the optimum.
        learning_episodes: how many of a history's first episodes are its learning part; none: all.
        expert_episodes: how many of its last ones are its expert part.
        expert_share: see `episodes`.
        optimal: the task's optimum for each history, [H]; none: the best mean among the histories
            of the same task.
        shuffle_episodes: put each history's chosen episodes in one fixed random order (the
            `ad-shuffled` row).
        seed: the run's seed.
        label: what the rows are for ("ad"); two labels never share a draw.
        start_at_beginning: share of rows that begin where evaluation does, at a history's first
            token. The others begin at a uniformly drawn token of those that leave the row full.
            Histories are drawn uniformly, long or short.
        kept_actors: use only the streams with a smaller number; none: all.

    Raises:
        TrainingError: no history can give a row; the message has the numbers.
    """

    def __init__(
        self,
        store: HistoryStore,
        *,
        row_steps: int,
        seed: int,
        label: str,
        subsample: int = 1,
        episodes: Episodes = "learning",
        learning_episodes: int | None = None,
        expert_episodes: int = 0,
        expert_share: float = 0.9,
        optimal: Tensor | None = None,
        shuffle_episodes: bool = False,
        start_at_beginning: float = 0.5,
        kept_actors: int | None = None,
    ) -> None:
        self.store = store
        self.row_steps = row_steps
        self.start_at_beginning = start_at_beginning
        self._seed, self._label, self._batches = seed, label, 0
        candidates = np.arange(store.num_histories)
        if kept_actors is not None:
            candidates = candidates[store.actor < kept_actors]
        counts = {int(history): len(store.episode_ends(int(history))) for history in candidates}
        if episodes == "learning":
            chosen = {
                h: learning_part(count, learning_episodes, subsample) for h, count in counts.items()
            }
            first = (
                "all episodes"
                if learning_episodes is None
                else f"the first {learning_episodes} episodes"
            )
            missing = f"one in {subsample} of {first} leaves none"
        else:
            expert = expert_parts(store, candidates, expert_episodes, expert_share, optimal)
            chosen = expert.episodes
            missing = (
                f"none has {expert_episodes} last episodes whose mean return is {expert_share:.0%} "
                "of its task's optimum"
                + (
                    f"; the nearest reaches {expert.best_share:.1%}"
                    if np.isfinite(expert.best_share)
                    else ""
                )
            )
        chosen = {history: part for history, part in chosen.items() if len(part)}
        if not chosen:
            raise TrainingError(
                f"no history in {store.folder} can train {label!r}: of {len(candidates)}, the "
                f"longest with {max(counts.values(), default=0)} episodes, {missing}. Collect "
                "longer histories (collect.episodes, collect.max_episodes) or ask for less "
                "(train.subsample, collect.expert_share)."
            )
        if shuffle_episodes:
            chosen = {history: self._shuffled(history, part) for history, part in chosen.items()}
        self._sequences = Sequences.lay_out(store, chosen)
        self._gatherer = Gatherer(store, self._sequences, row_steps)

    @property
    def histories(self) -> np.ndarray:
        """The store's numbers of the histories that rows come from, int64 [U]."""
        return self._sequences.history

    @property
    def holds_states(self) -> bool:
        """Whether rows hold states in the place of observations, by name, for want of these."""
        return self._gatherer.holds_states

    @property
    def tokens_available(self) -> int:
        """Different tokens that rows can hold."""
        return int(self._sequences.token[-1])

    def stats(self) -> dict[str, int]:
        """What the rows are made of, for results; steps are environment steps."""
        num_episodes = len(self._sequences.shard)
        tokens = np.diff(self._sequences.begin)
        return {
            "histories": len(self.histories),
            "tasks": len(torch.unique(self.store.tasks[torch.from_numpy(self.histories)], dim=0)),
            "episodes": num_episodes,
            "steps": self.tokens_available - num_episodes,
            "tokens": self.tokens_available,
            "shortest_history_tokens": int(tokens.min()),
            "longest_history_tokens": int(tokens.max()),
        }

    def batch(self, rows: int) -> Tokens:
        """The next batch, on the CPU: B rows of L tokens, padded at the end where a whole history
        is shorter than a row.

        Args:
            rows: B.

        Returns:
            symbols as int64, frames as uint8, other numbers as float32; states as they are stored.
        """
        draws = generator(self._seed, self._label, "rows", self._batches).random((3, rows))
        self._batches += 1
        history = (draws[0] * len(self.histories)).astype(np.int64)
        begin, end = self._sequences.begin[history], self._sequences.begin[history + 1]
        num_starts = np.maximum(end - begin - self.row_steps, 0) + 1
        offset = (draws[1] * num_starts).astype(np.int64)
        offset[draws[2] < self.start_at_beginning] = 0
        start = begin + offset
        return self._gatherer.rows(start, np.minimum(start + self.row_steps, end))

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler is, as JSON values."""
        return {
            "batches": self._batches,
            "seed": self._seed,
            "label": self._label,
            "histories": self.store.digest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another sampler over the same histories was; the next batch is the one it
        would have drawn.

        Raises:
            CheckpointError: the state is of other histories, another seed or another label.
        """
        for name, ours in self.state_dict().items():
            if name != "batches" and state.get(name) != ours:
                raise CheckpointError(
                    f"the checkpoint's rows were drawn with {name} {state.get(name)!r}, these with "
                    f"{ours!r}. Train again in a new folder."
                )
        batches = state.get("batches")
        if not isinstance(batches, int) or isinstance(batches, bool) or batches < 0:
            raise CheckpointError(
                f"the checkpoint's sampler has drawn {batches!r} batches, expected a whole number."
            )
        self._batches = batches

    def _shuffled(self, history: int, part: np.ndarray) -> np.ndarray:
        line = self.store.manifest[self.store.shard_of[history]]
        keyed = generator(
            self._seed, self._label, "order", line.file, int(self.store.row_of[history])
        )
        return keyed.permutation(part)
