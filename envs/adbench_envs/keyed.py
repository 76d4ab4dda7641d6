"""What all our batched environments share: keyed noise, checked tasks, and how an ending is told.

N lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench.task import (
    BatchedEnv,
    LaneNoise,
    Lanes,
    Observation,
    TaskFamily,
    UsageError,
    numbered_lanes,
)


class KeyedEnv(BatchedEnv):
    """A batched environment whose draws are keyed by (seed, task, lane id, step).

    On every step, `info["final_obs"]` and `info["final_state"]` hold what *every* lane reached,
    before any reset: the next observation within the same episode. (The contract promises them for
    ending lanes alone.)
    """

    def __init__(
        self,
        family: TaskFamily,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None,
        device: torch.device | str,
    ) -> None:
        super().__init__(family, tasks.to(device), device=device)
        self.seed = seed
        self._lanes = Lanes(seed, "env", tasks, numbered_lanes(tasks, lane_ids))

    def _noise(self, channels: int) -> LaneNoise:
        return self._lanes.noise("env", channels, device=self.device)

    def _flags(self, value: bool) -> Tensor:
        return torch.full((self.num_envs,), value, device=self.device)

    def _refuse_actions(self, actions: Tensor) -> UsageError:
        return UsageError(
            f"actions must be int64 [{self.num_envs}] from 0 to {self.family.action_space.n - 1}; "
            f"got {actions.dtype} {list(actions.shape)}, "
            f"from {actions.min().item()} to {actions.max().item()}."
        )


def ending(observation: Observation, ended: Tensor, state: dict[str, Tensor]) -> dict[str, Any]:
    """The info of a step: what was reached, and which lanes ended there (bool [N])."""
    return {"final_obs": observation, "_final_obs": ended, "final_state": state}


def checked_tasks(
    family: TaskFamily, tasks: Tensor, *, shape: tuple[int, ...], below: int
) -> Tensor:
    """Integer tasks as int64 on the CPU.

    Args:
        family: whose tasks they are.
        tasks: [N, *shape].
        shape: of one task.
        below: every number must lie in [0, below).

    Raises:
        UsageError: another shape, or a number out of range.
    """
    if (
        tuple(tasks.shape[1:]) != shape
        or tasks.ndim == 0
        or len(tasks) == 0
        or tasks.is_floating_point()
    ):
        raise UsageError(
            f"{family.name}: tasks must be integers of shape {['N', *shape]}; "
            f"got {tasks.dtype} {list(tasks.shape)}."
        )
    tasks = tasks.detach().to("cpu", torch.int64).contiguous()
    if bool(((tasks < 0) | (tasks >= below)).any()):
        raise UsageError(
            f"{family.name}: cells go from 0 to {below - 1}; "
            f"got {int(tasks.min())} to {int(tasks.max())}."
        )
    return tasks
