"""Observations as flat vectors, for learners that are plain networks.

N lanes, F features. Symbols become one-hot vectors; bounded numbers are scaled to [-1, 1],
unbounded ones are left as they are; pixels are scaled to [0, 1].
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from torch import Tensor

from adbench import spaces
from adbench.errors import UsageError
from adbench.tokens import Observation

# Bounds beyond this are a type's limits, not a world's.
_LARGEST_BOUND = 1e6


class FeatureEncoder:
    """Turns observations of one space into float32 [N, F].

    Args:
        space: Discrete, MultiDiscrete, Box, or a Dict of these.
        device: where observations and features live.

    Attributes:
        size: F.

    Raises:
        UsageError: any other space.
    """

    def __init__(self, space: gymnasium.Space[Any], device: torch.device) -> None:
        self._device = device
        self._parts = {key: _part(part, device) for key, part in spaces.parts(space).items()}
        self.size = sum(part.size for part in self._parts.values())

    def __call__(self, observation: Observation) -> Tensor:
        """Features of a batch of observations, float32 [N, F]."""
        tensors = spaces.tensors(observation)
        encoded = [part(tensors[key]) for key, part in self._parts.items()]
        return encoded[0] if len(encoded) == 1 else torch.cat(encoded, dim=1)


class _Symbols:
    """One-hot vectors, one after the other."""

    def __init__(self, counts: np.ndarray[Any, Any], starts: Any, device: torch.device) -> None:
        self.size = int(counts.sum())
        ends = np.cumsum(counts) - counts - starts
        self._offsets = torch.from_numpy(ends.astype(np.int64)).to(device)

    def __call__(self, values: Tensor) -> Tensor:
        index = values.reshape(len(values), -1) + self._offsets
        features = torch.zeros(len(values), self.size, device=values.device)
        return features.scatter_(1, index, 1.0)


class _Numbers:
    """Numbers scaled by their bounds, where these mean something."""

    def __init__(self, space: Box, device: torch.device) -> None:
        low = space.low.astype(np.float64).ravel()
        high = space.high.astype(np.float64).ravel()
        if len(space.shape) > 1 and space.dtype == np.uint8:
            low = -high  # pixels: 0 stays 0
        bounded = (np.abs(low) < _LARGEST_BOUND) & (np.abs(high) < _LARGEST_BOUND) & (high > low)
        low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
        self.size = len(low)
        self._middle = torch.tensor((low + high) / 2, dtype=torch.float32, device=device)
        self._half = torch.tensor((high - low) / 2, dtype=torch.float32, device=device)

    def __call__(self, values: Tensor) -> Tensor:
        return (values.flatten(1).float() - self._middle) / self._half


def _part(space: gymnasium.Space[Any], device: torch.device) -> _Symbols | _Numbers:
    if isinstance(space, Discrete):
        return _Symbols(np.array([space.n]), space.start, device)
    if isinstance(space, MultiDiscrete):
        return _Symbols(space.nvec.ravel(), space.start.ravel(), device)
    if isinstance(space, Box) and not isinstance(space, Dict):
        return _Numbers(space, device)
    raise UsageError(
        f"source 'a2c' cannot read observations of {space}. It reads Discrete, MultiDiscrete, Box, "
        "and a Dict of these; wrap the environment, or use another source."
    )
