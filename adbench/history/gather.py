"""Filling rows of tokens from mapped shards.

B rows, L tokens a row, H histories, S steps and E episodes of the longest in a shard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adbench.errors import TrainingError
from adbench.history.reader import HistoryStore
from adbench.history.schema import FieldRecord, axis_of
from adbench.history.sequences import Pieces, Sequences
from adbench.history.shard import Shard
from adbench.tokens import NO_ACTION, TERMINATED, TRUNCATED, Tokens


class Gatherer:
    """Fills rows of a fixed length.

    Args:
        store: the histories.
        sequences: where their tokens lie.
        row_steps: L.

    Attributes:
        holds_states: there are no observations, and rows hold the states behind them in their
            place, by name; whoever knows the family draws them (`RowFrames`).
    """

    def __init__(self, store: HistoryStore, sequences: Sequences, row_steps: int) -> None:
        self._sequences = sequences
        self._row_steps = row_steps
        self._observed = _observed_fields(store)
        self.holds_states = self._observed[0].steps.startswith("state/")
        self._shards = [_FlatShard(shard) for shard in store.shards]

    def rows(self, start: np.ndarray, stop: np.ndarray) -> Tokens:
        """Rows from their first and one past their last token.

        Args:
            start: counted through all sequences, int64 [B].
            stop: at most L after `start`, in the same history, int64 [B].
        """
        shape = (len(start), self._row_steps)
        pieces = Pieces.between(start, stop, self._row_steps, self._sequences)
        observed = {
            field: np.zeros((*shape, *field.shape), field.dtype) for field in self._observed
        }
        action = np.full(shape, NO_ACTION, np.int64)
        previous_action = np.full(shape, NO_ACTION, np.int64)
        previous_reward = np.zeros(shape, np.float32)
        ending = np.zeros(shape, np.uint8)
        for part in pieces.parts:
            shard = self._shards[part.shard]
            step, before = pieces.step[part.tokens], pieces.before[part.tokens]
            finals, number = pieces.finals[part.finals], pieces.number[part.finals]
            # A final token asks for no action, and nothing led to an episode's first: what those
            # pick up here is replaced below.
            part.put(shard.steps("action", step), action)
            part.put(shard.steps("action", before), previous_action)
            part.put(shard.steps("reward", before), previous_reward)
            ending.reshape(-1)[finals] = shard.ending.take(number)
            for field, values in observed.items():
                part.put(shard.steps(field.steps, step), values)
                values.reshape(-1, *field.shape)[finals] = shard.episodes(field.finals, number)
        action.reshape(-1)[pieces.finals] = NO_ACTION
        previous_action.reshape(-1)[pieces.starts] = NO_ACTION
        previous_reward.reshape(-1)[pieces.starts] = 0.0
        by_key = {field.key: torch.from_numpy(values) for field, values in observed.items()}
        return Tokens(
            observation=by_key[""] if "" in by_key else by_key,
            previous_action=torch.from_numpy(previous_action),
            previous_reward=torch.from_numpy(previous_reward),
            ending=torch.from_numpy(ending),
            action=torch.from_numpy(action),
            valid=torch.from_numpy(np.arange(self._row_steps) < (stop - start)[:, None]),
        )


@dataclass(frozen=True)
class _Observed:
    """One observation field, or one of a state: its key in a Dict space ("": the only one), and its
    form in a row."""

    key: str
    steps: str
    finals: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _observed_fields(store: HistoryStore) -> tuple[_Observed, ...]:
    seen, states = [], []
    for name, record in store.fields.items():
        base, slash, key = name.partition("/")
        if base in ("observation", "frame"):
            finals = f"final_observation{slash}{key}"
            seen.append(_Observed(key, name, finals, _row_dtype(record), record.shape[2:]))
        elif base == "state":
            # As they are: what they are drawn by knows their types.
            dtype = record.numpy_dtype
            states.append(_Observed(key, name, f"final_{name}", dtype, record.shape[2:]))
    if not seen and any(state.finals not in store.fields for state in states):
        raise TrainingError(
            f"{store.folder} holds states without observations, and no final states: nothing can "
            "be drawn where an episode ends. Write final_state/NAME beside each state/NAME."
        )
    return tuple(seen or states)


def _row_dtype(record: FieldRecord) -> np.dtype[Any]:
    """Images as they are, symbols and counts as int64, other numbers as float32."""
    if record.dtype[0] == "f":
        return np.dtype(np.float32)
    is_box = record.space is None or record.space.kind == "box"
    is_image = record.dtype == "u1" and is_box and len(record.shape) in (4, 5)
    return np.dtype(np.uint8 if is_image else np.int64)


class _FlatShard:
    """A shard with its histories laid end to end: steps [H * S] and episodes [H * E]."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._flat = {
            name: values.reshape(-1, *values.shape[2:])
            for name, values in shard.arrays.items()
            if axis_of(name) in ("step", "episode")
        }
        last = np.maximum(shard.arrays["episode_end"] - 1, 0)
        terminated = np.take_along_axis(shard.arrays["terminated"], last, axis=1)
        self.ending = np.where(terminated, TERMINATED, TRUNCATED).astype(np.uint8).ravel()

    def steps(self, field: str, step: np.ndarray) -> np.ndarray:
        """Values at steps, [n, ...]."""
        if field == "frame":
            return self._frames(step)
        # All are inside; with `clip` NumPy need not look.
        return self._flat[field].take(step, axis=0, mode="clip")

    def episodes(self, field: str, number: np.ndarray) -> np.ndarray:
        """Values at episodes, [n, ...]."""
        return self._flat[field].take(number, axis=0)

    def _frames(self, step: np.ndarray) -> np.ndarray:
        """Frames at steps, uint8 [n, Y, X, C]; a run's chunks are decompressed once."""
        fresh = np.diff(step, prepend=step[0] - 1) != 0
        distinct = step[fresh]
        history, within = np.divmod(distinct, self._shard.num_steps)
        cuts = np.flatnonzero((np.diff(distinct) != 1) | (np.diff(history) != 0)) + 1
        runs = []
        for begin, end in zip([0, *cuts], [*cuts, len(distinct)], strict=True):
            first, count = int(history[begin]), int(end - begin)
            runs.append(self._shard.frames(first, int(within[begin]), count))
        frames: np.ndarray = np.concatenate(runs)[np.cumsum(fresh) - 1]
        return frames
