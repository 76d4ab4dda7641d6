"""Keeping what N lanes live through: written a step at a time, kept lane by lane.

S steps, E episodes. Steps are gathered in blocks and turned over a block at a time, because a
lane's own stream is what everybody reads later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.history.spaces import spaces_of, storage_dtype
from adbench.source.base import Transition
from adbench.task import TaskFamily
from adbench.tokens import Observation

Array = np.ndarray[Any, Any]

_BLOCK_STEPS = 256
_TORCH = {
    "u1": torch.uint8, "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64,
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64,
}  # fmt: skip


class Track:
    """One field of N lanes, a value a step, [N, S, ...].

    Args:
        lanes: N.
        shape: of one value.
        dtype: it is stored as.
        steps: S as far as one can tell; it grows where that is not enough.
    """

    def __init__(self, lanes: int, shape: tuple[int, ...], dtype: torch.dtype, steps: int) -> None:
        self._block_steps = min(steps, _BLOCK_STEPS)
        self._block = torch.zeros((self._block_steps, lanes, *shape), dtype=dtype)
        self._values = torch.zeros((lanes, steps, *shape), dtype=dtype)
        self._turned = 0
        self._filled = 0

    def add(self, values: Tensor) -> None:
        """The next step's values, [N, ...], on any device and of any element type."""
        self._block[self._filled].copy_(values)
        self._filled += 1
        if self._filled == self._block_steps:
            self._turn()

    def first(self, length: Array) -> Array:
        """Each lane's first `length` steps, zeros after them, [N, max(length), ...]."""
        self._turn()
        values: Array = self._values[:, : int(length.max())].numpy()
        if len(set(length.tolist())) > 1:
            beyond = np.arange(values.shape[1]) >= length[:, None]
            values[beyond] = 0
        return values

    def _turn(self) -> None:
        upto = self._turned + self._filled
        if upto > self._values.shape[1]:
            self._values = _widened(self._values, max(upto, 2 * self._values.shape[1]))
        self._values[:, self._turned : upto] = self._block[: self._filled].transpose(0, 1)
        self._turned, self._filled = upto, 0


class Endings:
    """One field of N lanes, a value an episode, [N, E, ...].

    Args:
        lanes: N.
        shape: of one value.
        dtype: it is stored as.
        episodes: E as far as one can tell; it grows where that is not enough.
    """

    def __init__(
        self, lanes: int, shape: tuple[int, ...], dtype: torch.dtype, episodes: int
    ) -> None:
        self._values = torch.zeros((lanes, episodes, *shape), dtype=dtype)

    def put(self, lanes: Tensor, episodes: Tensor, values: Tensor) -> None:
        """Values of some lanes' episodes: int64 [n], int64 [n], [n, ...]."""
        last = int(episodes.max())
        if last >= self._values.shape[1]:
            self._values = _widened(self._values, max(last + 1, 2 * self._values.shape[1]))
        self._values[lanes, episodes] = values.to("cpu", self._values.dtype)

    def first(self, episodes: int) -> Array:
        """The first E episodes of every lane, [N, E, ...]; zeros where there was none."""
        values: Array = self._values[:, :episodes].numpy()
        return values


def _widened(values: Tensor, size: int) -> Tensor:
    wide = torch.zeros((values.shape[0], size, *values.shape[2:]), dtype=values.dtype)
    wide[:, : values.shape[1]] = values
    return wide


class Keeper:
    """Everything that N lanes live through, as the fields of a shard.

    Args:
        family: whose lanes they are. Where it draws observations from states, states are kept and
            observations are not.
        lanes: which lanes of a batch to keep, int64 [N]; None: all.
        num_lanes: N.
        episodes: episodes each of them plays, as far as one can tell.
        frames: keep observations as `frame`, beside the states that they could be drawn from.
    """

    def __init__(
        self,
        family: TaskFamily,
        lanes: Tensor | None,
        num_lanes: int,
        *,
        episodes: int,
        frames: bool = False,
    ) -> None:
        self._family = family
        self._lanes = lanes
        self._num_lanes = num_lanes
        self._episodes = episodes
        self._frames = frames
        self._tracks: dict[str, Track] = {}
        self._endings: dict[str, Endings] = {}

    def keep(self, transition: Transition, lanes: Array, episodes: Array) -> None:
        """Keep one step.

        Args:
            transition: of the whole batch.
            lanes: kept lanes whose episode ended with it, int64 [n].
            episodes: which of their episodes that was, counted from 0, int64 [n].
        """
        seen = self._seen(transition.observation, transition.state)
        step = {
            **seen,
            "action": transition.action,
            "reward": transition.reward,
            "terminated": transition.terminated,
            "truncated": transition.truncated,
        }
        if not self._tracks:
            self._begin(step, seen)
        for name, values in step.items():
            self._tracks[name].add(self._kept(values))
        if len(lanes):
            at = torch.from_numpy(lanes)
            which = torch.from_numpy(episodes)
            reached = self._seen(transition.next_observation, transition.next_state)
            for name, values in reached.items():
                kept = self._kept(values)
                self._endings[_final(name)].put(at, which, kept[at.to(kept.device)])

    def steps(self, length: Array) -> dict[str, Array]:
        """Step fields, [N, S, ...], given each lane's length in steps, int32 [N]."""
        return {name: track.first(length) for name, track in self._tracks.items()}

    def endings(self, episodes: int) -> dict[str, Array]:
        """Episode fields, [N, E, ...]."""
        return {name: values.first(episodes) for name, values in self._endings.items()}

    def _seen(self, observation: Observation, state: dict[str, Tensor]) -> dict[str, Tensor]:
        states = {f"state/{name}": values for name, values in state.items()}
        drawn = states if self._family.renderer is not None else {}
        if self._frames:
            assert not isinstance(observation, dict)
            return {"frame": observation, **drawn}
        if drawn:
            return drawn
        if isinstance(observation, dict):
            return {f"observation/{key}": values for key, values in observation.items()}
        return {"observation": observation}

    def _kept(self, values: Tensor) -> Tensor:
        return values if self._lanes is None else values.index_select(0, self._lanes)

    def _begin(self, step: dict[str, Tensor], seen: dict[str, Tensor]) -> None:
        space_of = spaces_of(self._family.observation_space, self._family.action_space)
        steps = self._episodes * self._family.max_episode_steps
        for name, values in step.items():
            shape, dtype = tuple(values.shape[1:]), values.dtype
            if name in space_of:
                dtype = _TORCH[storage_dtype(space_of[name])]
            self._tracks[name] = Track(
                self._num_lanes, shape, torch.uint8 if dtype == torch.bool else dtype, steps
            )
            if name in seen:
                self._endings[_final(name)] = Endings(self._num_lanes, shape, dtype, self._episodes)


def _final(name: str) -> str:
    """The episode field beside a step field."""
    return "final_observation" if name == "frame" else f"final_{name}"
