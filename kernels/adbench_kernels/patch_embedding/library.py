"""The Triton path as a torch operator: opaque to torch.compile, differentiable once.

What is kept for the backward pass are the frames, as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.patch_embedding import launch

torch.library.define(
    "adbench::patch_embed_triton",
    "(Tensor frames, Tensor weight, Tensor? bias, int patch, float[] mean, float[] std, "
    "ScalarType dtype) -> Tensor",
)
torch.library.define(
    "adbench::patch_embed_triton_backward",
    "(Tensor grad_out, Tensor frames, int patch, float[] mean, float[] std, ScalarType dtype) "
    "-> (Tensor, Tensor)",
)
torch.library.impl("adbench::patch_embed_triton", "CompositeExplicitAutograd", launch.forward)
torch.library.impl(
    "adbench::patch_embed_triton_backward", "CompositeExplicitAutograd", launch.backward
)

patch_embed_triton = torch.ops.adbench.patch_embed_triton.default
patch_embed_triton_backward = torch.ops.adbench.patch_embed_triton_backward.default


@torch.library.register_fake("adbench::patch_embed_triton")
def _forward_shapes(
    frames: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> Tensor:
    patches = frames.shape[1] // patch * (frames.shape[2] // patch)
    return frames.new_empty(frames.shape[0], patches, weight.shape[0], dtype=dtype)


@torch.library.register_fake("adbench::patch_embed_triton_backward")
def _backward_shapes(
    grad_out: Tensor,
    frames: Tensor,
    patch: int,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    embedding, inner = grad_out.shape[2], patch * patch * frames.shape[3]
    weight = grad_out.new_empty(embedding, inner, dtype=dtype)
    return weight, grad_out.new_empty(embedding, dtype=torch.float32)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    frames, weight, bias, ctx.patch, ctx.mean, ctx.std, _ = inputs
    ctx.dtype, ctx.bias_dtype = weight.dtype, None if bias is None else bias.dtype
    ctx.save_for_backward(frames)


def _derive(ctx: Any, grad_out: Tensor) -> tuple[Any, ...]:
    (frames,) = ctx.saved_tensors
    grad_weight, grad_bias = patch_embed_triton_backward(
        grad_out, frames, ctx.patch, ctx.mean, ctx.std, ctx.dtype
    )
    bias = None if ctx.bias_dtype is None else grad_bias.to(ctx.bias_dtype)
    return None, grad_weight, bias, None, None, None, None


def _twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
    raise RuntimeError(
        "patch_embed: 'triton' has no second derivative; use implementation='reference' for one"
    )


torch.library.register_autograd(
    "adbench::patch_embed_triton", _derive, setup_context=_setup_context
)
torch.library.register_autograd("adbench::patch_embed_triton_backward", _twice)
