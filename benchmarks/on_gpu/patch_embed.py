"""The patch_embed section: bytes to embeddings and back to the weight, beside eager bfloat16.

Patches of 8 x 8 pixels, 256 embeddings, 8,192 frames; a weight in bfloat16. "eager" is the
definition: convert, normalise, cut, project.

N frames, E embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from adbench_kernels import patch_embed
from adbench_kernels.choice import runs_triton
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work
from benchmarks.on_gpu.exact import errors, exact_dtype

ABOUT = "uint8 frames to patch embeddings, forward and weight gradient"

FRAMES, PATCH, WIDTH = 8192, 8, 256
SIZES = ((64, 64, 3), (72, 96, 3))
MODES = ("both", "forward", "backward")
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
CHECKED_AT_ONCE = 256


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Two frame sizes, three modes, ours and eager.

    Args:
        smoke: tiny frames.
        on_gpu: ours is "triton" there and "auto" on a CPU.
    """
    found = []
    for size in ((16, 24, 3),) if smoke else SIZES:
        for name in ("triton" if on_gpu else "auto", "reference"):
            for mode in MODES:
                key: dict[str, str | int] = {
                    "op": "patch_embed", "mode": mode, "frame": "x".join(map(str, size)),
                    "implementation": name,
                }  # fmt: skip
                depends = "" if name == "reference" else "kernels"
                ready = partial(prepare, mode=mode, size=size, name=name)
                found.append(Case(key, ready, depends))
    return found


@dataclass(frozen=True)
class Scene:
    """Inputs, and the right output of the last frames and right gradients."""

    sets: tuple[tuple[Tensor, Tensor], ...]  # frames [N, Y, X, C] and gradients [N, patches, E]
    weight: Tensor
    bias: Tensor
    exact: tuple[Tensor, Tensor, Tensor]
    plain: tuple[Tensor, Tensor, Tensor]


def _embed(frames: Tensor, weight: Tensor, bias: Tensor, name: Any) -> Tensor:
    return patch_embed(frames, weight, bias, patch=PATCH, mean=MEAN, std=STD, implementation=name)


@lru_cache(maxsize=1)
def _scene(card: Card, size: tuple[int, int, int]) -> Scene:
    count, width = (4, 32) if card.smoke else (FRAMES, WIDTH)
    # Triton's interpreter cannot calculate with bfloat16, of which float32 is made there.
    interpreted = torch.float16 if runs_triton(card.device) else torch.float32
    dtype = torch.bfloat16 if card.on_gpu else interpreted
    height, across, channels = size
    inputs, patches = PATCH * PATCH * channels, (height // PATCH) * (across // PATCH)
    weight = card.normal(width, inputs, seed=1, dtype=dtype) * inputs**-0.5
    bias = card.normal(width, seed=2, dtype=dtype)
    sets = []
    for seed in range(card.sets(float(count * height * across * channels))):
        frames = torch.randint(
            256, (count, *size), dtype=torch.uint8, device=card.device,
            generator=card.generator(10 + seed),
        )  # fmt: skip
        sets.append((frames, card.normal(count, patches, width, seed=100 + seed, dtype=dtype)))
    exact, plain = (_definition(*sets[0], weight, bias, d) for d in (exact_dtype(dtype), dtype))
    return Scene(tuple(sets), weight, bias, exact, plain)


def _definition(
    frames: Tensor, grad: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Output of the last frames, gradients of weight and bias, in one dtype, sums in float64."""
    total = [torch.zeros_like(x, dtype=torch.float64) for x in (weight, bias)]
    out = weight
    for first in range(0, len(frames), CHECKED_AT_ONCE):
        some = slice(first, first + CHECKED_AT_ONCE)
        leaves = [x.detach().to(dtype).requires_grad_() for x in (weight, bias)]
        out = _embed(frames[some], leaves[0], leaves[1], "reference")
        for sum_, part in zip(total, torch.autograd.grad(out, leaves, grad[some].to(dtype)),
                              strict=True):  # fmt: skip
            sum_ += part
    return out.detach(), total[0], total[1]


def prepare(card: Card, mode: str, size: tuple[int, int, int], name: str) -> Work:
    """Patch embedding of frames, made ready.

    Args:
        card: on which.
        mode: one of `MODES`.
        size: of a frame, Y, X, C.
        name: of the implementation.
    """
    scene = _scene(card, size)

    def leaves() -> tuple[Tensor, Tensor]:
        return scene.weight.detach().requires_grad_(), scene.bias.detach().requires_grad_()

    def check() -> Mapping[str, float]:
        frames, grad = scene.sets[0]
        weight, bias = leaves()
        out = _embed(frames, weight, bias, name)
        last = out.detach()[-len(scene.exact[0]) :]
        if mode == "forward":
            return errors([last], scene.exact[:1], scene.plain[:1], ("out",))
        found = [last, *torch.autograd.grad(out, (weight, bias), grad)]
        return errors(found, scene.exact, scene.plain, ("out", "dweight", "dbias"))

    calls = [_call(mode, name, *pair, *leaves()) for pair in scene.sets]
    return Work(calls, check, *_worth(scene, mode))


def _call(
    mode: str, name: str, frames: Tensor, grad: Tensor, weight: Tensor, bias: Tensor
) -> Callable[[], Any]:
    def embed() -> Tensor:
        return _embed(frames, weight, bias, name)

    if mode == "forward":
        return torch.no_grad()(embed)
    if mode == "backward":
        out = embed()
        return lambda: torch.autograd.grad(out, (weight, bias), grad, retain_graph=True)
    return lambda: torch.autograd.grad(embed(), (weight, bias), grad)


def _worth(scene: Scene, mode: str) -> tuple[float, float]:
    """Operations and least bytes of one call: frames and embeddings once for each direction."""
    frames, grad = scene.sets[0]
    once = 2.0 * grad.numel() * scene.weight.shape[1]
    moved = float(frames.numel() + grad.numel() * grad.element_size())
    directions = 2 if mode == "both" else 1
    return directions * once, directions * moved
