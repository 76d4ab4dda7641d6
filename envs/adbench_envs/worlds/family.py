"""Task families of first-person worlds: what all of them share.

N lanes, K episodes, C channels of noise, H headings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.task import GroundMap, Observe, Outline, Spot, TaskFamily, UsageError
from adbench_envs.worlds.batch import Arrival, Start, WorldBatch
from adbench_envs.worlds.checks import check_start
from adbench_envs.worlds.maps import ground_outlines, within_rims
from adbench_envs.worlds.movement import ACTIONS, Ground, Turns, ground, turns
from adbench_envs.worlds.renderers import renderer as make_renderer
from adbench_envs.worlds.returns import Paths, random_paths, random_return
from adbench_envs.worlds.states import check_frame, check_memory, check_poses
from adbench_envs.worlds.steering import Steering, steering
from adbench_envs.worlds.world import World


class WorldFamily(TaskFamily):
    """A family whose agents walk through a world and see it.

    The rules are two pure functions, `begin` and `arrive`; the batch that applies them, the frames
    and the returns of random play are made here.

    Args:
        height: rows of a frame.
        width: its columns.
        samples: 1 a pixel, or 4.
        renderer: "raycast", or "miniworld": OpenGL, in processes of its own (`opengl.workers`). Who
            draws changes nothing that happens.

    Attributes:
        worlds: what is drawn; most families have one. All have the same ground.
        draw: who draws it (`renderers`).
        step_metres: how far a step goes.
        num_headings: H; a turn is a full circle in H.
        reach_metres: half the side of the square that `place` is a grid over.
        places_a_side: cells of that grid along x and along z; odd, so that one is in the middle.
        num_memories: values of `memory_index`.
        drawn_memories: of what an episode leaves behind, what shows, and how many values it has.
        stays: whether staying where one is can be worth it; it is a direction then.
        start_channels: numbers that `begin` draws from.
        random_episodes: random play is estimated from so many episodes.
    """

    renderer: str | None = "raycast"
    frame_settings: ClassVar[frozenset[str]] = frozenset({"height", "width", "samples", "renderer"})
    test_sets = ("test", "region")
    step_metres: float
    num_headings: int = 8
    reach_metres: float
    places_a_side: int
    num_memories: int = 1
    drawn_memories: ClassVar[dict[str, int]] = {}
    stays: bool = False
    start_channels: int = 1
    random_episodes: int = 4096

    def __init__(
        self, *, height: int = 64, width: int = 64, samples: int = 1, renderer: str = "raycast"
    ) -> None:
        check_frame(height, width, samples)
        self.frame = (height, width)
        self.samples = samples
        self.renderer = renderer
        # Frames of other processes come to the CPU.
        self.accelerated = renderer == "raycast"
        self.observation_space = spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.worlds = self.build()
        self.num_tabular_states = self.num_memories * self.num_places * self.num_headings
        self.num_option_states, self.num_options = self.option_sizes
        for world in self.worlds:
            check_start(world, [(0.0, 0.0)])
        self.draw = make_renderer(renderer, self.worlds, frame=self.frame, samples=samples)

    @abstractmethod
    def build(self) -> tuple[World, ...]:
        """The worlds that are drawn."""

    @abstractmethod
    def checked(self, tasks: Tensor) -> Tensor:
        """Tasks on the CPU.

        Raises:
            UsageError: they are none of this family's.
        """

    @abstractmethod
    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """What ending a step at a place brings.

        Args:
            tasks: [N, ...].
            position: x, z; float32 [N, 2].
            memory: what the episode so far has left behind, by name, [N, ...].
        """

    @abstractmethod
    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Expected return of the best policy that knows the task, float32 [N]."""

    def begin(self, noise: Tensor) -> Start:
        """How episodes begin: in the middle, with a random heading.

        Args:
            noise: uniform numbers in [0, 1), float32 [N, C].
        """
        return Start(torch.zeros_like(noise[:, :1]).expand(-1, 2), self.random_heading(noise))

    def random_heading(self, noise: Tensor) -> Tensor:
        """A heading of the first channel, int64 [N]."""
        return (noise[:, 0] * self.num_headings).long()

    def make(
        self,
        tasks: Tensor,
        *,
        seed: int,
        lane_ids: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
        observe: Observe = "agent",
    ) -> WorldBatch:
        """One lane a task; see `TaskFamily.make`."""
        return WorldBatch(
            self,
            self.checked(tasks),
            seed=seed,
            lane_ids=lane_ids,
            device=device,
            sees=observe == "agent",
        )

    def random_return(self, tasks: Tensor) -> Tensor:
        """Expected return of uniformly random actions, float32 [N].

        Every task is played along the same `random_episodes` random paths, so the standard error of
        a task's return p (a share of episodes) is sqrt(p (1 - p) / random_episodes), 0.006 at most
        for p of 0.17.
        """
        return random_return(self, self.checked(tasks))

    def render_state(self, state: dict[str, Tensor]) -> Tensor:
        """Frames of states as `BatchedEnv.state` gives them, uint8 [N, Y, X, 3].

        Raises:
            UsageError: these are no states of this family's; a pose lies outside of the world
                (looked at on the CPU alone).
            AdbenchError: a process that draws for the miniworld renderer died.
        """
        check_memory(self.name, state, self.drawn_memories)
        pose = state["pose"]
        check_poses(self.worlds[0], pose)
        return self.draw(pose, self.world_index(state), self.bodies(state))

    def map(self, task: Tensor, state: dict[str, Tensor] | None = None) -> GroundMap:
        """The first world's ground, what stands on it, and what the task hides; see
        `TaskFamily.map`."""
        world = self.worlds[0]
        standing = (*ground_outlines(world), *self.standing(state))
        return GroundMap(standing, self.hidden(task, state), within_rims(world))

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """What a task hides; arguments as `map`."""
        return ()

    def standing(self, state: dict[str, Tensor] | None) -> tuple[Outline, ...]:
        """What stands elsewhere in other episodes; `state` as in `map`."""
        return ()

    def world_index(self, state: dict[str, Tensor]) -> Tensor | None:
        """Which of `worlds` each lane is in, int64 [N]; none: the first."""
        return None

    def bodies(self, state: dict[str, Tensor]) -> Tensor | None:
        """x, y, z, yaw of each lane's bodies, float32 [N, B, 4]; none: there are none."""
        return None

    def place(self, state: dict[str, Tensor]) -> Tensor:
        """Cell of a grid over the ground, int64 [N] in [0, num_places): row of z, column of x."""
        pose = state["pose"]
        cells = (pose[:, :2] + self.reach_metres) * (self.places_a_side / (2 * self.reach_metres))
        column, row = cells.long().clamp(0, self.places_a_side - 1).unbind(1)
        return row * self.places_a_side + column

    @property
    def num_places(self) -> int:
        """Values of `place`."""
        return self.places_a_side**2

    def heading(self, state: dict[str, Tensor]) -> Tensor:
        """Number of a heading, int64 [N] in [0, num_headings): 0 is east, then counterclockwise."""
        part = 2.0 * torch.pi / self.num_headings
        return (state["pose"][:, 2] / part).round().long() % self.num_headings

    def memory_index(self, state: dict[str, Tensor]) -> Tensor | None:
        """Number of what the episode has left behind, int64 [N]; none: nothing."""
        return None

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """`place_state * num_headings + heading`, int64 [N].

        Poses within a cell share a row, so the table is Markov but nearly.
        """
        return self.place_state(state) * self.num_headings + self.heading(state)

    def place_state(self, state: dict[str, Tensor]) -> Tensor:
        """`memory * num_places + place`, int64 [N]."""
        row = self.place(state)
        memory = self.memory_index(state)
        return row if memory is None else memory * self.num_places + row

    @property
    def option_sizes(self) -> tuple[int, int]:
        """How many values `option_state` has, and how many options there are."""
        return self.num_memories * self.num_places, self.num_headings + self.stays

    def option_state(self, state: dict[str, Tensor]) -> Tensor:
        """Where one is, whatever the heading: `place_state`."""
        return self.place_state(state)

    def follow(self, state: dict[str, Tensor], option: Tensor) -> tuple[Tensor, Tensor]:
        """The headings' directions are options, to stay is the last; see `TaskFamily.follow`."""
        return self.steering(self.heading(state), option)

    @cached_property
    def steering(self) -> Steering:
        """What to do at each heading to go in each direction."""
        return steering(self.turns, self.step_metres, stays=self.stays)

    @cached_property
    def ground(self) -> Ground:
        """Where one may go."""
        return ground(self.worlds[0])

    @cached_property
    def turns(self) -> Turns:
        """What each action does at each heading."""
        return turns(self.step_metres, self.num_headings)

    @cached_property
    def paths(self) -> Paths:
        """Where random play leads."""
        return random_paths(self)


def checked_points(family: WorldFamily, tasks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Hidden spots as float32 on the CPU.

    Args:
        family: whose tasks they are.
        tasks: x, z in metres, [N, *shape]; the last size is 2.
        shape: of one task.

    Raises:
        UsageError: another shape, or a spot where nobody gets.
    """
    if tuple(tasks.shape[1:]) != shape or len(tasks) == 0 or not tasks.is_floating_point():
        raise UsageError(
            f"{family.name}: tasks must be x, z in metres, float32 {['N', *shape]}; "
            f"got {tasks.dtype} {list(tasks.shape)}."
        )
    tasks = tasks.detach().to("cpu", torch.float32).contiguous()
    points = tasks.reshape(-1, 2)
    stays = family.ground.move(points, torch.zeros_like(points))
    wrong = ~((stays - points).abs() < 1e-3).all(dim=1)
    if bool(wrong.any()):
        x, z = points[wrong][0].tolist()
        raise UsageError(
            f"{family.name}: the spot ({x:g}, {z:g}) lies outside of the world: nobody gets there. "
            "Take tasks from family.tasks(split, count, seed=...)."
        )
    return tasks
