"""The ring's Triton kernels as torch operators: opaque to torch.compile, what they write declared.

`define` + `impl` + `register_fake`: unlike `triton_op`, this traces on a machine without a GPU.
They have no gradient: acting needs none.
"""

from __future__ import annotations

import torch
from torch import Tensor

torch.library.define(
    "adbench::ring_append_triton",
    "(Tensor(a!) keys, Tensor(b!) values, Tensor k, Tensor v, Tensor length, Tensor count, "
    "Tensor? turns) -> ()",
)
torch.library.define(
    "adbench::ring_attention_triton",
    "(Tensor q, Tensor keys, Tensor values, Tensor length, Tensor count, int window, float scale, "
    "Tensor? turns) -> Tensor",
)


def _append(
    keys: Tensor,
    values: Tensor,
    k: Tensor,
    v: Tensor,
    length: Tensor,
    count: Tensor,
    turns: Tensor | None,
) -> None:
    from adbench_kernels.ring_cache.triton.launch import append

    append(keys, values, k, v, length, count, turns)


def _attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    length: Tensor,
    count: Tensor,
    window: int,
    scale: float,
    turns: Tensor | None,
) -> Tensor:
    from adbench_kernels.ring_cache.triton.launch import decode

    return decode(q, keys, values, length, count, window, scale, turns)


def _append_nothing(keys: Tensor, *_: object) -> None:
    return None


def _attend_shape(q: Tensor, *_: object) -> Tensor:
    return torch.empty(q.shape, dtype=q.dtype, device=q.device)


torch.library.impl("adbench::ring_append_triton", "CompositeExplicitAutograd", _append)
torch.library.impl("adbench::ring_attention_triton", "CompositeExplicitAutograd", _attend)
torch.library.register_fake("adbench::ring_append_triton", _append_nothing)
torch.library.register_fake("adbench::ring_attention_triton", _attend_shape)

ring_append_triton = torch.ops.adbench.ring_append_triton.default
ring_attention_triton = torch.ops.adbench.ring_attention_triton.default
