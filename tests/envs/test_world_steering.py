"""Directions of the world: what one does at each heading to go there."""

from __future__ import annotations

import pytest
import torch

from adbench_envs.worlds.movement import Turns, direction, turns
from adbench_envs.worlds.steering import Steering, steering

HEADINGS, STEP = 8, 0.8


def _walked(moves: Turns, table: Steering, heading: int, aim: int) -> tuple[torch.Tensor, int]:
    """Where one is after going once in a direction, metres east and south, and the actions."""
    where, at, steps = torch.zeros(2), torch.tensor(heading), 0
    turning = True
    while turning:
        action, turns_only = table(at[None], torch.tensor([aim]))
        row = action[0] * moves.num_headings + at
        where, at, turning = where + moves.by[row], moves.heading[row], bool(turns_only)
        steps += 1
    return where, steps


@pytest.mark.parametrize("stays", [False, True])
def test_one_step_in_a_direction_ends_at_the_same_place_from_every_heading(stays: bool) -> None:
    moves = turns(STEP, HEADINGS)
    table = steering(moves, STEP, stays=stays)
    assert table.num_directions == HEADINGS + stays
    for aim in range(HEADINGS):
        cos, sin = direction(aim, HEADINGS)
        for heading in range(HEADINGS):
            where, steps = _walked(moves, table, heading, aim)
            # Rounding of float32 numbers below 1.
            assert torch.allclose(where, torch.tensor([cos, -sin]) * STEP, atol=1e-6)
            assert steps <= 2


def test_staying_is_one_action_that_goes_nowhere() -> None:
    moves = turns(STEP, HEADINGS)
    table = steering(moves, STEP, stays=True)
    for heading in range(HEADINGS):
        where, steps = _walked(moves, table, heading, HEADINGS)
        assert (where.tolist(), steps) == ([0.0, 0.0], 1)
