"""Going in directions of the world, whatever way one faces.

H headings, D directions: one for each heading, and one more for staying where that is offered.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adbench_envs.worlds.movement import ACTIONS, Turns, direction

_CLOSE = 1e-4
"""Metres between the step that is wanted and one that is it: rounding of float32."""


@dataclass(frozen=True)
class Steering:
    """What to do at each heading to go in each direction.

    Attributes:
        action: int64 [H * D]; row `heading * D + direction`.
        turning: whether that action only turns, and the next one goes; bool [H * D].
    """

    action: Tensor
    turning: Tensor
    num_directions: int

    def __call__(self, heading: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Actions int64 [N] and whether they only turn, bool [N]; both arguments int64 [N]."""
        row = heading * self.num_directions + direction
        return self.action.to(row.device)[row], self.turning.to(row.device)[row]


def steering(moves: Turns, step_metres: float, *, stays: bool) -> Steering:
    """The table for a set of moves.

    Of the actions that go in a direction at once the first is taken; where there is none, the
    first that turns to where one does. To stay is to turn on the spot.

    Args:
        moves: what each action does.
        step_metres: how far a step goes.
        stays: offer to stay as a last direction.
    """
    headings = moves.num_headings
    by = moves.by.view(len(ACTIONS), headings, 2)
    after = moves.heading.view(len(ACTIONS), headings)
    still = by.abs().amax(dim=2) < _CLOSE  # [A, H]
    aims = torch.tensor([direction(heading, headings) for heading in range(headings)])
    aims = aims * torch.tensor([1.0, -1.0]) * step_metres  # east and south
    apart = (by[:, :, None, :] - aims).abs().amax(dim=3)  # [A, H, D]
    goes = apart < _CLOSE
    turns = still[:, :, None] & goes.any(dim=0)[after]  # turning leads to where one action goes
    if stays:
        goes = torch.cat([goes, still[:, :, None]], dim=2)
        turns = torch.cat([turns, torch.zeros_like(still[:, :, None])], dim=2)
    at_once = goes.any(dim=0)
    first = torch.where(at_once, goes.int().argmax(dim=0), turns.int().argmax(dim=0))
    assert bool((at_once | turns.any(dim=0)).all()), "a direction is two turns away"
    return Steering(first.flatten(), ~at_once.flatten(), first.shape[1])
