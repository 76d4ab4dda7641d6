"""The adversarial bandit: odd arms pay in training, even arms in one of the tests.

N lanes, T tasks, A arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from adbench.task import SPLITS, Observe, TaskFamily, UsageError, generator, unknown_name
from adbench_envs.keyed import KeyedEnv, ending

_DEFAULT_COUNTS = {"train": 2048, "validation": 64, "odd": 128, "even": 128, "uniform": 128}
_UNUSUAL_SHARE = 0.05


class Bandit(TaskFamily):
    """Adversarial bandit: ten arms; the odd ones are good in training, the even ones in one test.

    Description:
        Pull one of ten arms. What differs between tasks is the arms' means, and between test sets
        which arms tend to be the good ones: `odd` is distributed as in training, `even` the other
        way round, `uniform` favours none.
    Tasks:
        The arms' means, float32 [10]. In 95 of 100 tasks of `train`, `validation` and `odd`, the
        means of the arms 1, 3, 5, 7, 9 (counted from 0) are uniform on [0.5, 1) and the others' on
        [0, 0.5); in 5 of 100 it is the other way round. `even` swaps the shares; in `uniform` every
        mean is uniform on [0, 1). There is no end of tasks: each split is a stream
        of its own, keyed by its name and the split's seed; the first n of a longer request are the
        n of a shorter one. Without a count: 2048 for training, 64 for validation, 128 a test set.
    Observation space:
        Discrete(1): always 0, int64 [N].
    Action space:
        Discrete(10): the arm.
    Starting state:
        There is but one.
    Rewards:
        1 with the arm's mean as probability, else 0.
    Episode end:
        A pull is an episode of length 1, and terminates.
    Sources:
        Laskin et al. 2022 (arXiv 2210.14215), section 4: ten arms, 100 trials, odd arms better in
        95 % of training. The distribution of means is not stated there; this is the reading of
        Headless-AD (Sinii et al. 2024).
    Version history:
        0: first.
    """

    name = "bandit"
    version = 0
    num_arms = 10
    max_episode_steps = 1
    test_sets = ("odd", "even", "uniform")
    num_tabular_states = 1

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(1)
        self.action_space = spaces.Discrete(self.num_arms)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Arm means of a split, float32 [count, 10]; see `TaskFamily.tasks`."""
        if split not in _DEFAULT_COUNTS:
            raise unknown_name("split", split, (*SPLITS[:2], *self.test_sets))
        if count is None:
            count = _DEFAULT_COUNTS[split]
        if count < 1:
            raise UsageError(
                f"{count} {split} {self.name} tasks were asked for. Ask for at least 1."
            )
        draws = torch.from_numpy(
            generator("bandit", split, seed).random((count, 1 + self.num_arms))
        )
        means = draws[:, 1:]
        if split != "uniform":
            odd = torch.arange(self.num_arms) % 2 == 1
            share_of_even = 1 - _UNUSUAL_SHARE if split == "even" else _UNUSUAL_SHARE
            good = odd ^ (draws[:, :1] < share_of_even)
            means = (means + good) / 2
        return means.float()

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> BanditBatch:
        """One lane a bandit, float32 [N, 10]; see `TaskFamily.make`."""
        return BanditBatch(self, self._checked(tasks), seed=seed, lane_ids=lane_ids, device=device)

    def random_return(self, tasks: Tensor) -> Tensor:
        """The mean of the arms' means, float32 [N]."""
        return self._checked(tasks).mean(dim=1)

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """The best arm's mean, float32 [N]."""
        return self._checked(tasks).amax(dim=1)

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """Zeros, int64 [N]."""
        return state["only"]

    def _checked(self, tasks: Tensor) -> Tensor:
        if (
            tasks.ndim != 2
            or tasks.shape[1] != self.num_arms
            or not tasks.is_floating_point()
            or len(tasks) == 0
        ):
            raise UsageError(
                f"{self.name}: tasks must be arm means, float32 [N, {self.num_arms}]; "
                f"got {tasks.dtype} {list(tasks.shape)}."
            )
        tasks = tasks.detach().to("cpu", torch.float32).contiguous()
        if not bool(((tasks >= 0) & (tasks <= 1)).all()):
            raise UsageError(f"{self.name}: arm means must lie from 0 to 1.")
        return tasks


class BanditBatch(KeyedEnv):
    """N bandits; every step ends an episode in every lane."""

    family: Bandit

    def __init__(
        self,
        family: Bandit,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None,
        device: torch.device | str,
    ) -> None:
        super().__init__(family, tasks, seed=seed, lane_ids=lane_ids, device=device)
        self._pays = self._noise(1)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Begin anew; see `BatchedEnv.reset`."""
        self._refuse_another_seed(seed, self.seed)
        self._step = 0
        return self._zeros(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Pull an arm in every lane; see `BatchedEnv.step`."""
        try:
            mean = self.tasks.gather(1, actions[:, None])
        except (RuntimeError, IndexError):
            raise self._refuse_actions(actions) from None
        reward = (self._pays.at(self._step) < mean)[:, 0].float()
        self._step += 1
        info = ending(self._zeros(), self._flags(True), self.state())
        return self._zeros(), reward, self._flags(True), self._flags(False), info

    def state(self) -> dict[str, Tensor]:
        """`only`: zeros, int64 [N]; a bandit has one state."""
        return {"only": self._zeros()}

    def _zeros(self) -> Tensor:
        return torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
