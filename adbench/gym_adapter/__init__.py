"""Plain gymnasium environments as a task family: `adbench.gym_family`.

The environments stay as they are. `tasks` turns a list or a sampler of tasks into disjoint splits,
`lane` brings one environment to what the suite carries, `batch` runs many through gymnasium's own
vector classes and hands out tensors, `family` is the whole.
"""

from __future__ import annotations

from adbench.gym_adapter.family import GymFamily, gym_family

__all__ = ["GymFamily", "gym_family"]
