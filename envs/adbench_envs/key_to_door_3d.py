"""Key-to-Door in three dimensions: two invisible spots of a bare hall, in order.

N lanes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench.task import Spot
from adbench_envs.worlds import places
from adbench_envs.worlds.batch import Arrival, Start
from adbench_envs.worlds.family import WorldFamily, checked_points
from adbench_envs.worlds.halls import REACH, hall
from adbench_envs.worlds.maps import spot
from adbench_envs.worlds.places import within
from adbench_envs.worlds.world import World


class KeyToDoor3D(WorldFamily):
    """Key-to-Door 3D: a bare square hall, 1 for the invisible key and then 1 for the door.

    Description:
        The agent sees plain walls with two pictures on each. Neither spot shows, nor whether the
        key is held.
    Tasks:
        The middles of key and door, float32 [2, 2] (x, z in metres), each uniform over the square
        of 5 x 5 m and at least 0.9 m from its middle; they may overlap. In `region` both lie in a
        sector of 60 degrees, whose direction the split's seed draws; in training, validation and
        `test` both stay a spot's diameter away from it. Without a count: 2048 for training, 64 for
        validation, 128 a test set.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8): forward, back, left, right (0.6 m each), turn left, turn right (45 degrees),
        turn left and go forward, turn right and go forward. One slides along walls: the middle of
        the body stays 0.2 m away from those of the hall of 6 x 6 m.
    Starting state:
        The middle of the hall, without the key, with one of eight headings drawn at every episode.
    Rewards:
        1 on the first step that ends within 0.6 m of the key's middle, 1 on a step that ends within
        0.6 m of the door's while holding it. Where both overlap, one step may earn both.
    Episode end:
        Terminated at the door, truncated after 50 steps.
    Sources:
        Ours, after Dark Key-to-Door (Laskin et al. 2022, arXiv 2210.14215).
    Version history:
        0: first.
    """

    name = "key-to-door-3d"
    version = 0
    max_episode_steps = 50
    ends_at_goal = True
    step_metres = 0.6
    reach_metres = REACH
    places_a_side = 11
    num_memories = 2
    spot_radius = 0.6
    spread_metres = 2.5
    nearest_metres = 0.9

    def build(self) -> tuple[World, ...]:
        """The hall."""
        return (hall(self.name, cues=True),)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Middles of key and door, float32 [count, 2, 2]; see `TaskFamily.tasks`."""
        return places.spots(
            self.name,
            split,
            count,
            seed=seed,
            each=2,
            diameter=2 * self.spot_radius,
            nearest=self.nearest_metres,
            draw=places.in_square(self.spread_metres),
        )

    def checked(self, tasks: Tensor) -> Tensor:
        """Middles of key and door; see `WorldFamily.checked`."""
        return checked_points(self, tasks, (2, 2))

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """Key and door; see `WorldFamily.hidden`."""
        return tuple(
            spot(task[k], self.spot_radius, name) for k, name in enumerate(("key", "door"))
        )

    def begin(self, noise: Tensor) -> Start:
        """In the middle, without the key; see `WorldFamily.begin`."""
        start = super().begin(noise)
        return Start(start.position, start.heading, {"has_key": torch.zeros_like(noise[:, 0] > 1)})

    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """The key, then the door; see `WorldFamily.arrive`."""
        had_key = memory["has_key"]
        has_key = had_key | within(position, tasks[:, 0], self.spot_radius)
        opens = has_key & within(position, tasks[:, 1], self.spot_radius)
        return Arrival((has_key ^ had_key).float() + opens, opens, {"has_key": has_key})

    def memory_index(self, state: dict[str, Tensor]) -> Tensor:
        """Whether the key is held, int64 [N]."""
        return state["has_key"].long()

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Twos, float32 [N].

        Exact: a spot is wider than the lattice of steps is coarse, and 50 steps cross the hall
        thrice.
        """
        return torch.full((len(self.checked(tasks)),), 2.0)
