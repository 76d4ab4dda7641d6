"""Lanes that walk through a world.

N lanes, Y rows and X columns of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from adbench_envs.keyed import KeyedEnv, ending

if TYPE_CHECKING:
    from adbench_envs.worlds.family import WorldFamily


@dataclass(frozen=True)
class Start:
    """How episodes begin.

    Attributes:
        position: x, z; float32 [N, 2].
        heading: int64 [N].
        memory: what rules keep in mind, by name, [N, ...].
    """

    position: Tensor
    heading: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrival:
    """What ending a step somewhere brings.

    Attributes:
        reward: float32 [N].
        terminated: bool [N].
        memory: as `Start.memory`, from now on.
    """

    reward: Tensor
    terminated: Tensor
    memory: dict[str, Tensor] = field(default_factory=dict)


class WorldBatch(KeyedEnv):
    """N lanes in a family's world; every lane has its own clock.

    `info["final_obs"]` is drawn for every lane; frames of the new episodes are drawn beside it for
    those that end.
    """

    family: WorldFamily
    _position: Tensor
    _heading: Tensor
    _memory: dict[str, Tensor]
    _began: Tensor

    def __init__(
        self,
        family: WorldFamily,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None,
        device: torch.device | str,
        sees: bool,
    ) -> None:
        super().__init__(family, tasks, seed=seed, lane_ids=lane_ids, device=device)
        self._turns = family.turns.to(self.device)
        self._ground = family.ground.to(self.device)
        self._starts = self._noise(family.start_channels)
        self._sees = sees
        self._unseen = torch.zeros((), dtype=torch.uint8, device=self.device)
        self._restart()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Begin every lane's first episode; see `BatchedEnv.reset`."""
        self._refuse_another_seed(seed, self.seed)
        self._restart()
        return self._frames(self.state()), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Turn and walk; see `BatchedEnv.step`. A goal on the last step is no truncation."""
        try:
            # Rows by action * headings + heading: an action out of range can never pass for
            # another one.
            row = actions * self._turns.num_headings + self._heading
            by = self._turns.by.index_select(0, row)
            self._heading = self._turns.heading.index_select(0, row)
        except (RuntimeError, IndexError):
            raise self._refuse_actions(actions) from None
        self._position = self._ground.move(self._position, by)
        arrival = self.family.arrive(self.tasks, self._position, self._memory)
        self._memory = arrival.memory
        self._step += 1
        due = self._step - self._began == self.family.max_episode_steps
        truncated = due & ~arrival.terminated
        ended = due | arrival.terminated
        reached = self.state()
        last = self._frames(reached)
        self._begin_where(ended)
        observation = self._first_frames(last, ended) if self._sees else last
        info = ending(last, ended, reached)
        return observation, arrival.reward, arrival.terminated, truncated, info

    def state(self) -> dict[str, Tensor]:
        """`pose` float32 [N, 3] (x, z in metres, yaw in radians), and what the rules remember."""
        yaw = self._turns.yaw.index_select(0, self._heading)
        pose = torch.cat([self._position, yaw[:, None]], dim=1)
        return {"pose": pose} | {name: value.clone() for name, value in self._memory.items()}

    def _restart(self) -> None:
        self._step = 0
        self._began = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        start = self.family.begin(self._starts.at(0))
        self._position, self._heading = start.position, start.heading
        self._memory = start.memory

    def _begin_where(self, ended: Tensor) -> None:
        """New episodes in the lanes that ended."""
        if self.device.type == "cpu" and not bool(ended.any()):  # elsewhere one would have to wait
            return
        start = self.family.begin(self._starts.at(self._step))
        self._began = torch.where(ended, self._step, self._began)
        self._position = torch.where(ended[:, None], start.position, self._position)
        self._heading = torch.where(ended, start.heading, self._heading)
        self._memory = {
            name: torch.where(ended.reshape(-1, *[1] * (value.ndim - 1)), start.memory[name], value)
            for name, value in self._memory.items()
        }

    def _frames(self, state: dict[str, Tensor]) -> Tensor:
        if not self._sees:
            return self._unseen.expand(self.num_envs, *self.family.frame, 3)
        return self.family.render_state(state)

    def _first_frames(self, last: Tensor, ended: Tensor) -> Tensor:
        """The frames of this moment: new ones in the lanes that ended."""
        lanes = ended.nonzero()[:, 0]
        if not len(lanes):
            return last
        begun = {name: value.index_select(0, lanes) for name, value in self.state().items()}
        return last.index_copy(0, lanes, self.family.render_state(begun))
