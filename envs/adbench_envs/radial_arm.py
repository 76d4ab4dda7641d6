"""Radial arm maze: eight arms, four of them baited, and one has to remember which.

N lanes.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from adbench.task import Spot, UsageError, generator, split_indices
from adbench_envs.keyed import checked_tasks
from adbench_envs.worlds.batch import Arrival, Start
from adbench_envs.worlds.cues import CUES
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.movement import ACTIONS, direction
from adbench_envs.worlds.outlines import regular
from adbench_envs.worlds.places import checked_count
from adbench_envs.worlds.world import Camera, Room, World
from adbench_kernels.ray_casting import Picture

_ARMS = 8
_BAITS = 4
_WIDTH = 1.2
_HUB = _WIDTH / 2 / math.tan(math.pi / _ARMS)
"""Metres from the middle to an arm's mouth: eight mouths of that width make an octagon."""

_LENGTH = 2.4
_END = 2.9
"""Metres from the middle from which on one stands at an arm's end; five steps are 3.0."""

_MIDDLE = 0.3
"""Metres from the middle within which one is in it: half a step."""

_TURN_LEFT = ACTIONS.index("turn left")

_BAIT = (_END + _HUB + _LENGTH) / 2
"""Metres from the middle at which a bait is drawn on a map."""

_WALL_HEIGHT = 2.4
_SECTIONS = 3

_TOWARDS = torch.tensor([direction(k, _ARMS) for k in range(_ARMS)]).T.contiguous()
"""Cosines and sines of the arms' directions, float32 [2, 8]."""


class RadialArm(WorldFamily):
    """Radial arm maze: 1 for the first visit to each of four baited arms of eight.

    Description:
        A hub with eight arms, a different picture at the end of each. Baits do not show, and an arm
        that was visited looks as before.
    Tasks:
        Which arms are baited, int64 [8] of 0 and 1, four of them 1; arm k points 45 k degrees
        counterclockwise from the east. There are 70. The split's seed draws two neighbouring arms:
        `region` are the 15 tasks in which both are baited; a permutation of the other 55 is cut
        into 11 test, 6 validation and 38 training tasks.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8): forward, back, left, right (0.6 m each), turn left, turn right (45 degrees),
        turn left and go forward, turn right and go forward. One slides along walls. Arms are 1.2 m
        wide and 2.4 m long, the hub measures 2.9 m from mouth to mouth; the middle of the body
        stays 0.2 m away from walls.
    Starting state:
        The middle of the hub, with one of eight headings drawn at every episode.
    Rewards:
        1 on the first step of an episode that ends beyond 2.9 m of the middle in a baited arm, else
        0: a second visit pays nothing.
    Episode end:
        Terminated when the fourth bait is found, truncated after 60 steps.
    Sources:
        Ours, after Olton and Samuelson 1976, with the baits of the task that Xia et al. 2017 call
        reference memory.
    Version history:
        0: first.
    """

    name = "radial-arm"
    version = 0
    max_episode_steps = 60
    ends_at_goal = True
    step_metres = 0.6
    reach_metres = _HUB + _LENGTH
    places_a_side = 1
    num_memories = 2**_ARMS

    def build(self) -> tuple[World, ...]:
        """The hub and its arms."""
        corners = regular(_ARMS, _WIDTH / 2 / math.sin(math.pi / _ARMS), first=-math.pi / _ARMS)
        hub = Room("hub", corners, (None,) * _ARMS, "concrete", "panels", _WALL_HEIGHT)
        arms = tuple(
            _arm(k, corners[k], corners[(k + 1) % _ARMS], direction(k, _ARMS)) for k in range(_ARMS)
        )
        pictures = tuple(_end_picture(k) for k in range(_ARMS))
        return (World(self.name, (hub, *arms), pictures=pictures, camera=Camera(1.2)),)

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Which arms are baited, int64 [count, 8]; see `TaskFamily.tasks`."""
        first = int(generator(self.name, "region", seed).integers(_ARMS))
        pair = {first, (first + 1) % _ARMS}
        everything = list(combinations(range(_ARMS), _BAITS))
        region = [baits for baits in everything if pair <= set(baits)]
        others = [baits for baits in everything if not pair <= set(baits)]
        if split == "region":
            return _baited(region[: checked_count(self.name, split, count, len(region))])
        chosen = split_indices(
            len(others), split, count, seed=seed, validation=6, test=11, what="radial-arm tasks"
        )
        return _baited([others[number] for number in chosen])

    def checked(self, tasks: Tensor) -> Tensor:
        """Which arms are baited; see `WorldFamily.checked`."""
        tasks = checked_tasks(self, tasks, shape=(_ARMS,), below=2)
        if bool((tasks.sum(dim=1) != _BAITS).any()):
            raise UsageError(f"{self.name}: {_BAITS} of the {_ARMS} arms of a task are baited.")
        return tasks

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """The ends of the baited arms; see `WorldFamily.hidden`."""
        towards = (direction(k, _ARMS) for k in range(_ARMS) if task[k] > 0)
        return tuple(Spot((_BAIT * cos, -_BAIT * sin), _BAIT - _END) for cos, sin in towards)

    def begin(self, noise: Tensor) -> Start:
        """In the hub, nothing visited; see `WorldFamily.begin`."""
        start = super().begin(noise)
        visited = torch.zeros(len(noise), _ARMS, dtype=torch.bool, device=noise.device)
        return Start(start.position, start.heading, {"visited": visited})

    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """The end of a baited arm pays once; see `WorldFamily.arrive`."""
        baited = tasks > 0
        here = self._along(position) > _END
        fresh = here & ~memory["visited"] & baited
        visited = memory["visited"] | here
        return Arrival(
            fresh.any(dim=1).float(), (visited | ~baited).all(dim=1), {"visited": visited}
        )

    def place(self, state: dict[str, Tensor]) -> Tensor:
        """0 in the hub, else `1 + 3 * arm + section`, sections counted outwards; int64 [N]."""
        far, arm = self._along(state["pose"][:, :2]).max(dim=1)
        section = ((far - _HUB) * (_SECTIONS / _LENGTH)).long().clamp(0, _SECTIONS - 1)
        return torch.where(far < _HUB, 0, 1 + _SECTIONS * arm + section)

    @property
    def num_places(self) -> int:
        """The hub and three sections an arm."""
        return 1 + _SECTIONS * _ARMS

    def memory_index(self, state: dict[str, Tensor]) -> Tensor:
        """The arms that were visited as bits, int64 [N]."""
        bits = 2 ** torch.arange(_ARMS, device=state["visited"].device)
        return (state["visited"] * bits).sum(dim=1)

    @property
    def option_sizes(self) -> tuple[int, int]:
        """Each arm ahead, visited or not, and one state for the way back; two options."""
        return 2 * _ARMS + 1, 2

    def option_state(self, state: dict[str, Tensor]) -> Tensor:
        """`2 * arm ahead + visited`, and 16 in an arm that was visited; int64 [N]."""
        arm, in_middle, visited = self._ahead(state)
        return torch.where(visited & ~in_middle, 2 * _ARMS, 2 * arm + visited.long())

    def follow(self, state: dict[str, Tensor], option: Tensor) -> tuple[Tensor, Tensor]:
        """Options in the middle: 0 goes to the end of the arm ahead, 1 turns to the next one on
        the left. In an arm that was visited both come back to the middle."""
        arm, in_middle, visited = self._ahead(state)
        comes_back = visited & ~in_middle
        action, turning = self.steering(
            self.heading(state), torch.where(comes_back, (arm + _ARMS // 2) % _ARMS, arm)
        )
        far = self._along(state["pose"][:, :2]).max(dim=1).values
        out = (far + self.step_metres <= _END) & ~visited
        back = far - self.step_metres >= _MIDDLE
        under_way = turning | torch.where(comes_back, back, out)
        turns_on = (option == 1) & ~comes_back
        return torch.where(turns_on, _TURN_LEFT, action), under_way & ~turns_on

    def _ahead(self, state: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The arm one faces in the middle, and stands in or before elsewhere, int64 [N]; whether
        one is in the middle, and whether that arm was visited, bool [N]."""
        position = state["pose"][:, :2]
        in_middle = position.norm(dim=1) < _MIDDLE
        arm = torch.where(in_middle, self.heading(state), self._along(position).argmax(dim=1))
        return arm, in_middle, state["visited"].gather(1, arm[:, None])[:, 0]

    def random_return(self, tasks: Tensor) -> Tensor:
        """Expected return of uniformly random actions, float32 [N]: the probabilities of getting to
        the baited arms, added up.

        Each is the share of `random_episodes` random paths, turned in all eight ways, that get to
        an arm's end; its standard error is below 0.002.
        """
        here = self._along(self.paths.position.flatten(0, 1)) > _END
        reached = here.view(*self.paths.position.shape[:2], _ARMS).any(dim=0)
        return torch.full((len(self.checked(tasks)),), _BAITS * float(reached.float().mean()))

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Fours, float32 [N].

        Exact: five steps lead from the hub to an arm's end and five backwards, so four arms and the
        turns between them, at most four each, take less than 60.
        """
        return torch.full((len(self.checked(tasks)),), float(_BAITS))

    def _along(self, position: Tensor) -> Tensor:
        """Metres from the middle in the direction of each arm, [N, 8]."""
        cos, sin = _TOWARDS.to(position.device).unbind(0)
        return position[:, :1] * cos - position[:, 1:] * sin


def _baited(tasks: list[tuple[int, ...]]) -> Tensor:
    return torch.tensor([[int(arm in baits) for arm in range(_ARMS)] for baits in tasks])


def _arm(
    number: int, right: tuple[float, float], left: tuple[float, float], towards: tuple[float, float]
) -> Room:
    """A corridor from the hub's side between two of its corners."""
    dx, dz = _LENGTH * towards[0], -_LENGTH * towards[1]
    outline = (right, (right[0] + dx, right[1] + dz), (left[0] + dx, left[1] + dz), left)
    walls = ("plaster", "plaster", "plaster", None)
    return Room(f"arm {number}", outline, walls, "concrete", "panels", _WALL_HEIGHT)


def _end_picture(number: int) -> Picture:
    cos, sin = direction(number, _ARMS)
    far = _HUB + _LENGTH
    yaw = 2 * math.pi * number / _ARMS + math.pi
    return Picture((far * cos, 1.2, -far * sin), yaw, 1.1, 1.1, CUES[number])
