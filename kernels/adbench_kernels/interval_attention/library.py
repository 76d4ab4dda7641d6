"""The blocked path as a torch operator: opaque to torch.compile, differentiable once.

`define` + `impl` + `register_fake` + `register_autograd`: unlike `triton_op`, this traces on a
machine without a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adbench_kernels.interval_attention import blocked

_ARGUMENTS = "Tensor? kv_start, int width, int query_offset, int query_stride, float scale"
torch.library.define(
    "adbench::attention_blocked",
    f"(Tensor q, Tensor k, Tensor v, {_ARGUMENTS}) -> (Tensor, Tensor)",
)
torch.library.define(
    "adbench::attention_blocked_backward",
    "(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
    f"{_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
)
torch.library.impl("adbench::attention_blocked", "CompositeExplicitAutograd", blocked.forward)
torch.library.impl(
    "adbench::attention_blocked_backward", "CompositeExplicitAutograd", blocked.backward
)

attention_blocked = torch.ops.adbench.attention_blocked.default
attention_blocked_backward = torch.ops.adbench.attention_blocked_backward.default


def _forward_shapes(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    batch, queries, heads, _width = q.shape
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    return out, torch.empty(batch, heads, queries, dtype=dtype, device=q.device)


def _backward_shapes(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
    return dq, dk, dv


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, kv_start, *settings = inputs
    out, lse = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(lse)
    ctx.save_for_backward(q, k, v, out, lse, kv_start)
    ctx.settings = settings


def _backward(ctx: Any, grad_out: Tensor | None, _grad_lse: Tensor | None) -> tuple[Any, ...]:
    nothing = (None,) * 5
    if grad_out is None:
        return None, None, None, *nothing
    q, k, v, out, lse, kv_start = ctx.saved_tensors
    grads = attention_blocked_backward(grad_out, q, k, v, out, lse, kv_start, *ctx.settings)
    return *grads, *nothing


torch.library.register_fake("adbench::attention_blocked", _forward_shapes)
torch.library.register_fake("adbench::attention_blocked_backward", _backward_shapes)


def _twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
    raise RuntimeError(
        "attention: 'blocked' has no second derivative; use implementation='sdpa-math' for one"
    )


torch.library.register_autograd(
    "adbench::attention_blocked", _backward, setup_context=_setup_context
)
torch.library.register_autograd("adbench::attention_blocked_backward", _twice)
