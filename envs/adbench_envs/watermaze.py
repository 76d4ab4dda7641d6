"""Watermaze: find an invisible platform in a round pool, from what one sees.

N lanes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adbench.task import Spot
from adbench_envs.worlds import places
from adbench_envs.worlds.batch import Arrival, Start
from adbench_envs.worlds.cues import CUES
from adbench_envs.worlds.family import WorldFamily, checked_points
from adbench_envs.worlds.maps import spot
from adbench_envs.worlds.outlines import rectangle
from adbench_envs.worlds.places import within
from adbench_envs.worlds.scene import water
from adbench_envs.worlds.textures import WALLS
from adbench_envs.worlds.world import Camera, Rim, Room, World
from adbench_kernels.ray_casting import Picture

_LAB = 6.0
_WALL_HEIGHT = 3.5
_WATER = 0.15
_EYE_ABOVE_WATER = 0.9
_BODY = 0.2


class Watermaze(WorldFamily):
    """Watermaze: a round pool in a room of distinct walls; 1 for reaching the hidden platform.

    Description:
        A Morris water maze, seen by the swimmer. The platform never shows; walls in four colours
        and a picture on each of them tell where one is.
    Tasks:
        Where the platform's middle is, float32 [2] (x, z in metres), uniform over the pool between
        0.9 and 3.05 m from its middle. `region` lies in a sector of 60 degrees, whose direction the
        split's seed draws; training, validation and `test` stay a platform's diameter away from
        it. Without a count: 2048 for training, 64 for validation, 128 a test set.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8): forward, back, left, right (0.4 m each), turn left, turn right (45 degrees),
        turn left and go forward, turn right and go forward. Who would leave the pool slides along
        its rim: the middle of the body stays within 3.4 m of the pool's, 0.2 m from the rim.
    Starting state:
        The middle of the pool, with one of eight headings drawn at every episode: a fixed one would
        let an agent replay its actions blind.
    Rewards:
        1 on a step that ends within 0.35 m of the platform's middle, else 0.
    Episode end:
        Terminated on the platform, truncated after 50 steps.
    Sources:
        Laskin et al. 2022 (arXiv 2210.14215), section 4 and appendix C: DeepMind Lab's watermaze,
        eight actions, 50 steps. The paper states no sizes; these are ours.
    Version history:
        0: first.
    """

    name = "watermaze"
    version = 0
    max_episode_steps = 50
    ends_at_goal = True
    step_metres = 0.4
    reach_metres = 3.4
    platform_radius = 0.35
    nearest_metres = 0.9
    farthest_metres = 3.05
    places_a_side = 17

    def build(self) -> tuple[World, ...]:
        """The room and the pool."""
        return (pool_room(self.name, self.reach_metres),)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Middles of platforms, float32 [count, 2]; see `TaskFamily.tasks`."""
        return places.spots(
            self.name,
            split,
            count,
            seed=seed,
            each=1,
            diameter=2 * self.platform_radius,
            nearest=self.nearest_metres,
            draw=places.in_ring(self.nearest_metres, self.farthest_metres),
        )[:, 0]

    def checked(self, tasks: Tensor) -> Tensor:
        """Middles of platforms; see `WorldFamily.checked`."""
        return checked_points(self, tasks, (2,))

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """The platform; see `WorldFamily.hidden`."""
        return (spot(task, self.platform_radius),)

    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """The platform pays and ends; see `WorldFamily.arrive`."""
        found = within(position, tasks, self.platform_radius)
        return Arrival(found.float(), found)

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Ones, float32 [N].

        Exact: steps in two neighbouring headings make a lattice whose points are nowhere farther
        than 0.55 steps apart from any place, which is within the platform's radius, and 50 steps
        (25 where they are longer) cross the pool.
        """
        return torch.ones(len(self.checked(tasks)))


class WatermazeSmall(Watermaze):
    """Watermaze, small: the same pool with a larger platform and longer steps.

    Description:
        What a laptop can learn: as `watermaze`, with fewer and coarser places.
    Tasks:
        Where the platform's middle is, float32 [2] (x, z in metres), uniform over the pool between
        0.9 and 3.0 m from its middle; splits as `watermaze`.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8), as `watermaze`, 0.8 m a step.
    Starting state:
        The middle of the pool, with one of eight headings drawn at every episode.
    Rewards:
        1 on a step that ends within 0.6 m of the platform's middle, else 0.
    Episode end:
        Terminated on the platform, truncated after 25 steps.
    Sources:
        Ours, after `watermaze`.
    Version history:
        0: first.
    """

    name = "watermaze-small"
    version = 0
    max_episode_steps = 25
    step_metres = 0.8
    platform_radius = 0.6
    farthest_metres = 3.0
    places_a_side = 11


class WatermazeHard(Watermaze):
    """Watermaze, hard: a larger pool, a smaller platform, and a start anywhere.

    Description:
        As `watermaze`, but no two episodes need begin at the same place, so one has to tell where
        one is from what one sees.
    Tasks:
        Where the platform's middle is, float32 [2] (x, z in metres), uniform over the pool between
        0.9 and 4.3 m from its middle; splits as `watermaze`.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8), as `watermaze`, 0.4 m a step. The middle of the body stays within 4.6 m of the
        pool's.
    Starting state:
        Uniform over the pool, the platform included, with one of eight headings; drawn at every
        episode.
    Rewards:
        1 on a step that ends within 0.3 m of the platform's middle, else 0.
    Episode end:
        Terminated on the platform, truncated after 100 steps.
    Sources:
        Ours, after `watermaze`.
    Version history:
        0: first.
    """

    name = "watermaze-hard"
    version = 0
    max_episode_steps = 100
    reach_metres = 4.6
    platform_radius = 0.3
    farthest_metres = 4.3
    places_a_side = 23
    start_channels = 3

    def begin(self, noise: Tensor) -> Start:
        """Anywhere in the pool; see `WorldFamily.begin`."""
        # Doubles: a sine's last bit differs between devices, a position's must not.
        radius = self.reach_metres * noise[:, 1].double().sqrt()
        angle = noise[:, 2].double() * (2.0 * math.pi)
        place = torch.stack([radius * angle.cos(), -radius * angle.sin()], dim=1).float()
        return Start(place, self.random_heading(noise))


def pool_room(name: str, reach: float) -> World:
    """A room of four colours with a pool in its middle and a picture on each wall.

    Args:
        name: the world's.
        reach: how far a swimmer's middle gets from the pool's, metres.
    """
    radius = reach + _BODY
    pictures = tuple(
        Picture(
            (_LAB * math.cos(angle), 2.2, -_LAB * math.sin(angle)),
            angle + math.pi,
            width=2.0,
            height=2.0,
            texture=cue,
        )
        for angle, cue in zip((0.5 * math.pi * k for k in range(4)), CUES, strict=False)
    )
    return World(
        name,
        rooms=(Room("lab", rectangle(_LAB), WALLS, "concrete", "panels", _WALL_HEIGHT),),
        rims=(Rim(radius, bottom=_WATER),),
        discs=(water(radius, _WATER),),
        pictures=pictures,
        camera=Camera(_WATER + _EYE_ABOVE_WATER),
        body_radius=_BODY,
    )
