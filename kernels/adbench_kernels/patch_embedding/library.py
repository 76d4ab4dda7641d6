"""The fast paths as torch operators: opaque to torch.compile, differentiable once.

What is kept for the backward pass are the frames, as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench_kernels import flops
from adbench_kernels.patch_embedding import blocked, launch

_FORWARD = (
    "(Tensor frames, Tensor weight, Tensor? bias, int patch, float[] mean, float[] std, "
    "ScalarType dtype) -> Tensor"
)
_BACKWARD = (
    "(Tensor grad_out, Tensor frames, int patch, float[] mean, float[] std, ScalarType dtype) "
    "-> (Tensor, Tensor)"
)


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
    exact = torch.promote_types(grad_out.dtype, torch.float32)
    return weight, grad_out.new_empty(embedding, dtype=exact)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    frames, weight, bias, ctx.patch, ctx.mean, ctx.std, _ = inputs
    ctx.dtype, ctx.bias_dtype = weight.dtype, None if bias is None else bias.dtype
    ctx.save_for_backward(frames)


def _operations(frames: Tensor, weight: Tensor, bias: Tensor | None, *_: Any, **__: Any) -> int:
    """A multiply-add for each pixel and channel inside a patch and each embedding."""
    return 2 * frames.numel() * weight.shape[0]


def _operations_backward(grad_out: Tensor, frames: Tensor, *_: Any, **__: Any) -> int:
    return 2 * frames.numel() * grad_out.shape[2]


def _operator(name: str, forward: Any, backward: Any) -> Any:
    """Define `adbench::patch_embed_NAME` and its gradient; the first of them."""
    ours, its_gradient = f"adbench::patch_embed_{name}", f"adbench::patch_embed_{name}_backward"
    torch.library.define(ours, _FORWARD)
    torch.library.define(its_gradient, _BACKWARD)
    torch.library.impl(ours, "CompositeExplicitAutograd", forward)
    torch.library.impl(its_gradient, "CompositeExplicitAutograd", backward)
    differentiate = getattr(torch.ops.adbench, f"patch_embed_{name}_backward").default

    def derive(ctx: Any, grad_out: Tensor) -> tuple[Any, ...]:
        (frames,) = ctx.saved_tensors
        grad_weight, grad_bias = differentiate(
            grad_out, frames, ctx.patch, ctx.mean, ctx.std, ctx.dtype
        )
        bias = None if ctx.bias_dtype is None else grad_bias.to(ctx.bias_dtype)
        return None, grad_weight, bias, None, None, None, None

    def twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            f"patch_embed: {name!r} has no second derivative; use implementation='reference'"
        )

    torch.library.register_fake(ours, _forward_shapes)
    torch.library.register_fake(its_gradient, _backward_shapes)
    torch.library.register_autograd(ours, derive, setup_context=_setup_context)
    torch.library.register_autograd(its_gradient, twice)
    flops.register(f"patch_embed_{name}", _operations)
    flops.register(f"patch_embed_{name}_backward", _operations_backward)
    return getattr(torch.ops.adbench, f"patch_embed_{name}").default


patch_embed_triton = _operator("triton", launch.forward, launch.backward)
patch_embed_blocked = _operator("blocked", blocked.forward, blocked.backward)
