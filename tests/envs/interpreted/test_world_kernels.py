"""Every first-person world looks the same, whichever implementation of the ray caster draws it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_envs.dark_room_3d import DarkRoom3D
from adbench_envs.four_boxes import FourBoxes
from adbench_envs.key_to_door_3d import KeyToDoor3D
from adbench_envs.radial_arm import RadialArm
from adbench_envs.watermaze import Watermaze, WatermazeHard, WatermazeSmall
from adbench_envs.worlds import renderers
from adbench_envs.worlds.family import WorldFamily
from adbench_kernels import raycast
from kernel_checks.frames import twins_agree

FAMILIES = (
    Watermaze,
    WatermazeSmall,
    WatermazeHard,
    DarkRoom3D,
    KeyToDoor3D,
    RadialArm,
    FourBoxes,
)
POSES, SIDE, STEPS = 4, 16, 6


def somewhere(family: WorldFamily) -> dict[str, Tensor]:
    """States of lanes that walked about, each for itself."""
    env = family.make(family.tasks("train", POSES, seed=0), seed=1, observe="state")
    env.reset()
    draws = torch.Generator().manual_seed(2)
    for _ in range(STEPS):
        env.step(torch.randint(8, (POSES,), generator=draws))
    return env.state()


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("family_type", FAMILIES)
def test_a_world_looks_the_same_to_all_three(
    family_type: type[WorldFamily], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = family_type(height=SIDE, width=SIDE, samples=samples)
    state = somewhere(family)

    def drawn(implementation: Any) -> Tensor:
        def with_it(*given: Any, **options: Any) -> Tensor:
            return raycast(*given, **options, implementation=implementation)

        monkeypatch.setattr(renderers, "raycast", with_it)
        return family.render_state(state)

    triton, exact, numba = (drawn(name) for name in ("triton", "reference", "numba"))
    twins_agree(triton, exact)
    twins_agree(triton, numba)
    assert len(torch.unique(triton.flatten(0, 2), dim=0)) > SIDE, "there is something to see"
