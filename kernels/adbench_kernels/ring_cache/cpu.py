"""The CPU kernel of the ring: one pass over the slots that a query sees, and no others.

B lanes, n new tokens, H query heads, G key heads, R = H / G, D = 16 C head width. Work is split
into B * G units, each a key head of a lane, so the outcome does not depend on how many threads
share the units.

The tokens that a query sees lie in one run of slots, or in two where the ring has wrapped. Keys and
values lie in blocks of sixteen slots: a block is one stretch of memory, read from end to end, in
which the sixteen slots' first numbers lie side by side, then their second. So a block's scores are
sixteen lanes, and its values are summed in lanes too; only the end adds up across lanes.
"""

# What is called here are numba intrinsics, which take other arguments than their Python twins.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from adbench_kernels.cpu.compiled import compiled, source_of_vectors
from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.cpu.lanes import (
    add,
    exp2,
    in_band,
    larger,
    load,
    multiply,
    spread,
    store,
    subtract,
    total,
)
from adbench_kernels.cpu.tiles import (
    add_scaled_rows,
    dot_rows,
    fetch_tile,
    spread_tile,
    sum_rows,
    transpose,
    zero_tile,
)

LOG2_E = math.log2(math.e)
_TILE = WIDTH * WIDTH
_NOTHING = np.float32(-1e30)  # a score that no real one falls below; -inf - -inf would be NaN


def scratch_size(num_blocks: int, head_dim: int) -> int:
    """Float32 numbers that `attend` needs to work in."""
    return head_dim + (num_blocks + 2) * WIDTH


@numba.njit
def put(x: Any, at: int, kept: Any, ring: int, slot: int, head_dim: int) -> None:
    """Write x[at : at + head_dim] into a slot of the ring that begins at kept[ring]."""
    to = ring + slot // WIDTH * WIDTH * head_dim + slot % WIDTH
    for d in range(head_dim):
        kept[to + d * WIDTH] = x[at + d]


@numba.njit
def weigh(
    keys: Any, values: Any, ring: int, ring_size: int, token: int, window: int, capacity: int,
    head_dim: int, cold: bool, out: Any, out_at: int, scratch: Any,
) -> None:  # fmt: skip
    """Attention of one query over the last `window` tokens up to `token`, to out[out_at:].

    The query, times scale * log2(e), is scratch[:head_dim]; the ring of its key head begins at
    keys[ring] and is `ring_size` long. Where it is `cold`, not in a cache yet, the sums over keys
    ask for the values, and the sums over values for the keys of the ring that follows: memory is
    never idle.
    """
    parts = head_dim // WIDTH
    at_w = head_dim  # weights of the blocks that are visited, one after the other
    nothing, zero = spread(_NOTHING), spread(np.float32(0.0))
    oldest = max(0, token - window + 1)
    # Runs of slots [low, high): the second is empty unless the window wraps.
    low_1, high_1 = oldest % capacity, token % capacity + 1
    low_2, high_2 = 0, 0
    if low_1 >= high_1:
        low_2, high_2 = 0, high_1
        high_1 = capacity
    for c in range(parts):
        q_tile, at = spread_tile(scratch, c * WIDTH), at_w
        for run in range(2):
            low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
            for slot in range(low // WIDTH * WIDTH, high, WIDTH):
                start = load(scratch, at) if c > 0 else zero
                k_at = ring + slot * head_dim + c * _TILE
                if cold:
                    fetch_tile(values, k_at)
                store(dot_rows(q_tile, keys, k_at, start), scratch, at)
                at += WIDTH
    peak, at = nothing, at_w
    for run in range(2):
        low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
        for slot in range(low // WIDTH * WIDTH, high, WIDTH):
            score = in_band(load(scratch, at), slot - low, high - low, nothing)
            peak = larger(peak, score)
            at += WIDTH
    store(peak, scratch, at)
    highest = scratch[at]
    for k in range(1, WIDTH):
        highest = max(highest, scratch[at + k])
    peak, sums, at = spread(highest), zero, at_w
    for run in range(2):
        low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
        for slot in range(low // WIDTH * WIDTH, high, WIDTH):
            weight = exp2(subtract(load(scratch, at), peak))
            weight = in_band(weight, slot - low, high - low, zero)
            sums = add(sums, weight)
            store(weight, scratch, at)
            at += WIDTH
    share = spread(np.float32(1.0) / total(sums))
    for c in range(parts):
        summed, at = zero_tile(), at_w
        for run in range(2):
            low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
            for slot in range(low // WIDTH * WIDTH, high, WIDTH):
                v_at = ring + slot * head_dim + c * _TILE
                if cold:
                    fetch_tile(keys, v_at + ring_size)
                summed = add_scaled_rows(summed, values, v_at, load(scratch, at))
                at += WIDTH
        store(multiply(sum_rows(transpose(summed)), share), out, out_at + c * WIDTH)


def _kernel(source: str) -> Any:
    def attend(
        q: Any, keys: Any, values: Any, length: Any, count: Any, out: Any,
        num_new: int, heads: int, key_heads: int, head_dim: int, num_blocks: int, capacity: int,
        window: int, scale: float, first_unit: int, end_unit: int, scratch: Any,
    ) -> None:  # fmt: skip
        _ = source
        groups, ring_size = heads // key_heads, num_blocks * WIDTH * head_dim
        factor = spread(np.float32(scale * LOG2_E))  # exponentials are taken in base 2
        zero = spread(np.float32(0.0))
        for unit in range(first_unit, end_unit):
            b, g = unit // key_heads, unit % key_heads
            for i in range(num_new):
                token = length[b] - count[b] + i
                for r in range(groups):
                    base = ((b * num_new + i) * heads + g * groups + r) * head_dim
                    if i >= count[b]:
                        for at in range(0, head_dim, WIDTH):
                            store(zero, out, base + at)
                        continue
                    for at in range(0, head_dim, WIDTH):
                        store(multiply(load(q, base + at), factor), scratch, at)
                    weigh(
                        keys, values, unit * ring_size, ring_size, token, window, capacity,
                        head_dim, i + r == 0, out, base, scratch,
                    )  # fmt: skip

    return compiled(attend)


attend = _kernel(source_of_vectors())
