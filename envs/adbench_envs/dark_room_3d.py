"""Dark Room in three dimensions: an invisible spot in a bare hall, seen from within.

N lanes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench.task import Spot
from adbench_envs.worlds import places
from adbench_envs.worlds.batch import Arrival
from adbench_envs.worlds.family import WorldFamily, checked_points
from adbench_envs.worlds.halls import REACH, hall
from adbench_envs.worlds.maps import spot
from adbench_envs.worlds.places import within
from adbench_envs.worlds.returns import steps_to
from adbench_envs.worlds.world import World


class DarkRoom3D(WorldFamily):
    """Dark Room 3D: a bare square hall, reward for every step that ends on an invisible spot.

    Description:
        The agent sees plain walls with two pictures on each, and never the spot.
    Tasks:
        The spot's middle, float32 [2] (x, z in metres), uniform over the square of 5 x 5 m, at
        least 0.9 m from its middle. `region` lies in a sector of 60 degrees, whose direction the
        split's seed draws; training, validation and `test` stay a spot's diameter away from it.
        Without a count: 2048 for training, 64 for validation, 128 a test set.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8): forward, back, left, right (0.6 m each), turn left, turn right (45 degrees),
        turn left and go forward, turn right and go forward. One slides along walls: the middle of
        the body stays 0.2 m away from those of the hall of 6 x 6 m.
    Starting state:
        The middle of the hall, with one of eight headings drawn at every episode.
    Rewards:
        1 on every step that ends within 0.5 m of the spot's middle, else 0 (turning on the spot
        pays).
    Episode end:
        Truncated after 30 steps; never terminated.
    Sources:
        Ours, after Dark Room (Laskin et al. 2022, arXiv 2210.14215).
    Version history:
        0: first.
    """

    name = "dark-room-3d"
    version = 0
    max_episode_steps = 30
    step_metres = 0.6
    reach_metres = REACH
    places_a_side = 11
    spot_radius = 0.5
    spread_metres = 2.5
    nearest_metres = 0.9
    stays = True

    def build(self) -> tuple[World, ...]:
        """The hall."""
        return (hall(self.name, cues=True),)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Middles of spots, float32 [count, 2]; see `TaskFamily.tasks`."""
        return places.spots(
            self.name,
            split,
            count,
            seed=seed,
            each=1,
            diameter=2 * self.spot_radius,
            nearest=self.nearest_metres,
            draw=places.in_square(self.spread_metres),
        )[:, 0]

    def checked(self, tasks: Tensor) -> Tensor:
        """Middles of spots; see `WorldFamily.checked`."""
        return checked_points(self, tasks, (2,))

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """The spot; see `WorldFamily.hidden`."""
        return (spot(task, self.spot_radius),)

    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """The spot pays; see `WorldFamily.arrive`."""
        found = within(position, tasks, self.spot_radius)
        return Arrival(found.float(), torch.zeros_like(found))

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Steps that are left when the nearest way ends, and that one; float32 [N].

        The mean over the eight headings at the start, by search over all ways (`steps_to`).
        """
        needed = steps_to(
            self.ground,
            self.turns,
            (0.0, 0.0),
            self.checked(tasks),
            self.spot_radius,
            most_steps=self.max_episode_steps,
        )
        return (self.max_episode_steps + 1 - needed).float().mean(dim=0)
