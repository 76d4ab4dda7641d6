"""Reading histories: every shard of a folder as one store.

H histories, S steps (of the longest), E episodes (of the longest). Histories are numbered through
the shards in the order of their file names. Nothing is read before it is asked for; numbers are
memory-mapped, so a window costs microseconds.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adbench.errors import HistoryError
from adbench.history.manifest import DamageError, read_lines
from adbench.history.schema import MANIFEST, ONE_AXIS, FieldRecord, ManifestLine, axis_of
from adbench.history.shard import Shard, step_fields


@dataclass(frozen=True)
class Damage:
    """A shard that is not used, or a line of the manifest that cannot be read.

    Attributes:
        file: which.
        reason: why, as the rest of a sentence that begins with the name.
    """

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.reason}"


class HistoryStore:
    """The histories of one folder.

    Attributes:
        folder: where they lie.
        manifest: lines of the shards in use.
        damaged: what is not used, and why.
        num_histories: H.
        lengths: steps of each history, int32 [H].
        tasks: task of each history, [H, ...].
        learner_seed: uint64 [H]; histories of one learner share it.
        learner: number of the learner within its shard, int32 [H].
        actor: number of the stream within its learner, int32 [H].
        shards: the open shards.
        shard_of: index into `shards` of each history, int64 [H].
        row_of: row within its shard of each history, int64 [H].
    """

    def __init__(
        self, folder: Path, shards: tuple[Shard, ...], damaged: tuple[Damage, ...]
    ) -> None:
        """Use `open`."""
        self.folder = folder
        self.shards = shards
        self.manifest = tuple(shard.line for shard in shards)
        self.damaged = damaged
        counts = [shard.line.histories for shard in shards]
        self.num_histories = sum(counts)
        self.shard_of = np.repeat(np.arange(len(shards)), counts)
        self.row_of = np.concatenate([np.arange(count) for count in counts])
        self.lengths = self._gather("length")
        self.tasks = torch.from_numpy(self._gather("task"))
        self.learner_seed = self._gather("learner_seed")
        zero = np.zeros(self.num_histories, np.int32)
        self.learner = self._gather("learner") if "learner" in self.fields else zero
        self.actor = self._gather("actor") if "actor" in self.fields else zero
        self._first = np.cumsum([0, *counts])[:-1].tolist()
        # A whole shard's steps end to end: one `narrow` is then a history's window.
        self._steps = [
            [
                (name, _flat(shard.arrays[name]))
                for name in step_fields(shard.line)
                if name != "frame"
            ]
            for shard in shards
        ]

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        env: str | None = None,
        env_version: int | None = None,
        verify: bool = True,
    ) -> HistoryStore:
        """Open a folder of histories.

        Args:
            folder: where `manifest.jsonl` lies.
            env: refuse histories of any other task family.
            env_version: refuse any other version of it.
            verify: read every byte once, compare checksums and check that the numbers make sense.
                Leave it out only where the same run has done so before.

        Raises:
            HistoryError: there is no manifest or no usable shard, or they are of another
                environment, version or schema. Single damaged shards are listed in `damaged`
                instead.
        """
        folder = Path(folder)
        shards, damaged = _open_shards(folder, env=env, env_version=env_version, verify=verify)
        if not shards:
            reasons = "; ".join(str(damage) for damage in damaged[:4]) or "the manifest lists none"
            raise HistoryError(
                f"{folder} holds no usable shard: {reasons}. Collect the histories again."
            )
        return cls(folder, tuple(shards), tuple(damaged))

    @property
    def fields(self) -> dict[str, FieldRecord]:
        """Records of the fields, from the first shard; S and E may differ in others."""
        return self.manifest[0].fields

    @property
    def digest(self) -> str:
        """One checksum of all shards in use, hexadecimal: equal digests mean equal histories."""
        checksums = "".join(line.blake2b for line in self.manifest)
        return hashlib.blake2b(checksums.encode(), digest_size=16).hexdigest()

    def episode_ends(self, history: int) -> np.ndarray:
        """Exclusive step index of each episode's end, int32 [E of this history]."""
        shard, row = self._at(history)
        ends: np.ndarray = shard.arrays["episode_end"][row]
        return ends[: int((ends >= 0).sum())]

    def returns(self, history: int) -> np.ndarray:
        """Sum of rewards of each episode, float32 [E of this history]."""
        shard, row = self._at(history)
        ends = self.episode_ends(history)
        reward = shard.arrays["reward"][row, : ends[-1]].astype(np.float64)
        sums: np.ndarray = np.add.reduceat(reward, np.concatenate([[0], ends[:-1]]))
        return sums.astype(np.float32)

    def window(self, history: int, start: int, steps: int) -> dict[str, Tensor]:
        """Consecutive steps of one history, whatever episodes they belong to.

        Args:
            history: which, 0 to H - 1.
            start: first step.
            steps: how many.

        Returns:
            every step field, name -> [steps, ...], in the stored type; views of the mapped file,
            except frames.

        Raises:
            HistoryError: the history has no such steps.
        """
        index = bisect_right(self._first, history) - 1
        if not (
            0 <= history < self.num_histories
            and 0 <= start
            and start + steps <= self.lengths[history]
        ):
            raise self._no_such_steps(history, start, steps)
        shard = self.shards[index]
        row = history - self._first[index]
        begin = row * shard.num_steps + start
        window = {name: values.narrow(0, begin, steps) for name, values in self._steps[index]}
        if "frame" in shard.line.fields:
            window["frame"] = torch.from_numpy(shard.frames(row, start, steps))
        return window

    def episode(self, history: int, episode: int) -> dict[str, Tensor]:
        """One episode: `window` of its steps, and its `final_observation` and `final_state` fields,
        [...].

        Raises:
            HistoryError: the history has no such episode.
        """
        shard, row = self._at(history)
        ends = self.episode_ends(history)
        if not 0 <= episode < len(ends):
            raise HistoryError(
                f"history {history} of {self.folder} has {len(ends)} episodes, not number "
                f"{episode}."
            )
        start = int(ends[episode - 1]) if episode else 0
        result = self.window(history, start, int(ends[episode]) - start)
        for name, values in shard.arrays.items():
            if axis_of(name) == "episode" and name != "episode_end":
                result[name] = torch.from_numpy(np.asarray(values[row, episode]))
        return result

    def _at(self, history: int) -> tuple[Shard, int]:
        if not 0 <= history < self.num_histories:
            raise HistoryError(
                f"{self.folder} has histories 0 to {self.num_histories - 1}, not {history}."
            )
        return self.shards[self.shard_of[history]], int(self.row_of[history])

    def _gather(self, name: str) -> np.ndarray:
        return np.concatenate([shard.arrays[name] for shard in self.shards])

    def _no_such_steps(self, history: int, start: int, steps: int) -> HistoryError:
        self._at(history)
        return HistoryError(
            f"history {history} of {self.folder} has {self.lengths[history]} steps, not {start} to "
            f"{start + steps}."
        )


def intact_shards(
    folder: Path | str,
    *,
    env: str | None = None,
    env_version: int | None = None,
    verify: bool = True,
) -> tuple[dict[str, ManifestLine], tuple[Damage, ...]]:
    """Which shards need not be collected again.

    Args:
        folder: a history folder, which need not be there yet.
        env: as `HistoryStore.open` has it.
        env_version: as `HistoryStore.open` has it.
        verify: as `HistoryStore.open` has it.

    Returns:
        lines of the whole shards by file name, and what is damaged.

    Raises:
        HistoryError: the folder holds histories of another environment, version or schema.
    """
    if not (Path(folder) / MANIFEST).exists():
        return {}, ()
    shards, damaged = _open_shards(Path(folder), env=env, env_version=env_version, verify=verify)
    return {shard.line.file: shard.line for shard in shards}, tuple(damaged)


def _open_shards(
    folder: Path, *, env: str | None, env_version: int | None, verify: bool
) -> tuple[list[Shard], list[Damage]]:
    if not folder.is_dir():
        raise HistoryError(
            f"{folder} is not a folder; expected histories in it. Collect them first."
        )
    lines, unreadable = read_lines(folder)
    damaged = [Damage(f"{MANIFEST}, line {number},", reason) for number, reason in unreadable]
    shards: list[Shard] = []
    for line in sorted(lines, key=lambda line: line.file):
        _check_kind(folder, line, env=env, env_version=env_version)
        try:
            shard = Shard(folder, line, verify=verify)
            if shards:
                _check_alike(shards[0].line, line)
        except DamageError as damage:
            damaged.append(Damage(line.file, str(damage)))
        else:
            shards.append(shard)
    return shards, damaged


def _check_kind(
    folder: Path, line: ManifestLine, *, env: str | None, env_version: int | None
) -> None:
    if env is not None and line.env != env:
        raise HistoryError(
            f"{folder} holds histories of {line.env!r}, not of {env!r}. Choose another folder."
        )
    if env_version is not None and line.env_version != env_version:
        raise HistoryError(
            f"{folder} holds histories of {line.env} version {line.env_version}; this is version "
            f"{env_version}, and scores of the two cannot be compared. Collect them again in "
            "another folder."
        )


def _check_alike(first: ManifestLine, line: ManifestLine) -> None:
    for name in ("env", "env_version", "split", "source"):
        mine, its = getattr(line, name), getattr(first, name)
        if mine != its:
            raise DamageError(f"is of {name} {mine!r}, {first.file} of {its!r}")
    # Samples are looked at shard by shard: one may be drawn in another size than its neighbour.
    ours, theirs = (
        {name: field for name, field in each.fields.items() if axis_of(name) != "sample"}
        for each in (line, first)
    )
    if set(ours) != set(theirs):
        odd = sorted(set(ours) ^ set(theirs))[0]
        raise DamageError(
            f"and {first.file} do not have the same fields: {odd!r} is in one of them only"
        )
    for name, record in ours.items():
        other = theirs[name]
        lead = 1 if axis_of(name) in ONE_AXIS else 2
        if (record.dtype, record.shape[lead:], record.space) != (
            other.dtype,
            other.shape[lead:],
            other.space,
        ):
            raise DamageError(f"and {first.file} differ in the type, shape or space of {name!r}")


def _flat(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.reshape(-1, *array.shape[2:]))
