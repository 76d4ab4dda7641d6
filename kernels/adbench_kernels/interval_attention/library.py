"""Our paths as torch operators: opaque to torch.compile, differentiable once.

`define` + `impl` + `register_fake` + `register_autograd`: unlike `triton_op`, this traces on a
machine without a GPU. Every path has the same schema, so one set of rules serves them all:

    adbench::attention_NAME(q, k, v, kv_start, width, query_offset, query_stride, scale)
        -> (out, lse)
    adbench::attention_NAME_backward(grad_out, q, k, v, out, lse, kv_start, width, query_offset,
        query_stride, scale) -> (dq, dk, dv)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adbench_kernels.interval_attention import blocked

_ARGUMENTS = "Tensor? kv_start, SymInt width, SymInt query_offset, SymInt query_stride, float scale"


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


def _operator(
    name: str,
    forward: Callable[..., tuple[Tensor, Tensor]],
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> tuple[Any, Any]:
    """Define `adbench::attention_NAME` and its backward; returns both."""
    op, op_backward = f"adbench::attention_{name}", f"adbench::attention_{name}_backward"
    torch.library.define(op, f"(Tensor q, Tensor k, Tensor v, {_ARGUMENTS}) -> (Tensor, Tensor)")
    torch.library.define(
        op_backward,
        "(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
        f"{_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
    )
    torch.library.impl(op, "CompositeExplicitAutograd", forward)
    torch.library.impl(op_backward, "CompositeExplicitAutograd", backward)
    torch.library.register_fake(op, _forward_shapes)
    torch.library.register_fake(op_backward, _backward_shapes)
    run = getattr(torch.ops.adbench, f"attention_{name}").default
    run_backward = getattr(torch.ops.adbench, f"attention_{name}_backward").default

    def derive(ctx: Any, grad_out: Tensor | None, _grad_lse: Tensor | None) -> tuple[Any, ...]:
        nothing = (None,) * 5
        if grad_out is None:
            return None, None, None, *nothing
        q, k, v, out, lse, kv_start = ctx.saved_tensors
        grads = run_backward(grad_out, q, k, v, out, lse, kv_start, *ctx.settings)
        return *grads, *nothing

    def twice(ctx: Any, *_: Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            f"attention: {name!r} has no second derivative; use implementation='sdpa-math' for one"
        )

    torch.library.register_autograd(op, derive, setup_context=_setup_context)
    torch.library.register_autograd(op_backward, twice)
    return run, run_backward


def _blocked_forward(q: Tensor, *given: Any) -> tuple[Tensor, Tensor]:
    with torch.autocast(q.device.type, enabled=False):  # it chooses its precisions itself
        return blocked.forward(q, *given)


def _blocked_backward(grad_out: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    with torch.autocast(grad_out.device.type, enabled=False):
        return blocked.backward(grad_out, *given)


def _triton_forward(*given: Any) -> tuple[Tensor, Tensor]:
    from adbench_kernels.interval_attention.triton import launch  # Triton is optional

    return launch.forward(*given)


def _triton_backward(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    from adbench_kernels.interval_attention.triton import launch

    return launch.backward(*given)


attention_blocked, attention_blocked_backward = _operator(
    "blocked", _blocked_forward, _blocked_backward
)
attention_triton, attention_triton_backward = _operator("triton", _triton_forward, _triton_backward)

OPERATORS = {
    "blocked": (attention_blocked, attention_blocked_backward),
    "triton": (attention_triton, attention_triton_backward),
}
"""By implementation: the operator, and the one of its gradients."""
