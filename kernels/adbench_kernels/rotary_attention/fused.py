"""The Triton path as torch operators: opaque to torch.compile, differentiable once.

B rows, T tokens, Q queries, H heads, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adbench_kernels import flops
from adbench_kernels.rotary_attention import launch

_GEOMETRY = "int width, int query_offset, int query_stride, float scale"
torch.library.define("adbench::turn_triton", "(Tensor x, Tensor turns, bool back) -> Tensor")
torch.library.define(
    "adbench::rotary_attention_triton",
    f"(Tensor packed, Tensor? queries, Tensor turns, {_GEOMETRY})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
torch.library.define(
    "adbench::rotary_attention_triton_backward",
    "(Tensor grad_out, Tensor packed, Tensor first, Tensor second, Tensor turns, Tensor out, "
    f"Tensor lse, {_GEOMETRY}) -> (Tensor, Tensor)",
)
torch.library.impl("adbench::turn_triton", "CompositeExplicitAutograd", launch.turned)
torch.library.impl("adbench::rotary_attention_triton", "CompositeExplicitAutograd", launch.forward)
torch.library.impl(
    "adbench::rotary_attention_triton_backward", "CompositeExplicitAutograd", launch.backward
)

turn_triton = torch.ops.adbench.turn_triton.default
rotary_attention_triton = torch.ops.adbench.rotary_attention_triton.default
rotary_attention_triton_backward = torch.ops.adbench.rotary_attention_triton_backward.default


@torch.library.register_fake("adbench::turn_triton")
def _turned_shape(x: Tensor, turns: Tensor, back: bool) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@torch.library.register_fake("adbench::rotary_attention_triton")
def _forward_shapes(
    packed: Tensor, queries: Tensor | None, turns: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, length, parts, width = packed.shape
    heads = parts // (3 if queries is None else 2)
    asked = length if queries is None else queries.shape[1]
    return (
        packed.new_empty(batch, asked, heads, width),
        packed.new_empty(batch, heads, asked, dtype=torch.float32),
        packed.new_empty(batch, length, parts - heads, width),
        packed.new_empty(0 if queries is None else queries.shape),
    )


@torch.library.register_fake("adbench::rotary_attention_triton_backward")
def _backward_shapes(
    grad_out: Tensor, packed: Tensor, first: Tensor, second: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    grad = torch.empty(packed.shape, dtype=packed.dtype, device=packed.device)
    return grad, torch.empty_like(second)


def _setup_turn(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, turns, ctx.back = inputs
    ctx.save_for_backward(turns)


def _derive_turn(ctx: Any, grad_out: Tensor) -> tuple[Any, ...]:
    (turns,) = ctx.saved_tensors
    return turn_triton(grad_out, turns, not ctx.back), None, None


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    packed, queries, turns, *ctx.settings = inputs
    out, lse, first, second = output
    ctx.strided = queries is not None
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(lse, first, second)
    ctx.save_for_backward(packed, first, second, turns, out, lse)


def _derive(ctx: Any, grad_out: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
    if grad_out is None:
        return (None,) * 7
    grad, grad_queries = rotary_attention_triton_backward(
        grad_out, *ctx.saved_tensors, *ctx.settings
    )
    return grad, grad_queries if ctx.strided else None, *(None,) * 5


def _twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
    raise RuntimeError(
        "rotary_attention: 'triton' has no second derivative; use implementation='sdpa-math'"
    )


torch.library.register_autograd("adbench::turn_triton", _derive_turn, setup_context=_setup_turn)
torch.library.register_autograd(
    "adbench::rotary_attention_triton", _derive, setup_context=_setup_context
)
torch.library.register_autograd("adbench::rotary_attention_triton_backward", _twice)


def _operations(
    packed: Tensor, queries: Tensor | None, turns: Tensor, width: int, offset: int, stride: int,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    k = packed[:, :, -(packed.shape[2] // (3 if queries is None else 2)) :]
    return flops.attention_flops(k if queries is None else queries, k, None, width, offset, stride)


def _operations_backward(
    grad_out: Tensor, packed: Tensor, first: Tensor, second: Tensor, turns: Tensor, out: Tensor,
    lse: Tensor, width: int, offset: int, stride: int, *_: Any, **__: Any,
) -> int:  # fmt: skip
    k = packed[:, :, -grad_out.shape[2] :]
    return flops.attention_flops(grad_out, k, None, width, offset, stride, backward=True)


flops.register("rotary_attention_triton", _operations)
flops.register("rotary_attention_triton_backward", _operations_backward)
