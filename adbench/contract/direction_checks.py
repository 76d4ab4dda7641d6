"""What is checked of families that know places and directions.

N lanes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from adbench.contract.check import check
from adbench.contract.structure import named
from adbench.contract.subject import Subject


@check(
    "directions",
    "places have indices, and every direction is gone in after one turn at most",
    needs=("state", "values"),
    advice="place_state gives int64 [N] in [0, num_place_states); steer gives actions int64 [N] "
    "and turning bool [N], and after a step that only turned, the same direction's action goes.",
)
def directions(subject: Subject) -> Iterator[str]:
    """Only of families with `num_directions`."""
    family = subject.family
    if not family.num_directions:
        return
    lanes = len(subject.tasks)
    yield from _place_problems(subject)
    env = subject.make(observe="state")
    try:
        env.reset()
        for direction in range(family.num_directions):
            wanted = torch.full((lanes,), direction, device=env.device)
            was_turning = torch.zeros(lanes, dtype=torch.bool, device=env.device)
            for _ in range(2):
                action, turning = family.steer(env.state(), wanted)
                for what, value, dtype in (
                    ("actions", action, torch.int64),
                    ("turning", turning, torch.bool),
                ):
                    if value.dtype != dtype or tuple(value.shape) != (lanes,):
                        yield f"steer's {what} are {named(value)}, not {dtype} [{lanes}]"
                        return
                again = turning & was_turning
                if bool(again.any()):
                    yield f"direction {direction} takes more than one turn"
                    break
                ended = env.step(action)[4]["_final_obs"]
                was_turning = turning & ~ended
    finally:
        env.close()


def _place_problems(subject: Subject) -> Iterator[str]:
    family, rollout = subject.family, subject.rollout
    states: dict[str, Tensor] = {name: v.flatten(0, 1) for name, v in rollout.state.items()}
    index = family.place_state(states)
    if index.dtype != torch.int64 or index.ndim != 1:
        yield f"place_state is {named(index)}, not int64 [N]"
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= family.num_place_states:
        yield f"place_state reaches from {low} to {high}, outside [0, {family.num_place_states})"
