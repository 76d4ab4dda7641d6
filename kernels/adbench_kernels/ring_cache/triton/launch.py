"""Launchers of the ring's kernels: tensors in, tensors out. They read no device value.

B lanes, n new tokens, C slots, H query heads, G key heads (H = G * R), D head width, W window, S
parts. Tensors may lie on `meta`, which is how kernels are compiled where there is no GPU.
"""

from __future__ import annotations

import math

import torch
import triton
from torch import Tensor

from adbench_kernels.choice import arch
from adbench_kernels.configs import tile
from adbench_kernels.devices import LAUNCH_OPTIONS, launching_on
from adbench_kernels.ring_cache.triton.append import ring_append
from adbench_kernels.ring_cache.triton.combine import ring_combine
from adbench_kernels.ring_cache.triton.decode import ring_decode

_MOST_PARTS = 32
_MOST_WARPS = 8
_LEAST_ROWS = 16  # of a matrix product on tensor cores
# Of one program; float32, which has no tensor cores here, keeps its operands in registers.
_MOST_ROWS = 64


def append(
    keys: Tensor,
    values: Tensor,
    k: Tensor,
    v: Tensor,
    length: Tensor,
    count: Tensor,
    turns: Tensor | None,
) -> None:
    """Write new tokens into their slots.

    Args:
        keys: contiguous [B, G, C, D]; changed in place.
        values: the same.
        k: new keys [B, n, G, D], last stride 1.
        v: new values, the same.
        length: tokens of each lane, the new ones included, int64 [B].
        count: how many of the n are real, int64 [B].
        turns: rotary turns of the keys, [B, n, 2, D]; none: they are stored as they come.
    """
    lanes, new, key_heads, width = k.shape
    if lanes == 0:
        return
    chosen = tile(
        "ring_append",
        arch=arch(k.device),
        head_dim=width,
        length=keys.shape[2],
        dtype_bytes=k.element_size(),
    )
    rows = new * key_heads
    block_m = min(triton.next_power_of_2(rows), max(chosen.block_m, 1))
    with launching_on(k.device):
        ring_append[(lanes, triton.cdiv(rows, block_m))](
            k,
            v,
            None if turns is None else turns.contiguous(),
            keys,
            values,
            length.contiguous(),
            count.contiguous(),
            *k.stride()[:3],
            *v.stride()[:3],
            keys.shape[2],
            NEW=new,
            KEY_HEADS=key_heads,
            D=width,
            BLOCK_D=triton.next_power_of_2(width),
            BLOCK_M=block_m,
            num_warps=chosen.num_warps,
            **LAUNCH_OPTIONS,
        )


def decode(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    length: Tensor,
    count: Tensor,
    window: int,
    scale: float,
    turns: Tensor | None,
    *,
    parts: int | None = None,
) -> Tensor:
    """Attention of the newest tokens over the last W, [B, n, H, D] in q's dtype.

    Args:
        q: [B, n, H, D], last stride 1.
        keys: contiguous [B, G, C, D], the new tokens among them.
        values: the same.
        length: tokens of each lane, the new ones included, int64 [B].
        count: how many of the n are real, int64 [B].
        window: W; W + n - 1 <= C.
        scale: multiplies the scores.
        turns: rotary turns of the queries, [B, n, 2, D]; none: they are taken as they come.
        parts: S, in which the tokens of a lane are walked through; none: as the table says.
    """
    lanes, new, heads, width = q.shape
    key_heads, capacity = keys.shape[1:3]
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    if out.numel() == 0:
        return out
    where = arch(q.device)
    size = q.element_size()
    chosen = tile("ring_decode", arch=where, head_dim=width, length=window, dtype_bytes=size)
    most = window + new - 1
    if parts is None:
        parts = num_parts(most, chosen.block_k)
    part_tokens = triton.cdiv(triton.cdiv(most, parts), chosen.block_n) * chosen.block_n
    rows, units = new * heads // key_heads, lanes * key_heads
    sizes = {
        "NEW": new,
        "KEY_HEADS": key_heads,
        "GROUP": heads // key_heads,
        "D": width,
        "BLOCK_D": max(_LEAST_ROWS, triton.next_power_of_2(width)),
    }
    least_rows = max(_LEAST_ROWS, chosen.block_m)
    most_rows = _MOST_ROWS if size <= 2 else least_rows
    block_m = min(max(least_rows, triton.next_power_of_2(rows)), most_rows)
    part_out, lse = out, None
    if parts > 1:
        part_out = q.new_empty((units, parts, rows, width), dtype=torch.float32)
        lse = q.new_empty((units, parts, rows), dtype=torch.float32)
    with launching_on(q.device):
        ring_decode[(units, parts, triton.cdiv(rows, block_m))](
            q,
            None if turns is None else turns.contiguous(),
            keys,
            values,
            length.contiguous(),
            count.contiguous(),
            part_out,
            lse,
            *q.stride()[:3],
            scale * math.log2(math.e),
            capacity,
            window,
            part_tokens,
            **sizes,
            BLOCK_M=block_m,
            BLOCK_N=chosen.block_n,
            # The tile is for as few rows as there can be; with more, each warp would hold more.
            num_warps=min(chosen.num_warps * block_m // least_rows, _MOST_WARPS),
            num_stages=chosen.num_stages,
            **LAUNCH_OPTIONS,
        )
        if lse is None:
            return out
        chosen = tile("ring_combine", arch=where, head_dim=width, length=parts, dtype_bytes=size)
        block_m = min(triton.next_power_of_2(rows), max(chosen.block_m, 1))
        ring_combine[(units, triton.cdiv(rows, block_m))](
            part_out,
            lse,
            out,
            parts,
            **sizes,
            BLOCK_M=block_m,
            num_warps=chosen.num_warps,
            **LAUNCH_OPTIONS,
        )
    return out


def num_parts(tokens: int, part_tokens: int) -> int:
    """In how many parts the tokens in view are walked through; of static sizes alone.

    A function of the batch's size would use a small batch's GPU better, but then a lane's bits
    would depend on how many other lanes there are.

    Args:
        tokens: the most that are in view, W + n - 1.
        part_tokens: about how many a part should have; 0: all of them.
    """
    if part_tokens == 0:
        return 1
    # To the nearest: W + n - 1 just past a multiple is no reason for a part of n - 1 tokens.
    return min(max(1, round(tokens / part_tokens)), _MOST_PARTS)
