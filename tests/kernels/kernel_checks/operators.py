"""Arguments for every operator that `adbench_kernels` registers with torch, and small losses.

A test holds that there are arguments for each: an operator without them is checked by nobody.

B batch rows, T tokens, H heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adbench_kernels import (
    Intervals,
    Scene,
    attention,
    build_scene,
    patch_embed,
    rotary_attention,
    rotary_turns,
)
from adbench_kernels.ray_casting import Box
from adbench_kernels.ray_casting.scene import place_bodies
from adbench_kernels.ray_casting.tables import tables
from adbench_kernels.ray_casting.triton.packing import packed
from kernel_checks.rooms import pictures, poses, room

Arguments = tuple[Any, ...]

BATCH, TOKENS, HEADS, KEY_HEADS, WIDTH = 2, 9, 2, 1, 16


def registered() -> set[str]:
    """Names of our operators that have been registered so far."""
    names = torch._C._dispatch_get_all_op_names()
    return {name.removeprefix("adbench::") for name in names if name.startswith("adbench::")}


def register_all() -> None:
    """Import what registers operators only when it is used. Needs Triton only when they run."""
    import adbench_kernels.patch_embedding.library
    import adbench_kernels.ray_casting.library
    import adbench_kernels.ring_cache.library
    import adbench_kernels.rotary_attention.fused  # noqa: F401


def _numbers(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw).requires_grad_(grad)


def _qkv(grad: bool) -> tuple[Tensor, Tensor, Tensor]:
    q = _numbers(BATCH, TOKENS, HEADS, WIDTH, grad=grad)
    k = _numbers(BATCH, TOKENS, KEY_HEADS, WIDTH, seed=1, grad=grad)
    return q, k, _numbers(BATCH, TOKENS, KEY_HEADS, WIDTH, seed=2, grad=grad)


def _attention(grad: bool) -> Arguments:
    start = torch.arange(TOKENS, dtype=torch.int32).sub(3).clamp(0).expand(BATCH, TOKENS)
    return (*_qkv(grad), start, TOKENS, 0, 1, 0.3)


def _attention_backward(_: bool) -> Arguments:
    q, k, v = _qkv(False)
    out, lse = attention(q, k, v, return_lse=True, implementation="reference")
    return out, q, k, v, out, lse, None, 5, 0, 1, 0.3


def _turns() -> Tensor:
    return rotary_turns(torch.arange(TOKENS), WIDTH, torch.float32)


def _packed(grad: bool) -> Tensor:
    return _numbers(BATCH, TOKENS, 3 * HEADS, WIDTH, grad=grad)


def _rotary_cpu_backward(_: bool) -> Arguments:
    packed, turns = _packed(False), _turns()
    out, lse = torch.ops.adbench.rotary_attention_cpu(packed, turns, 5, 0.3)
    return out, packed, turns, out, lse, 5, 0.3


def _rotary_triton_backward(_: bool) -> Arguments:
    packed, turns, geometry = _packed(False), _turns(), (5, 0, 1, 0.3)
    out, lse, first, second = torch.ops.adbench.rotary_attention_triton(
        packed, None, turns, *geometry
    )
    return out, packed, first, second, turns, out, lse, *geometry


def _ring(_: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    keys, values = _numbers(2, BATCH, KEY_HEADS, 8, WIDTH).unbind(0)
    return keys.contiguous(), values.contiguous(), torch.tensor([5, 11]), torch.tensor([2, 1])


def _ring_append(grad: bool) -> Arguments:
    keys, values, length, count = _ring(grad)
    k, v = _numbers(2, BATCH, 2, KEY_HEADS, WIDTH, seed=3).unbind(0)
    return keys, values, k, v, length, count, None


def _ring_attention(grad: bool) -> Arguments:
    keys, values, length, count = _ring(grad)
    return _numbers(BATCH, 2, HEADS, WIDTH), keys, values, length, count, 6, 0.3, None


def _frames() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (BATCH, 8, 8, 3), generator=draw, dtype=torch.uint8)


def _patch(grad: bool) -> Arguments:
    weight, bias = _numbers(5, 48, grad=grad), _numbers(5, seed=1, grad=grad)
    return _frames(), weight, bias, 4, [0.5] * 3, [0.25] * 3, torch.float32


def _view() -> tuple[Scene, Tensor, Tensor, Tensor]:
    """A scene with a body, and two cameras, their scenes and where they find the body."""
    box = Box((1.0, 0.0), (0.5, 1.0, 0.5), body="box")
    scene = build_scene([[*room(), box]], textures=pictures())
    return scene, poses(BATCH), torch.zeros(BATCH, dtype=torch.int64), torch.ones(BATCH, 1, 4)


def _raycast_numba(_: bool) -> Arguments:
    scene, camera, index, bodies = _view()
    return camera, index, *tables(scene, place_bodies(scene, index, bodies)), 5, 7, 4


def _raycast_triton(_: bool) -> Arguments:
    scene, camera, index, bodies = _view()
    return camera, index, bodies, *packed(scene), 5, 7, 4


def _patch_backward(_: bool) -> Arguments:
    return _numbers(BATCH, 4, 5), _frames(), 4, [0.5] * 3, [0.25] * 3, torch.float32


ARGUMENTS: dict[str, Callable[[bool], Arguments]] = {
    "attention_blocked": _attention,
    "attention_blocked_backward": _attention_backward,
    "attention_triton": _attention,
    "attention_triton_backward": _attention_backward,
    "rotary_attention_cpu": lambda grad: (_packed(grad), _turns(), 5, 0.3),
    "rotary_attention_cpu_backward": _rotary_cpu_backward,
    "rotary_attention_triton": lambda grad: (_packed(grad), None, _turns(), 5, 0, 1, 0.3),
    "rotary_attention_triton_backward": _rotary_triton_backward,
    "turn_triton": lambda grad: (_packed(grad), _turns(), False),
    "ring_append_triton": _ring_append,
    "ring_attention_triton": _ring_attention,
    "patch_embed_blocked": _patch,
    "patch_embed_blocked_backward": _patch_backward,
    "patch_embed_triton": _patch,
    "patch_embed_triton_backward": _patch_backward,
    "raycast_numba": _raycast_numba,
    "raycast_triton": _raycast_triton,
}
"""Operator -> its arguments, given whether those that can have a gradient shall have one."""

DIFFERENTIABLE = frozenset(
    {
        "attention_blocked",
        "attention_triton",
        "rotary_attention_cpu",
        "rotary_attention_triton",
        "turn_triton",
        "patch_embed_blocked",
        "patch_embed_triton",
    }
)


def operator(name: str) -> Any:
    """torch's handle of one of ours."""
    return getattr(torch.ops.adbench, name).default


Loss = Callable[..., Tensor]


def losses(implementation: Any) -> dict[str, tuple[Loss, Callable[[int], tuple[Tensor, ...]]]]:
    """Name -> a function of tensors, and its inputs for so many tokens or frames."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        intervals = Intervals.window(4)
        return attention(q, k, v, intervals=intervals, implementation=implementation).sin().sum()

    def turn_and_attend(packed: Tensor, turns: Tensor) -> Tensor:
        return rotary_attention(packed, turns, window=4, implementation=implementation).sin().sum()

    def embed(weight: Tensor, frames: Tensor) -> Tensor:
        return patch_embed(frames, weight, patch=4, implementation=implementation).sin().sum()

    def attended(tokens: int) -> tuple[Tensor, ...]:
        return tuple(_numbers(BATCH, tokens, HEADS, WIDTH, seed=i, grad=True) for i in range(3))

    def turned(tokens: int) -> tuple[Tensor, ...]:
        packed = _numbers(BATCH, tokens, 3 * HEADS, WIDTH, grad=True)
        return packed, rotary_turns(torch.arange(tokens), WIDTH, torch.float32)

    def embedded(frames: int) -> tuple[Tensor, ...]:
        pixels = torch.arange(frames * 192).remainder(251).to(torch.uint8).view(frames, 8, 8, 3)
        return _numbers(5, 48, grad=True) / math.sqrt(48), pixels

    return {
        "attention": (attend, attended),
        "rotary_attention": (turn_and_attend, turned),
        "patch_embed": (embed, embedded),
    }


def value_and_gradient(loss: Loss, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The loss, and its gradient by every input that has one."""
    given = tuple(x for x in inputs if x.requires_grad)
    value = loss(*inputs)
    return (value.detach(), *torch.autograd.grad(value, given))
