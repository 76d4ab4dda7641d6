"""Keyed randomness: every draw is a function of (seed, stage, purpose, task, lane id, step).

N lanes, C channels. A lane draws the same numbers beside any other lanes, in any process and on any
device, because each has a Philox generator of its own whose key is a hash of who it is and whose
counter is the step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Philox4x64 gives four 64-bit words a counter value, hence eight float32.
_FLOATS_PER_COUNTER = 8


def key_of(*parts: int | str | bytes) -> np.ndarray:
    """A 128-bit Philox key from a list of parts, uint64 [2]; equal parts give equal keys."""
    digest = hashlib.blake2b(digest_size=16)
    _absorb(digest, parts)
    return np.frombuffer(digest.digest(), dtype=np.uint64)


def _absorb(digest: hashlib.blake2b, parts: Sequence[int | str | bytes]) -> None:
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(raw).to_bytes(8, "little") + type(part).__name__.encode() + raw)


def generator(*parts: int | str | bytes) -> np.random.Generator:
    """A NumPy generator keyed by `parts`, for draws that belong to no lane (a split of tasks)."""
    return np.random.Generator(np.random.Philox(key=key_of(*parts)))


def torch_generator(*parts: int | str | bytes) -> torch.Generator:
    """A CPU torch generator keyed by `parts` (parameter initialisation, dropout)."""
    return torch.Generator().manual_seed(int(key_of(*parts)[0] >> np.uint64(1)))


class LaneNoise:
    """Uniform noise for N lanes, C channels a step.

    Args:
        keys: one Philox key a lane, each uint64 [2].
        channels: numbers a lane needs at each step.
        device: where `at` puts them.
        block_steps: steps drawn at once.
    """

    def __init__(
        self,
        keys: Sequence[np.ndarray],
        channels: int,
        *,
        device: torch.device | str = "cpu",
        block_steps: int = 256,
    ) -> None:
        self.channels = channels
        self.device = torch.device(device)
        self._keys = list(keys)
        self._block_steps = -(-block_steps // _FLOATS_PER_COUNTER) * _FLOATS_PER_COUNTER
        self._block = -1
        self._next = -1
        self._generators: list[np.random.Generator] = []
        self._values = torch.empty(0)

    def at(self, step: int) -> Tensor:
        """The noise of one step: float32 [N, C] in [0, 1). Any order is right, rising is cheap."""
        block, offset = divmod(step, self._block_steps)
        if block != self._block:
            self._draw(block)
        return self._values[offset]

    def gumbel_at(self, step: int) -> Tensor:
        """Standard Gumbel noise of one step, float32 [N, C]: argmax(logits + it) samples it."""
        tiny = torch.finfo(torch.float32).tiny
        exponential = -torch.log(self.at(step).clamp(min=tiny))
        return -torch.log(exponential.clamp(min=tiny))

    def _draw(self, block: int) -> None:
        if block != self._next:
            counter = block * self._block_steps * self.channels // _FLOATS_PER_COUNTER
            self._generators = [
                np.random.Generator(np.random.Philox(key=key, counter=counter))
                for key in self._keys
            ]
        values = np.empty((len(self._keys), self._block_steps * self.channels), np.float32)
        for row, lane in zip(values, self._generators, strict=True):
            lane.random(out=row, dtype=np.float32)
        by_lane = torch.from_numpy(values).view(len(self._keys), self._block_steps, self.channels)
        self._values = by_lane.transpose(0, 1).contiguous().to(self.device)
        self._block, self._next = block, block + 1


@dataclass(frozen=True)
class Lanes:
    """Who the lanes of a batch are, for keying their randomness.

    Attributes:
        seed: the run's seed.
        stage: what the lanes are for ("collect", "evaluate/ad").
        tasks: one task a lane, [N, ...].
        lane_ids: one number a lane, unique among the lanes of one task.
    """

    seed: int
    stage: str
    tasks: Tensor
    lane_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.tasks) == len(self.lane_ids)

    def noise(
        self, purpose: str, channels: int, *, device: torch.device | str = "cpu"
    ) -> LaneNoise:
        """Noise for one purpose ("action", "env"); purposes never share a stream."""
        return LaneNoise(self.keys(purpose), channels, device=device)

    def keys(self, purpose: str) -> list[np.ndarray]:
        """One Philox key a lane for one purpose, each uint64 [2]."""
        tasks = self.tasks.detach().cpu().contiguous().numpy()
        common = hashlib.blake2b(digest_size=16)
        _absorb(common, (self.seed, self.stage, purpose))
        keys = []
        for task, lane in zip(tasks, self.lane_ids, strict=True):
            digest = common.copy()  # as `key_of` with all five, but the first three only once
            _absorb(digest, (task.tobytes(), lane))
            keys.append(np.frombuffer(digest.digest(), dtype=np.uint64))
        return keys
