"""Many plain environments as one `BatchedEnv`: gymnasium's vector classes, seen as tensors.

N lanes, one environment each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from torch import Tensor

from adbench.errors import ContractError, UsageError
from adbench.noise import key_of
from adbench.task import BatchedEnv, numbered_lanes
from adbench.tokens import Observation, map_observation

if TYPE_CHECKING:
    from adbench.gym_adapter.family import GymFamily

_MOST_PROCESSES = 128


class GymBatch(BatchedEnv):
    """N plain environments in lockstep, reset in the step that ends an episode.

    A lane's environment is seeded from (seed, task, lane id) alone, so it lives through the same
    beside any other lanes, as long as it draws from its own `np_random`.
    """

    family: GymFamily

    def __init__(
        self,
        family: GymFamily,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None,
        device: torch.device | str,
    ) -> None:
        super().__init__(family, tasks.to(device), device=device)
        self.seed = seed
        numbers = tasks.reshape(-1).tolist()
        # 32 bits: some environments hand their seed to generators that take no more.
        self._seeds = [
            int(key_of(seed, "gym lane", number, lane)[0] >> np.uint64(32))
            for number, lane in zip(numbers, numbered_lanes(tasks, lane_ids), strict=True)
        ]
        makers = [family.maker(number) for number in numbers]
        same_step = AutoresetMode.SAME_STEP
        self._vector: SyncVectorEnv[Any, Any] | AsyncVectorEnv[Any, Any]
        if family.vectorization == "sync":
            self._vector = SyncVectorEnv(makers, copy=False, autoreset_mode=same_step)
        elif len(makers) > _MOST_PROCESSES:
            raise UsageError(
                f"{family.name}: vectorization='async' starts a process a lane, and {len(makers)} "
                f"lanes were asked for; it takes {_MOST_PROCESSES}. Use vectorization='sync'."
            )
        else:
            with _workers_watched(family.name):
                self._vector = AsyncVectorEnv(makers, copy=False, autoreset_mode=same_step)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every lane's first episode; see `BatchedEnv.reset`."""
        self._refuse_another_seed(seed, self.seed)
        with _workers_watched(self.family.name):
            seen, _ = self._vector.reset(seed=list(self._seeds), options=options)
        return self._tensors(seen), {}

    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take one step in every lane; see `BatchedEnv.step`."""
        chosen = self._checked(actions)
        with _workers_watched(self.family.name):
            seen, reward, terminated, truncated, infos = self._vector.step(chosen)
        ended = terminated | truncated
        info = {
            "final_obs": self._final(seen, ended, infos),
            "_final_obs": torch.from_numpy(ended).to(self.device),
            "final_state": self.state(),
        }
        return (
            self._tensors(seen),
            torch.from_numpy(reward.astype(np.float32)).to(self.device),
            torch.from_numpy(terminated.copy()).to(self.device),
            torch.from_numpy(truncated.copy()).to(self.device),
            info,
        )

    def state(self) -> dict[str, Tensor]:
        """Nothing: a plain environment has no state that the suite could read."""
        return {}

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end their processes."""
        vector = getattr(self, "_vector", None)
        if vector is not None:  # a constructor that refused its arguments has none
            vector.close()

    def _checked(self, actions: Tensor) -> np.ndarray:
        chosen = actions.detach().cpu().numpy()
        most = int(self.family.action_space.n)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind != "i":
            raise UsageError(
                f"actions must be int64 [{self.num_envs}]; got {chosen.dtype} {list(chosen.shape)}."
            )
        if chosen.min() < 0 or chosen.max() >= most:
            raise UsageError(
                f"actions must lie from 0 to {most - 1}; got {chosen.min()} to {chosen.max()}."
            )
        return chosen

    def _tensors(self, seen: Any) -> Observation:
        if isinstance(seen, dict):
            return {key: self._tensor(part) for key, part in seen.items()}
        return self._tensor(seen)

    def _tensor(self, part: Any) -> Tensor:
        # The vector classes write into one buffer again and again; what we hand out is a copy.
        return torch.from_numpy(np.array(part)).to(self.device)

    def _final(self, seen: Any, ended: np.ndarray, infos: dict[str, Any]) -> Observation:
        final = self._tensors(seen)
        for lane in np.flatnonzero(ended):
            last = infos["final_obs"][lane]
            if isinstance(final, dict):
                for key, part in final.items():
                    part[lane] = torch.as_tensor(np.asarray(last[key]))
            else:
                final[lane] = torch.as_tensor(np.asarray(last))
        return map_observation(final, torch.Tensor.contiguous)


@contextmanager
def _workers_watched(name: str) -> Iterator[None]:
    """Say in words that a worker process died; everything else passes through."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionError) as error:
        raise ContractError(
            f"{name}: the process of one of its environments died. "
            "vectorization='sync' runs them in this process and shows why."
        ) from error
