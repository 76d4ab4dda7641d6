"""Movement on the ground: eight actions, walls that one slides along; batched, on any device.

N lanes, A actions, H headings, W walls. Every operation rounds as IEEE 754 says (no sums over more
than two numbers, no sines at run time), so positions are the same beside any other lanes and on any
device. Nothing here knows who draws the world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adbench_envs.worlds.obstacles import Obstacles, obstacles
from adbench_envs.worlds.outlines import area, left_of
from adbench_envs.worlds.world import World

ACTIONS = (
    "forward",
    "back",
    "left",
    "right",
    "turn left",
    "turn right",
    "turn left and go forward",
    "turn right and go forward",
)
"""The paper's eight actions (Laskin et al. 2022, appendix); left and right are sidesteps."""

_TURN = (0, 0, 0, 0, 1, -1, 1, -1)
_AHEAD = (1, -1, 0, 0, 0, 0, 1, 1)
_LEFT = (0, 0, 1, -1, 0, 0, 0, 0)

_TOUCHING = 1e-6
"""Metres behind a wall that are rounding and no step through it: positions are below 100 m, where
float32 has steps of 8e-6 at most; within 8 m, of 5e-7."""

_SKIN = 1e-4
"""Metres by which a wall reaches past its ends, so that nobody slips through a corner."""

_SLIDES = 3
"""A step meets a wall, slides into a second one, and slides once more; then it stops."""


@dataclass(frozen=True)
class Turns:
    """What each action does at each heading; headings are equal parts of a turn, 0 is east.

    Attributes:
        by: metres east and south, float32 [A * H, 2]; row `action * H + heading`.
        heading: the heading afterwards, int64 [A * H].
        yaw: of each heading, radians in [0, 2 pi), float32 [H].
    """

    by: Tensor
    heading: Tensor
    yaw: Tensor

    @property
    def num_headings(self) -> int:
        """H."""
        return len(self.yaw)

    def to(self, device: torch.device | str) -> Turns:
        """The same on another device."""
        return Turns(self.by.to(device), self.heading.to(device), self.yaw.to(device))


def turns(step_metres: float, num_headings: int = 8) -> Turns:
    """The table of the eight actions.

    Args:
        step_metres: how far a step goes.
        num_headings: H; a turn is one part of a full circle in H.
    """
    rows, headings = [], []
    for action in range(len(ACTIONS)):
        for heading in range(num_headings):
            after = (heading + _TURN[action]) % num_headings
            cos, sin = direction(after, num_headings)
            ahead, left = _AHEAD[action] * step_metres, _LEFT[action] * step_metres
            rows.append((ahead * cos - left * sin, -ahead * sin - left * cos))
            headings.append(after)
    yaw = torch.arange(num_headings, dtype=torch.float64) * (2.0 * math.pi / num_headings)
    return Turns(torch.tensor(rows), torch.tensor(headings), yaw.float())


def direction(heading: int, num_headings: int) -> tuple[float, float]:
    """(cos, sin) of a heading, exact at right angles."""
    angle = 2.0 * math.pi * heading / num_headings
    return tuple(0.0 if abs(v) < 1e-12 else v for v in (math.cos(angle), math.sin(angle)))  # type: ignore[return-value]


class Ground(Protocol):
    """Where one may go."""

    def move(self, position: Tensor, by: Tensor) -> Tensor:
        """Where a step ends, float32 [N, 2].

        Args:
            position: x, z, where one may be; float32 [N, 2].
            by: the step, if nothing were in the way; float32 [N, 2].
        """

    def to(self, device: torch.device | str) -> Ground:
        """The same on another device."""


@dataclass(frozen=True)
class Pool:
    """A circle around the origin: who would leave it is put onto the nearest point of its rim."""

    radius: float

    def move(self, position: Tensor, by: Tensor) -> Tensor:
        """See `Ground.move`."""
        goal = position + by
        square = goal * goal
        far = (square[:, :1] + square[:, 1:]).sqrt_()
        return goal * (self.radius / far.clamp_min_(self.radius))

    def to(self, device: torch.device | str) -> Pool:
        """The same on another device."""
        return self


@dataclass(frozen=True)
class Hall:
    """A rectangle along x and z: what leads through a wall is left out of a step."""

    low: Tensor
    high: Tensor

    def move(self, position: Tensor, by: Tensor) -> Tensor:
        """See `Ground.move`."""
        return torch.clamp(position + by, self.low, self.high)

    def to(self, device: torch.device | str) -> Hall:
        """The same on another device."""
        return Hall(self.low.to(device), self.high.to(device))


@dataclass(frozen=True)
class Walls:
    """Any walls, with the open space on their left, and rims around it all.

    A step that meets a wall goes on along it with what is left of the step in the wall's direction.

    Attributes:
        start: x, z, float32 [W, 2].
        along: unit vectors along the walls, float32 [W, 2].
        inward: unit vectors to their left, float32 [W, 2].
        length: metres, float32 [W].
        rims: x, z, radius; float32 [R, 3].
    """

    start: Tensor
    along: Tensor
    inward: Tensor
    length: Tensor
    rims: Tensor

    def move(self, position: Tensor, by: Tensor) -> Tensor:
        """See `Ground.move`."""
        # Most steps meet nothing; on the CPU it costs nothing to look which ones do.
        picks = position.device.type == "cpu"
        return self._within_rims(self._slide(position, position + by, _SLIDES, picks=picks))

    def _slide(self, here: Tensor, goal: Tensor, slides: int, *, picks: bool) -> Tensor:
        """Where steps from `here` towards `goal` end, both float32 [N, 2]; the same whether it
        picks the lanes that meet a wall or goes on with all of them."""
        share, wall, behind = self._first_wall(here, goal)
        meets = share <= 1.0
        lanes = meets.nonzero()[:, 0] if picks else torch.arange(len(here), device=here.device)
        if slides == 0 or not len(lanes):
            return torch.where(meets[:, None], here, goal)
        at, to, wall = here[lanes], goal[lanes], wall[lanes]
        stop = at + (to - at) * share[lanes].clamp_max(1.0)[:, None]
        along = to - behind[lanes, None] * self.inward[wall]
        slid = self._slide(stop, along, slides - 1, picks=picks)
        return torch.where(meets[:, None], goal.index_copy(0, lanes, slid), goal)

    def _within_rims(self, goal: Tensor) -> Tensor:
        for rim in self.rims:
            apart = goal - rim[:2]
            square = apart * apart
            far = (square[:, :1] + square[:, 1:]).sqrt()
            goal = torch.where(far > rim[2], rim[:2] + apart * (rim[2] / far), goal)
        return goal

    def to(self, device: torch.device | str) -> Walls:
        """The same on another device."""
        return Walls(*(tensor.to(device) for tensor in vars(self).values()))

    def _first_wall(self, here: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Share of the way to the first wall (2: none is met), its number, and how far in front of
        it the goal lies (negative: behind), all [N]."""
        before, after = self._seen_from(here, self.inward), self._seen_from(goal, self.inward)
        share = (before / (before - after)).clamp(0.0, 1.0)
        start, end = self._seen_from(here, self.along), self._seen_from(goal, self.along)
        where = start + (end - start) * share
        meets = (after < -_TOUCHING) & (after < before) & (before > -_SKIN)
        meets &= (where > -_SKIN) & (where < self.length + _SKIN)
        first, wall = torch.where(meets, share, 2.0).min(dim=1)
        return first, wall, after.gather(1, wall[:, None])[:, 0]

    def _seen_from(self, point: Tensor, axes: Tensor) -> Tensor:
        """Coordinates of N points from each wall's start along its axis, [N, W]."""
        x = (point[:, None, 0] - self.start[:, 0]) * axes[:, 0]
        z = (point[:, None, 1] - self.start[:, 1]) * axes[:, 1]
        return x + z


def ground(world: World) -> Ground:
    """The quickest form that a world's ground has: a pool, a hall, or any walls."""
    found = obstacles(world)
    if len(found.rims) == 1 and found.rims[0][:2] == (0.0, 0.0):
        radius = found.rims[0][2]
        if all(_beyond(radius, found, wall) for wall in range(len(found.segments()))):
            return Pool(radius)
    if len(found.loops) == 1 and not found.rims and _upright(found.loops[0]):
        corners = torch.tensor(found.loops[0])
        return Hall(corners.amin(dim=0), corners.amax(dim=0))
    return walls(world)


def walls(world: World) -> Walls:
    """A world's ground in the form that fits all."""
    found = obstacles(world)
    segments = found.segments()
    starts, ends = torch.tensor(segments, dtype=torch.float64).unbind(1)
    length = (ends - starts).norm(dim=1)
    return Walls(
        start=starts.float(),
        along=((ends - starts) / length[:, None]).float(),
        inward=torch.tensor([left_of(wall) for wall in segments]),
        length=length.float(),
        rims=torch.tensor(found.rims).reshape(-1, 3),
    )


def _beyond(radius: float, found: Obstacles, wall: int) -> bool:
    """Whether a wall lies outside of a circle around the origin."""
    (x0, z0), (x1, z1) = found.segments()[wall]
    dx, dz = x1 - x0, z1 - z0
    share = min(1.0, max(0.0, -(x0 * dx + z0 * dz) / (dx * dx + dz * dz)))
    return math.hypot(x0 + share * dx, z0 + share * dz) >= radius


def _upright(loop: tuple[tuple[float, float], ...]) -> bool:
    """Whether an outline is a rectangle along x and z, seen from within."""
    straight = all(
        min(abs(loop[k][0] - loop[k - 1][0]), abs(loop[k][1] - loop[k - 1][1])) < 1e-9
        for k in range(len(loop))
    )
    return len(loop) == 4 and straight and area(loop) > 0.0
