"""What ray casting refuses, and that it says which argument is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from adbench_kernels import ImplementationUnavailableError, build_scene, raycast
from adbench_kernels.ray_casting import Box, Disc, Flat, Light, Picture, Wall, pack_textures
from kernel_checks.rooms import pictures, poses, room

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("height", {"height": 0}),
        ("height", {"height": 5000}),
        ("width", {"width": -1}),
        ("width", {"width": 8.0}),
        ("width", {"width": True}),
        ("samples", {"samples": 2}),
        ("camera", {"camera": torch.zeros(3)}),
        ("camera", {"camera": torch.zeros(2, 3)}),
        ("camera", {"camera": torch.zeros(2, 4, dtype=torch.int64)}),
        ("camera", {"camera": torch.full((2, 4), NAN)}),
        ("camera", {"camera": torch.full((2, 4), INF)}),
        ("scene_index", {"scene_index": torch.zeros(3, dtype=torch.int64)}),
        ("scene_index", {"scene_index": torch.zeros(2)}),
        ("scene_index", {"scene_index": torch.tensor([0, 1])}),
        ("scene_index", {"scene_index": torch.tensor([-1, 0])}),
        ("bodies", {"bodies": torch.zeros(2, 3, 4)}),
        ("bodies", {"bodies": torch.zeros(2, 1, 4, dtype=torch.float64)}),
        ("bodies", {"bodies": torch.full((2, 1, 4), NAN)}),
        ("implementation", {"implementation": "fast"}),
        ("implementation", {"camera": poses(2).double(), "implementation": "numba"}),
    ],
)
def test_bad_arguments_are_refused_by_name(argument: str, changes: dict[str, Any]) -> None:
    scene = build_scene([[*room(), Box((0, 0), (1, 1, 1), body="box")]], textures=pictures())
    given: dict[str, Any] = {"camera": poses(2), "height": 8, "width": 8}
    given.update(changes)
    with pytest.raises(ValueError, match=f"^{argument}: "):
        raycast(scene, given.pop("camera"), **given)


@pytest.mark.parametrize("implementation", ["triton", "flex"])
def test_what_cannot_run_here_raises(implementation: Any) -> None:
    scene = build_scene([room()], textures=pictures())
    with pytest.raises(ImplementationUnavailableError, match="raycast has no"):
        raycast(scene, poses(1), height=4, width=4, implementation=implementation)


SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("says", "make"),
    [
        ("Wall: start and end must differ", lambda: Wall((1, 1), (1, 1))),
        ("Wall: start must be 2 finite", lambda: Wall((NAN, 1), (1, 1))),
        ("Wall: end must be 2 finite", lambda: Wall((0, 1), (1, INF))),
        ("Wall: top must be above bottom", lambda: Wall((0, 0), (1, 0), 2.0, 1.0)),
        ("Wall: colour", lambda: Wall((0, 0), (1, 0), colour=(1.0, 2.0, 0.0))),
        ("Wall: uv", lambda: Wall((0, 0), (1, 0), uv=(0.0, 0.0, 1.0, NAN))),
        ("Wall: texels_per_metre", lambda: Wall((0, 0), (1, 0), texels_per_metre=0.0)),
        ("Flat: outline must have three corners", lambda: Flat(SQUARE[:2])),
        ("Flat: outline must enclose an area", lambda: Flat(((0, 0), (1, 1), (2, 2)))),
        ("Flat: outline must be convex", lambda: Flat((*SQUARE[:3], (0.6, 0.4)))),
        ("Flat: outline must be convex", lambda: Flat((*SQUARE[:2], (0.4, 2.0), (2.0, 1.0)))),
        ("Flat: outline must be 2 finite", lambda: Flat((*SQUARE[:2], (NAN, 1)))),
        ("Flat: faces", lambda: Flat(SQUARE, faces="left")),  # type: ignore[arg-type]
        ("Disc: radius", lambda: Disc((0, 0), -1.0)),
        ("Disc: corners", lambda: Disc((0, 0), 1.0, corners=2)),
        ("Box: size", lambda: Box((0, 0), (1.0, 0.0, 1.0))),
        ("Box: bottom, yaw", lambda: Box((0, 0), (1, 1, 1), yaw=NAN)),
        ("Picture: width", lambda: Picture((0, 1, 0), 0.0, 0.0, 1.0, "card")),
        ("Light: towards", lambda: Light((0.0, 0.0, 0.0))),
        ("Light: ambient and diffuse", lambda: Light(ambient=-0.1)),
        ("worlds: there must be", lambda: build_scene([])),
        ("sky: ", lambda: build_scene([[]], sky=(0.0, 0.0, 2.0))),
        (
            "texture: Wall .* wants 'brik'; known: brick, wood",
            lambda: build_scene([[Wall((0, 0), (1, 0), texture="brik")]], textures=pictures()),
        ),
        (
            "texture: Flat .* wants 'sand'; known: none was given",
            lambda: build_scene([[Flat(SQUARE, texture="sand")]]),
        ),
        (
            "textures: the sides of 'odd' must be powers of two.* got 6 x 4",
            lambda: pack_textures({"odd": torch.zeros(4, 6, 3, dtype=torch.uint8)}),
        ),
        (
            "textures: 'grey' must be uint8",
            lambda: pack_textures({"grey": torch.zeros(4, 4, dtype=torch.uint8)}),
        ),
        ("textures: 'real' must be uint8", lambda: pack_textures({"real": torch.zeros(4, 4, 3)})),
    ],
)
def test_parts_that_make_no_picture_are_refused(says: str, make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        make()
