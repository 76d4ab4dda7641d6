"""A slip planted in the ray caster's kernels is caught by the comparison with the definition."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adbench_kernels import Scene, build_scene, raycast
from adbench_kernels.configs import Tile, override
from adbench_kernels.ray_casting import Box, Disc
from kernel_checks.faults import planted
from kernel_checks.frames import twins_agree
from kernel_checks.rooms import pictures, room

HEIGHT, WIDTH = 16, 17
SMALL = Tile(block_m=16, block_n=16, num_warps=4, num_stages=1)
"""Two tiles, the second of one column."""


@cache
def _seen() -> tuple[Scene, Tensor, Tensor]:
    """A furnished room; cameras before a picture and a corner; two bodies before each of them."""
    bodies = (
        Box((0.2, 0.0), (0.5, 0.9, 0.7), colour=(0.6, 0.3, 0.1), body="box"),
        Disc((0.0, 0.3), 0.6, 0.0, corners=5, texture="brick", texels_per_metre=90.0, body="lid"),
    )
    scene = build_scene([[*room(), *bodies]], textures=pictures())
    camera = torch.tensor([[1.1, 1.3, 0.4, 0.15], [-1.0, 1.1, 0.9, 4.2]])
    yaw = camera[:, 3]
    ahead = torch.stack((yaw.cos(), -yaw.sin()), -1)
    right = torch.stack((yaw.sin(), yaw.cos()), -1)
    poses = torch.zeros(2, 2, 4)
    poses[:, 0, 0::2] = camera[:, 0::2] + 1.6 * ahead - 0.5 * right
    poses[:, 1, 0::2] = camera[:, 0::2] + 1.5 * ahead + 0.4 * right
    poses[..., 1] = torch.tensor([0.3, 0.7])
    poses[..., 3] = torch.tensor([0.8, -2.1])
    return scene, camera, poses


@cache
def _definition(samples: int) -> Tensor:
    scene, camera, bodies = _seen()
    return raycast(
        scene, camera, bodies=bodies, height=HEIGHT, width=WIDTH, samples=samples,
        implementation="reference",
    )  # fmt: skip


def rays(samples: int) -> None:
    """Compare frames of the kernels, whatever they are now, with the definition."""
    scene, camera, bodies = _seen()
    with override("raycast", SMALL), override("raycast_multisampled", SMALL):
        frames = raycast(
            scene, camera, bodies=bodies, height=HEIGHT, width=WIDTH, samples=samples,
            implementation="triton",
        )  # fmt: skip
    twins_agree(frames, _definition(samples))


VIEW, DRAW, SHADE = "view", "draw", "shade"

Fault = tuple[int, str, str, str, str]
FAULTS: tuple[Fault, ...] = (
    # samples, what is wrong, module, right, wrong
    (1, "the eye's height is lost", VIEW, "(b_top + GAP - b_y)", "(b_top + GAP)"),
    (1, "a picture is mirrored", VIEW, "b_u0 - b_each * b_begin", "b_u1 + b_each * b_begin"),
    (1, "a body is not moved", VIEW, "m_body = o_body >= 0", "m_body = o_body > 99"),
    (1, "a body turns the other way", VIEW,
     "b_cos, b_sin = _cosine_and_sine(tl.load(", "b_cos, b_sin = _cosine_and_sine(-tl.load("),
    (1, "a body is not lit", VIEW, "tl.where(o_body >= 0, b_lit, b_colour)", "b_colour"),
    (1, "a body's light turns with it", VIEW,
     "b_dx * b_turn_cos + b_dz * b_turn_sin", "b_dx"),
    (1, "the last flat is lost", VIEW, "m_k = o_k < flats", "m_k = o_k < flats - 1"),
    (1, "an edge bounds from the other side", VIEW,
     "m_low = m_edge & ((b_off < 0.0) == (", "m_low = m_edge & ((b_off > 0.0) == ("),
    (1, "the last wall is lost", DRAW,
     "bits = _meets_tile(p_bounds, first, surfaces,",
     "bits = _meets_tile(p_bounds, first, surfaces - 1,"),
    (1, "the first wall is lost", DRAW, "tl.where(m_met, 1 << o_bit, 0)",
     "tl.where(m_met & (first + o_bit > 0), 1 << o_bit, 0)"),
    (1, "the last one drawn hides the others", DRAW, " & (b_here > b_nearest)", ""),
    (1, "a flat has three edges", DRAW, "tl.static_range(4)", "tl.static_range(3)"),
    (1, "the last row is not written", DRAW, "(o_row < height)", "(o_row < height - 1)"),
    (1, "rows are counted from below", DRAW,
     "b_above = height * 0.5 - o_row.to(tl.float32)[:, None]",
     "b_above = o_row.to(tl.float32)[:, None] - height * 0.5"),
    (1, "red and blue change places", DRAW,
     "tl.store(p_pixel, _rounded(b_red)", "tl.store(p_pixel, _rounded(b_blue)"),
    (4, "samples lie beside their places", DRAW, "o_place % SAMPLES * 4", "o_place % 2 * 4"),
    (4, "a sample counts twice", DRAW,
     "tl.where(o_1 == o_k, 0.25, 0.0)", "tl.where(o_1 == o_k, 0.5, 0.0)"),
    (4, "a pixel's second colour is lost", DRAW, "while last >= 0", "while last == 0"),
    (1, "the next coarser mip level is taken", SHADE, "(b_level + 0.5)", "(b_level + 1.5)"),
    (1, "the picture itself is taken", SHADE, "(b_level + 0.5)", "(0.0 * b_level)"),
    (1, "what a pixel spans downwards is not counted", SHADE,
     "b_u_down * b_u_down + b_v_down * b_v_down", "0.0 * b_u_down"),
    (4, "levels are not blended", SHADE,
     "b_u, b_v, 1.0 - b_coarse, b_none", "b_u, b_v, 1.0 - 0.0 * b_coarse, b_none"),
    (4, "levels are blended the other way", SHADE,
     "b_level - o_level.to(tl.float32)", "1.0 - b_level + o_level.to(tl.float32)"),
    (1, "a texel beside its own is taken", SHADE, "o_x & o_last_x", "(o_x - 1) & o_last_x"),
    (1, "texels are not blended", SHADE, "b_x - b_west, b_y - b_south", "0.0 * b_x, b_y - b_south"),
    (1, "a colour is lost", SHADE, " * tl.load(p_record + 11)", ""),
)  # fmt: skip


@pytest.mark.parametrize("samples", [1, 4])
def test_the_kernels_as_they_are_pass_the_probe(samples: int) -> None:
    rays(samples)


def test_the_probe_sees_walls_flats_a_picture_and_both_bodies() -> None:
    scene, camera, bodies = _seen()
    away = bodies - torch.tensor([0.0, 50.0, 0.0, 0.0])
    frames = [
        raycast(scene, camera, bodies=poses, height=HEIGHT, width=WIDTH, implementation="reference")
        for poses in (
            bodies, torch.stack((away[:, 0], bodies[:, 1]), 1),
            torch.stack((bodies[:, 0], away[:, 1]), 1),
        )
    ]  # fmt: skip
    for without in frames[1:]:
        assert ((frames[0] != without).any(-1).float().mean((1, 2)) > 0.03).all()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[1])
def test_a_planted_fault_is_caught(
    fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, _, module, right, wrong = fault
    importlib.import_module("adbench_kernels.ray_casting.triton.draw")
    kernels = importlib.import_module(f"adbench_kernels.ray_casting.triton.{module}")
    planted(monkeypatch, tmp_path, kernels, right, wrong)
    with pytest.raises(AssertionError, match="off by"):
        rays(samples)
