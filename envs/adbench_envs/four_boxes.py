"""Four boxes: which colour pays is hidden, and the boxes change places.

N lanes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations, product
from typing import ClassVar

import torch
from torch import Tensor

from adbench.task import Outline, Spot, split_indices
from adbench_envs.keyed import checked_tasks
from adbench_envs.worlds.batch import Arrival, Start
from adbench_envs.worlds.family import WorldFamily
from adbench_envs.worlds.halls import REACH, hall
from adbench_envs.worlds.maps import box_outline, spot
from adbench_envs.worlds.places import checked_count
from adbench_envs.worlds.world import World
from adbench_kernels.ray_casting import Box

COLOURS = {
    "red": (0.85, 0.12, 0.12),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.12, 0.20, 0.85),
    "yellow": (0.90, 0.80, 0.10),
}

SIZES = {"low": (0.8, 0.4, 0.8), "high": (0.8, 1.0, 0.8), "tall": (0.5, 2.0, 0.5)}
"""Metres along x, up and along z."""

_CORNER = 2.2
"""x and z of the boxes' middles, up to their signs, metres."""

_TOUCH = 1.0
"""Metres from a box's middle within which one touches it: its corners are 0.57 away, and a step
more than the body's radius ends before them."""

_QUARTERS = 4

_CORNERS = torch.tensor(
    [(_CORNER, -_CORNER), (-_CORNER, -_CORNER), (-_CORNER, _CORNER), (_CORNER, _CORNER)]
)
"""x, z of the corners, counterclockwise; float32 [4, 2]."""

_CORNER_OF = torch.tensor(
    [
        [((0, *others).index(colour) + quarters) % _QUARTERS for colour in range(len(COLOURS))]
        for others in permutations((1, 2, 3))
        for quarters in range(_QUARTERS)
    ]
)
"""Corner of each colour, by arrangement: an order around the hall, turned by quarters; [24, 4]."""


class FourBoxes(WorldFamily):
    """Four boxes: touch the one whose colour pays.

    Description:
        A red, a green, a blue and a yellow box stand in the corners of a bare hall, in another
        arrangement at every episode. In some episodes all boxes are low, in some high, in some
        tall; the task says which colour pays among each.
    Tasks:
        The paying colour among low, high and tall boxes, int64 [3] in [0, 4) (red, green, blue,
        yellow). There are 64. `region` are the 4 tasks in which the same colour pays among all
        three; a permutation of the other 60, keyed by the split's seed, is cut into 12 test, 6
        validation and 42 training tasks.
    Observation space:
        Box uint8 [64, 64, 3], the frame; `height`, `width`, `samples` a pixel, `renderer`: options.
    Action space:
        Discrete(8): forward, back, left, right (0.6 m each), turn left, turn right (45 degrees),
        turn left and go forward, turn right and go forward. One slides along walls: the middle of
        the body stays 0.2 m away from those of the hall of 6 x 6 m.
    Starting state:
        The middle of the hall; one of eight headings, of 24 arrangements and of three sizes are
        drawn at every episode, whatever the task is.
    Rewards:
        1 on a step that ends within 1 m of the middle of the box that pays, else 0.
    Episode end:
        Terminated at any box, whether it pays or not; truncated after 25 steps.
    Sources:
        After the MiniWorld setting of the decision-pretrained transformer (Lee et al. 2023, arXiv
        2306.14892), which has four tasks; that sizes tell episodes apart, so that there are tasks
        to hold out, and that the first box ends the episode, are ours.
    Version history:
        0: first.
    """

    name = "four-boxes"
    version = 0
    max_episode_steps = 25
    ends_at_goal = True
    step_metres = 0.6
    reach_metres = REACH
    places_a_side = 7
    num_memories = 6 * len(SIZES)
    drawn_memories: ClassVar[dict[str, int]] = {"arrangement": len(_CORNER_OF), "size": len(SIZES)}
    start_channels = 3

    def build(self) -> tuple[World, ...]:
        """The hall, with boxes of each size."""
        return tuple(
            hall(
                f"{self.name} ({size})",
                cues=False,
                boxes=tuple(
                    Box((0.0, 0.0), metres, colour=colour, body=name)
                    for name, colour in COLOURS.items()
                ),
            )
            for size, metres in SIZES.items()
        )

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        """Paying colours, int64 [count, 3]; see `TaskFamily.tasks`."""
        everything = list(product(range(len(COLOURS)), repeat=len(SIZES)))
        region = [task for task in everything if len(set(task)) == 1]
        others = [task for task in everything if len(set(task)) > 1]
        if split == "region":
            return torch.tensor(region[: checked_count(self.name, split, count, len(region))])
        chosen = split_indices(
            len(others), split, count, seed=seed, validation=6, test=12, what="four-boxes tasks"
        )
        return torch.tensor([others[number] for number in chosen])

    def checked(self, tasks: Tensor) -> Tensor:
        """Paying colours; see `WorldFamily.checked`."""
        return checked_tasks(self, tasks, shape=(len(SIZES),), below=len(COLOURS))

    def begin(self, noise: Tensor) -> Start:
        """In the middle, boxes anywhere; see `WorldFamily.begin`."""
        start = super().begin(noise)
        drawn = noise[:, 1:] * torch.tensor([len(_CORNER_OF), len(SIZES)], device=noise.device)
        arrangement, size = drawn.to(torch.uint8).unbind(1)
        return Start(start.position, start.heading, {"arrangement": arrangement, "size": size})

    def arrive(self, tasks: Tensor, position: Tensor, memory: dict[str, Tensor]) -> Arrival:
        """Any box ends, one pays; see `WorldFamily.arrive`."""
        apart = position[:, None] - self._middles(memory["arrangement"])
        square = apart * apart
        touched = square[..., 0] + square[..., 1] < _TOUCH * _TOUCH
        paying = tasks.gather(1, memory["size"].long()[:, None])
        return Arrival(touched.gather(1, paying)[:, 0].float(), touched.any(dim=1), dict(memory))

    def hidden(self, task: Tensor, state: dict[str, Tensor] | None) -> tuple[Spot, ...]:
        """The box that pays in this episode; see `WorldFamily.hidden`."""
        if state is None:
            return ()
        colour = int(task[int(state["size"])])
        middle = self._middles(state["arrangement"][None])[0, colour]
        return (spot(middle, _TOUCH, list(COLOURS)[colour]),)

    def standing(self, state: dict[str, Tensor] | None) -> tuple[Outline, ...]:
        """The boxes in their colours; white where they differ; see `WorldFamily.standing`."""
        boxes = self.worlds[0 if state is None else int(state["size"])].boxes
        if state is None:
            return tuple(
                replace(box_outline(box, (x, z)), filled=None)
                for box, (x, z) in zip(boxes, _CORNERS.tolist(), strict=True)
            )
        middles = self._middles(state["arrangement"][None])[0].tolist()
        return tuple(box_outline(b, (x, z)) for b, (x, z) in zip(boxes, middles, strict=True))

    def world_index(self, state: dict[str, Tensor]) -> Tensor:
        """The boxes' size, int64 [N]."""
        return state["size"].long()

    def bodies(self, state: dict[str, Tensor]) -> Tensor:
        """x, y, z, yaw of the boxes in the order of `COLOURS`, float32 [N, 4, 4]."""
        x, z = self._middles(state["arrangement"]).unbind(2)
        return torch.stack([x, torch.zeros_like(x), z, torch.zeros_like(x)], dim=2)

    def memory_index(self, state: dict[str, Tensor]) -> Tensor:
        """Order of the colours around the hall and size of the boxes, int64 [N]."""
        order = state["arrangement"].long() // _QUARTERS
        return order * len(SIZES) + state["size"].long()

    def tabular_state(self, state: dict[str, Tensor]) -> Tensor:
        """As `WorldFamily.tabular_state`, with the hall turned until the red box is in its first
        corner: nothing but the walls' look depends on how it is turned; int64 [N]."""
        x, z, yaw = state["pose"].unbind(1)
        quarters = (state["arrangement"].long() % _QUARTERS)[:, None]
        back = torch.cat(
            [torch.stack(pair, dim=1)[:, None] for pair in ((x, z), (-z, x), (-x, -z), (z, -x))],
            dim=1,
        )
        place = back.gather(1, quarters[:, :, None].expand(-1, 1, 2))[:, 0]
        turned = torch.remainder(yaw - quarters[:, 0] * (math.pi / 2), 2 * math.pi)
        pose = torch.cat([place, turned[:, None]], dim=1)
        return super().tabular_state({**state, "pose": pose})

    @property
    def option_sizes(self) -> tuple[int, int]:
        """One state a size, one option a colour."""
        return len(SIZES), len(COLOURS)

    def option_state(self, state: dict[str, Tensor]) -> Tensor:
        """The boxes' size, int64 [N]: all that the choice of a colour depends on."""
        return state["size"].long()

    def follow(self, state: dict[str, Tensor], option: Tensor) -> tuple[Tensor, Tensor]:
        """Options go to the box of a colour, by the heading nearest to its direction."""
        middles = self._middles(state["arrangement"])
        towards = middles.gather(1, option[:, None, None].expand(-1, 1, 2))[:, 0]
        towards = towards - state["pose"][:, :2]
        part = 2 * math.pi / self.num_headings
        aim = (torch.atan2(-towards[:, 1], towards[:, 0]) / part).round().long() % self.num_headings
        action, turning = self.steering(self.heading(state), aim)
        yaw = aim * part
        left = towards - self.step_metres * torch.stack([yaw.cos(), -yaw.sin()], dim=1)
        return action, turning | (left.norm(dim=1) >= _TOUCH)

    def optimal_return(self, tasks: Tensor) -> Tensor:
        """Ones, float32 [N]: any box is a few steps away, and its way leads past no other one."""
        return torch.ones(len(self.checked(tasks)))

    def _middles(self, arrangement: Tensor) -> Tensor:
        """x, z of the box of each colour, float32 [N, 4, 2]."""
        corner_of = _CORNER_OF.to(arrangement.device)[arrangement.long()]
        return _CORNERS.to(arrangement.device)[corner_of]
