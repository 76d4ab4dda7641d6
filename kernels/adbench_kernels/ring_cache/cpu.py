"""The CPU kernel of the ring: one pass over the slots that a query sees, and no others.

B lanes, n new tokens, H query heads, G key heads, R = H / G, D = 16 C head width. Work is split
into B * G units, each a key head of a lane, so the outcome does not depend on how many threads
share the units.

The tokens that a query sees lie in one run of slots, or in two where the ring has wrapped. Sixteen
slots at a time: their scores are a row of sixteen lanes, because keys are stored slot by slot along
memory; values, stored by slot, are then summed with those weights as scalars.
"""

# What is called here are numba intrinsics, which take other arguments than their Python twins.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np

from adbench_kernels.rotary_attention import lanes
from adbench_kernels.rotary_attention.lanes import (
    WIDTH,
    add,
    exp2,
    in_band,
    larger,
    load,
    load_tile,
    multiply,
    spread,
    store,
    subtract,
    total,
    weighted_sum,
)

LOG2_E = math.log2(math.e)
_NOTHING = np.float32(-1e30)  # a score that no real one falls below; -inf - -inf would be NaN


def scratch_size(num_slots: int, head_dim: int) -> int:
    """Float32 numbers that `attend` needs to work in."""
    return head_dim + num_slots + 3 * WIDTH


def _compiled(function: Callable[..., None]) -> Any:
    """Compile at first use; keep the machine code on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba's "no locator available": nothing here can be written
        return numba.njit(nogil=True)(function)


# Numba's cache knows when this file changes, not when `lanes` does. What a function closes over is
# part of its key, so the kernel holds the text of that file.
def _kernel(source_of_lanes: str) -> Any:
    def attend(
        q: Any, keys: Any, values: Any, length: Any, count: Any, out: Any,
        num_new: int, heads: int, key_heads: int, head_dim: int, num_slots: int, capacity: int,
        window: int, scale: float, first_unit: int, end_unit: int, scratch: Any,
    ) -> None:  # fmt: skip
        _ = source_of_lanes
        parts, groups = head_dim // WIDTH, heads // key_heads
        at_w = head_dim  # weights of the blocks that are visited, one after the other
        at_peak = at_w + num_slots + WIDTH
        factor = spread(np.float32(scale * LOG2_E))  # exponentials are taken in base 2
        nothing, zero = spread(_NOTHING), spread(np.float32(0.0))
        for unit in range(first_unit, end_unit):
            b, g = unit // key_heads, unit % key_heads
            ring = unit * num_slots * head_dim
            for i in range(num_new):
                token = length[b] - count[b] + i
                oldest = max(0, token - window + 1)
                # Runs of slots [low, high): the second is empty unless the window wraps.
                low_1, high_1 = oldest % capacity, token % capacity + 1
                low_2, high_2 = 0, 0
                if low_1 >= high_1:
                    low_2, high_2 = 0, high_1
                    high_1 = capacity
                for r in range(groups):
                    base = ((b * num_new + i) * heads + g * groups + r) * head_dim
                    if i >= count[b]:
                        for c in range(parts):
                            store(zero, out, base + c * WIDTH)
                        continue
                    for c in range(parts):
                        at = c * WIDTH
                        store(multiply(load(q, base + at), factor), scratch, at)
                    peak, at = nothing, at_w
                    for run in range(2):
                        low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
                        for slot in range(low // WIDTH * WIDTH, high, WIDTH):
                            score = zero
                            for c in range(parts):
                                k_at = ring + c * WIDTH * num_slots + slot
                                tile = load_tile(keys, k_at, num_slots)
                                score = weighted_sum(tile, scratch, c * WIDTH, score)
                            score = in_band(score, slot - low, high - low, nothing)
                            peak = larger(peak, score)
                            store(score, scratch, at)
                            at += WIDTH
                    store(peak, scratch, at_peak)
                    highest = scratch[at_peak]
                    for k in range(1, WIDTH):
                        highest = max(highest, scratch[at_peak + k])
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
                        summed, at = zero, at_w
                        for run in range(2):
                            low, high = (low_1, high_1) if run == 0 else (low_2, high_2)
                            for slot in range(low // WIDTH * WIDTH, high, WIDTH):
                                v_at = ring + slot * head_dim + c * WIDTH
                                tile = load_tile(values, v_at, head_dim)
                                summed = weighted_sum(tile, scratch, at, summed)
                                at += WIDTH
                        store(multiply(summed, share), out, base + c * WIDTH)

    return _compiled(attend)


attend = _kernel(Path(lanes.__file__).read_text())
