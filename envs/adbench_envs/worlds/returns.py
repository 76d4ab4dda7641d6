"""What play earns in a world: random play by simulation, shortest ways by exhaustive search.

N tasks, K episodes, S steps, P positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adbench.task import generator
from adbench_envs.worlds.movement import ACTIONS, Ground, Turns

if TYPE_CHECKING:
    from adbench_envs.worlds.family import WorldFamily

_TASKS_AT_ONCE = 8

_SAME = 1e-4
"""Metres: positions that round to the same multiple are one, in the search for shortest ways."""


@dataclass(frozen=True)
class Paths:
    """Random episodes that nothing ends: where one goes does not depend on what is hidden.

    Attributes:
        position: x, z after each step, float32 [S, K, 2].
        memory: what the rules remember at the start, by name, [K, ...].
    """

    position: Tensor
    memory: dict[str, Tensor]


def random_paths(family: WorldFamily) -> Paths:
    """Walk at random, `family.random_episodes` times; equal families get equal paths."""
    draws = generator(family.name, "random play", family.version)
    episodes, steps = family.random_episodes, family.max_episode_steps
    start = family.begin(torch.from_numpy(draws.random((episodes, family.start_channels))).float())
    actions = torch.from_numpy(draws.integers(len(ACTIONS), size=(steps, episodes)))
    return Paths(walk(family, start.position, start.heading, actions), start.memory)


def walk(family: WorldFamily, position: Tensor, heading: Tensor, actions: Tensor) -> Tensor:
    """Where actions lead, float32 [S, K, 2].

    Args:
        family: whose ground it is.
        position: where K walks begin, float32 [K, 2].
        heading: int64 [K].
        actions: int64 [S, K].
    """
    walked = []
    for action in actions:
        row = action * family.num_headings + heading
        position = family.ground.move(position, family.turns.by[row])
        heading = family.turns.heading[row]
        walked.append(position)
    return torch.stack(walked)


def random_return(family: WorldFamily, tasks: Tensor) -> Tensor:
    """Mean return of each task along the family's random paths, float32 [N]."""
    parts = torch.split(tasks, _TASKS_AT_ONCE)
    return torch.cat([returns_along(family, part, family.paths) for part in parts]).float()


def returns_along(family: WorldFamily, tasks: Tensor, paths: Paths) -> Tensor:
    """Mean return of each task over K given paths, float64 [N]."""
    num_tasks, episodes = len(tasks), paths.position.shape[1]
    lanes = tasks.repeat_interleave(episodes, dim=0)
    memory = {name: _repeated(value, num_tasks) for name, value in paths.memory.items()}
    earned = torch.zeros(len(lanes))
    alive = torch.ones(len(lanes), dtype=torch.bool)
    for position in paths.position:
        arrival = family.arrive(lanes, _repeated(position, num_tasks), memory)
        earned += arrival.reward * alive
        alive &= ~arrival.terminated
        memory = arrival.memory
    return earned.double().view(num_tasks, episodes).mean(dim=1)


def steps_to(
    ground: Ground,
    turns: Turns,
    start: tuple[float, float],
    spots: Tensor,
    radius: float,
    *,
    most_steps: int,
) -> Tensor:
    """Fewest steps that end within a spot, for each heading at the start, int64 [H, N].

    Every place that can be reached in so many steps is looked at, walls included; places nearer
    than a tenth of a millimetre to each other count as one. Where no way is short enough:
    `most_steps + 1`.

    Args:
        ground: where one may go.
        turns: what actions do.
        start: x, z.
        spots: x, z of the middles, float32 [N, 2].
        radius: of a spot, metres.
        most_steps: where the search ends.
    """
    found = torch.full((turns.num_headings, len(spots)), most_steps + 1)
    for heading in range(turns.num_headings):
        for step, places in enumerate(_places(ground, turns, start, heading, most_steps), 1):
            missing = (found[heading] > most_steps).nonzero()[:, 0]
            if not len(missing):
                break
            near = (torch.cdist(spots[missing], places) < radius).any(dim=1)
            found[heading, missing[near]] = step
    return found


def _places(
    ground: Ground, turns: Turns, start: tuple[float, float], heading: int, most_steps: int
) -> Iterator[Tensor]:
    """Places that are new at step 1, 2, ..., float32 [P, 2]."""
    position, headings = torch.tensor([start]), torch.tensor([heading])
    seen = _key(position, headings)
    for _ in range(most_steps):
        rows = (torch.arange(len(ACTIONS))[:, None] * turns.num_headings + headings).flatten()
        position = ground.move(position.repeat(len(ACTIONS), 1), turns.by[rows])
        headings = turns.heading[rows]
        keys, which = torch.unique(_key(position, headings), return_inverse=True)
        first = torch.full((len(keys),), len(which)).scatter_reduce(
            0, which, torch.arange(len(which)), "amin"
        )
        new = first[~torch.isin(keys, seen)]
        position, headings = position[new], headings[new]
        seen = torch.cat([seen, _key(position, headings)])
        yield position


def _key(position: Tensor, heading: Tensor) -> Tensor:
    """One number for a pose, int64 [P]."""
    x, z = (position.double() / _SAME).round().long().unbind(1)
    return (x * 2**24 + z) * 256 + heading


def _repeated(values: Tensor, times: int) -> Tensor:
    return values.repeat(times, *[1] * (values.ndim - 1))
