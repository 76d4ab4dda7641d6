"""Launching the Triton path: turn queries and keys, attend, and back. Also on the meta device.

B rows, T tokens, Q queries, H heads, D head width. Values, and the gradient of everything, stay in
the packed tensor as the projection has it: nothing is copied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.choice import arch
from adbench_kernels.configs import tile
from adbench_kernels.devices import LAUNCH_OPTIONS, launching_on

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
WIDEST = 128


def turned(x: Tensor, turns: Tensor, back: bool = False) -> Tensor:
    """x turned by its positions (`turns.rotate`), in a new tensor, [B, T, H, D].

    Args:
        x: one of `DTYPES`, [B, T, H, D], any strides.
        turns: of `rotary_turns`, float32 [T, 2, D].
        back: turn the other way.
    """
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _turn(x if x.stride(3) == 1 else x.contiguous(), turns, out, back)
    return out


def forward(
    packed: Tensor,
    queries: Tensor | None,
    turns: Tensor,
    width: int,
    query_offset: int,
    query_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention of turned queries to turned keys.

    What was turned is returned and kept for the backward pass: turning again there would save
    memory of two thirds of `packed` and cost another pass over as much.

    Args:
        packed: queries, keys and values of H heads each, [B, T, 3 H, D]; keys and values alone,
            [B, T, 2 H, D], where there are `queries`.
        queries: [B, Q, H, D], or none: of all tokens.
        turns: float32 [T, 2, D].
        width: keys that a query sees at most, its own included.
        query_offset: position of the first query.
        query_stride: positions between queries.
        scale: multiplies the scores.

    Returns:
        out [B, Q, H, D]; lse float32 [B, H, Q]; turned queries and keys [B, T, 2 H, D], or turned
        keys alone and, last, turned queries (empty where they are with the keys).
    """
    from adbench_kernels.interval_attention.triton import launch as attention

    packed = packed if packed.stride(3) == 1 else packed.contiguous()
    heads = packed.shape[2] // (3 if queries is None else 2)
    first = turned(packed[:, :, :-heads], turns)
    if queries is None:
        second = first.new_empty(0)
    else:
        second = turned(queries, _asked(turns, queries, query_offset, query_stride))
    q, k = _queries_and_keys(first, second)
    v = packed[:, :, -heads:]
    out, lse = attention.forward(q, k, v, None, width, query_offset, query_stride, scale)
    return out, lse, first, second


def backward(
    grad_out: Tensor,
    packed: Tensor,
    first: Tensor,
    second: Tensor,
    turns: Tensor,
    out: Tensor,
    lse: Tensor,
    width: int,
    query_offset: int,
    query_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of `packed` and of `queries` (empty where there are none).

    Args:
        grad_out: [B, Q, H, D].
        packed: as for `forward`.
        first: what `forward` returned third.
        second: what `forward` returned last.
        turns: as for `forward`.
        out: what `forward` returned.
        lse: what `forward` returned.
        width: as for `forward`.
        query_offset: as for `forward`.
        query_stride: as for `forward`.
        scale: as for `forward`.
    """
    from adbench_kernels.interval_attention.triton import launch as attention

    packed = packed if packed.stride(3) == 1 else packed.contiguous()
    q, k = _queries_and_keys(first, second)
    heads = k.shape[2]
    grad = torch.empty(packed.shape, dtype=packed.dtype, device=packed.device)
    grad_queries = torch.empty_like(second)
    attention.backward(
        grad_out, q, k, packed[:, :, -heads:], out, lse, None,
        width, query_offset, query_stride, scale,
        dq=grad_queries if second.numel() else grad[:, :, :heads],
        dk=grad[:, :, -2 * heads : -heads],
        dv=grad[:, :, -heads:],
    )  # fmt: skip
    # Turned back where they lie: nobody else has seen these gradients yet.
    _turn(grad[:, :, :-heads], turns, grad[:, :, :-heads], True)
    if second.numel():
        at = _asked(turns, second, query_offset, query_stride)
        _turn(grad_queries, at, grad_queries, True)
    return grad, grad_queries


def _queries_and_keys(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if second.numel():
        return second, first
    q, k = first.chunk(2, 2)
    return q, k


def _asked(turns: Tensor, queries: Tensor, query_offset: int, query_stride: int) -> Tensor:
    """Turns at the positions of strided queries, [Q, 2, D]."""
    last = query_offset + (queries.shape[1] - 1) * query_stride
    return turns[query_offset : last + 1 : query_stride]


def _turn(x: Tensor, turns: Tensor, out: Tensor, back: bool) -> None:
    from adbench_kernels.rotary_attention import kernel

    batch, tokens, heads, width = x.shape
    if x.numel() == 0:
        return
    if turns.stride()[1:] != (width, 1):
        turns = turns.contiguous()
    blocks = tile(
        "rotate",
        arch=arch(x.device),
        head_dim=width,
        length=tokens,
        dtype_bytes=x.element_size(),
    )
    padded = 1 << (width - 1).bit_length()
    block_h = max(1, blocks.block_n // padded)
    with launching_on(x.device):
        kernel.turn[(batch * -(-tokens // blocks.block_m), -(-heads // block_h))](
            x, turns, out, tokens, heads,
            *x.stride()[:3], *out.stride()[:3], turns.stride(0),
            BACK=back, D=width, BLOCK_D=padded, BLOCK_M=blocks.block_m, BLOCK_H=block_h,
            num_warps=blocks.num_warps, num_stages=blocks.num_stages, **LAUNCH_OPTIONS,
        )  # fmt: skip
