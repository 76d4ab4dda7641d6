"""The CPU kernel as a torch operator: opaque to torch.compile, differentiable once.

B rows, T tokens, H heads, D head width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_kernels.cpu.threads import share

torch.library.define(
    "adbench::rotary_attention_cpu",
    "(Tensor qkv, Tensor turns, int window, float scale) -> (Tensor, Tensor)",
)
torch.library.define(
    "adbench::rotary_attention_cpu_backward",
    "(Tensor grad_out, Tensor qkv, Tensor turns, Tensor out, Tensor lse, int window, float scale)"
    " -> Tensor",
)


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().view(-1).numpy()


def _forward(qkv: Tensor, turns: Tensor, window: int, scale: float) -> tuple[Tensor, Tensor]:
    from adbench_kernels.rotary_attention import cpu

    batch, length, triple, width = qkv.shape
    heads = triple // 3
    out = qkv.new_empty(batch, length, heads, width)
    lse = qkv.new_empty(batch, heads, length)
    arrays = [_flat(x) for x in (qkv, turns, out, lse)]

    def work(first: int, end: int) -> None:
        scratch = np.empty(cpu.forward_scratch(length, width), np.float32)
        cpu.forward(*arrays, length, heads, width, window, scale, first, end, scratch)

    share(work, batch * heads)
    return out, lse


def _backward(
    grad_out: Tensor,
    qkv: Tensor,
    turns: Tensor,
    out: Tensor,
    lse: Tensor,
    window: int,
    scale: float,
) -> Tensor:
    from adbench_kernels.rotary_attention import cpu

    batch, length, triple, width = qkv.shape
    heads = triple // 3
    grad_qkv = qkv.new_empty(qkv.shape)
    arrays = [_flat(x) for x in (qkv, turns, out, lse, grad_out, grad_qkv)]

    def work(first: int, end: int) -> None:
        scratch = np.empty(cpu.backward_scratch(length, width), np.float32)
        cpu.backward(*arrays, length, heads, width, window, scale, first, end, scratch)

    share(work, batch * heads)
    return grad_qkv


torch.library.impl("adbench::rotary_attention_cpu", "CPU", _forward)
torch.library.impl("adbench::rotary_attention_cpu_backward", "CPU", _backward)

rotary_attention_cpu = torch.ops.adbench.rotary_attention_cpu.default
rotary_attention_cpu_backward = torch.ops.adbench.rotary_attention_cpu_backward.default


def _forward_shapes(qkv: Tensor, turns: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    batch, length, triple, width = qkv.shape
    heads = triple // 3
    return qkv.new_empty(batch, length, heads, width), qkv.new_empty(batch, heads, length)


def _backward_shapes(grad_out: Tensor, qkv: Tensor, *_: Any) -> Tensor:
    return qkv.new_empty(qkv.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, turns, ctx.window, ctx.scale = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(qkv, turns, *output)


def _derive(ctx: Any, grad_out: Tensor | None, _grad_lse: Tensor | None) -> tuple[Any, ...]:
    if grad_out is None:
        return None, None, None, None
    grad = rotary_attention_cpu_backward(grad_out, *ctx.saved_tensors, ctx.window, ctx.scale)
    return grad, None, None, None


def _twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
    raise RuntimeError(
        "rotary_attention: 'numba' has no second derivative; use implementation='sdpa-math'"
    )


torch.library.register_fake("adbench::rotary_attention_cpu", _forward_shapes)
torch.library.register_fake("adbench::rotary_attention_cpu_backward", _backward_shapes)
torch.library.register_autograd(
    "adbench::rotary_attention_cpu", _derive, setup_context=_setup_context
)
torch.library.register_autograd("adbench::rotary_attention_cpu_backward", _twice)
