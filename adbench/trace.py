"""States that a few lanes went through: what pictures of a roll-out are drawn from.

L lanes, E episodes that are kept of each, S steps of the longest of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.errors import ResultsError
from adbench.tensor_file import load_tensors, refusal, save_tensors

SCHEMA = 1
_KIND = "adbench trace"
_FIELDS = ("episode", "length", "reward", "task")
_STATE = "state/"


@dataclass(frozen=True)
class Trace:
    """Some episodes of L lanes, state by state.

    Attributes:
        state: as `BatchedEnv.state` gives it, from the first state of an episode to its final one,
            by name, [L, E, S + 1, ...]; zeros after the final one.
        reward: of each step, float32 [L, E, S]; zeros after the last one.
        length: steps of each episode, int32 [L, E].
        episode: which episodes these are, from 1, int64 [E].
        task: each lane's, [L, ...].
        about: what made it, JSON values (environment, stage, seed).
    """

    state: dict[str, Tensor]
    reward: Tensor
    length: Tensor
    episode: Tensor
    task: Tensor
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if problem := _problem(self):
            raise ResultsError(f"not a trace: {problem}.")

    def of(self, lane: int, episode: int) -> dict[str, Tensor]:
        """The states of one episode, first to final, by name, [steps + 1, ...].

        Args:
            lane: 0 to L - 1.
            episode: place among those kept, 0 to E - 1, or from the end.
        """
        steps = int(self.length[lane, episode])
        return {name: values[lane, episode, : steps + 1] for name, values in self.state.items()}

    def rewards(self, lane: int, episode: int) -> Tensor:
        """The rewards of one episode, float32 [steps]; arguments as `of`."""
        return self.reward[lane, episode, : int(self.length[lane, episode])]

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            ResultsError: it cannot be written.
        """
        tensors = {name: getattr(self, name) for name in _FIELDS}
        tensors |= {_STATE + name: self.state[name] for name in sorted(self.state)}
        save_tensors(path, _KIND, SCHEMA, tensors, self.about)

    @classmethod
    def load(cls, path: Path, *, about: Mapping[str, Any] | None = None) -> Trace:
        """Read what `save` wrote.

        Args:
            path: the file.
            about: what it must say of itself, at least.

        Raises:
            ResultsError: it is missing, damaged, altered, of another schema or about something
                else; names the file and what is wrong.
        """
        tensors, said = load_tensors(path, _KIND, SCHEMA, _FIELDS, about=about)
        state = {
            name.removeprefix(_STATE): value
            for name, value in tensors.items()
            if name.startswith(_STATE)
        }
        try:
            return cls(state, **{name: tensors[name] for name in _FIELDS}, about=said)
        except ResultsError as error:
            raise refusal(path, str(error).rstrip(".")) from None


class Recorder:
    """Takes down some episodes of some lanes while all of them play.

    Args:
        lanes: which of a roll-out's lanes.
        episodes: which of their episodes, from 1, rising.
    """

    def __init__(self, lanes: Sequence[int], episodes: Sequence[int]) -> None:
        self.lanes = tuple(lanes)
        self.episodes = tuple(episodes)
        self._found: list[tuple[dict[str, Tensor], Tensor]] = []

    def watch(self, first: int, count: int) -> Watch | None:
        """A watch over the lanes among `first` to `first + count - 1`; none: there are none."""
        chosen = [lane - first for lane in self.lanes if first <= lane < first + count]
        return Watch(chosen) if chosen else None

    def keep(self, watch: Watch) -> None:
        """Take in what was seen of some of the lanes, in their order, once they have played."""
        self._found += watch.episodes(self.episodes)

    def trace(self, tasks: Tensor, about: Mapping[str, Any]) -> Trace:
        """All that was taken down.

        Args:
            tasks: of the lanes, [L, ...].
            about: what made it.
        """
        shape = (len(self.lanes), len(self.episodes))
        length = torch.tensor([len(reward) for _, reward in self._found], dtype=torch.int32)
        steps = int(length.max())

        def padded(rows: list[Tensor], most: int) -> Tensor:
            whole = torch.zeros(len(rows), most, *rows[0].shape[1:], dtype=rows[0].dtype)
            for row, values in zip(whole, rows, strict=True):
                row[: len(values)] = values
            return whole.reshape(*shape, *whole.shape[1:])

        return Trace(
            state={
                name: padded([state[name] for state, _ in self._found], steps + 1)
                for name in self._found[0][0]
            },
            reward=padded([reward for _, reward in self._found], steps),
            length=length.reshape(shape),
            episode=torch.tensor(self.episodes),
            task=tasks.detach().cpu(),
            about=dict(about),
        )


class Watch:
    """Sees some lanes of one batch play. Nothing leaves the device before all is over.

    Args:
        rows: of the batch.
    """

    def __init__(self, rows: Sequence[int]) -> None:
        self._rows = torch.tensor(rows)
        self._steps: list[tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]] = []

    def note(
        self, state: dict[str, Tensor], final: dict[str, Tensor], reward: Tensor, ended: Tensor
    ) -> None:
        """Take down a step of N lanes.

        Args:
            state: what it began from, by name, [N, ...].
            final: what it led to within its episode, right in the lanes that ended; [N, ...].
            reward: float32 [N].
            ended: whether the episode did, bool [N].
        """
        rows = self._rows = self._rows.to(reward.device)

        def chosen(states: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.index_select(0, rows) for name, value in states.items()}

        self._steps.append((chosen(state), chosen(final), reward[rows], ended[rows]))

    def episodes(self, wanted: Sequence[int]) -> list[tuple[dict[str, Tensor], Tensor]]:
        """The episodes that are wanted, lane by lane: states from first to final, and rewards.

        Args:
            wanted: which, from 1; all of them must have been played.
        """
        names = self._steps[0][0]
        states = {n: torch.stack([step[0][n] for step in self._steps]).cpu() for n in names}
        finals = {n: torch.stack([step[1][n] for step in self._steps]).cpu() for n in names}
        reward = torch.stack([step[2] for step in self._steps]).cpu()
        ended = torch.stack([step[3] for step in self._steps]).cpu()
        found = []
        for lane in range(ended.shape[1]):
            ends = ended[:, lane].nonzero()[:, 0].tolist()
            for episode in wanted:
                first = ends[episode - 2] + 1 if episode > 1 else 0
                last = ends[episode - 1]
                walked = {
                    n: torch.cat((states[n][first : last + 1, lane], finals[n][last, lane][None]))
                    for n in names
                }
                found.append((walked, reward[first : last + 1, lane]))
        return found


def _problem(trace: Trace) -> str:
    """What is wrong with a trace's tensors; nothing: the empty string."""
    if trace.length.ndim != 2 or trace.length.dtype != torch.int32 or 0 in trace.length.shape:
        return f"lengths are {trace.length.dtype} {list(trace.length.shape)}, not int32 [L, E]"
    lanes, episodes = trace.length.shape
    if trace.reward.ndim != 3 or tuple(trace.reward.shape[:2]) != (lanes, episodes):
        return f"rewards are {list(trace.reward.shape)}, not [{lanes}, {episodes}, S]"
    steps = trace.reward.shape[2]
    if bool(((trace.length < 1) | (trace.length > steps)).any()):
        return f"some episodes have no steps or more than {steps}"
    if trace.episode.shape != (episodes,) or len(trace.task) != lanes:
        return f"episode is {list(trace.episode.shape)} and task {list(trace.task.shape)}"
    for name, values in trace.state.items():
        if tuple(values.shape[:3]) != (lanes, episodes, steps + 1):
            wanted = f"[{lanes}, {episodes}, {steps + 1}, ...]"
            return f"state {name!r} is {list(values.shape)}, not {wanted}"
    return ""
