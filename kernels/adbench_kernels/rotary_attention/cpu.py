"""The CPU kernel: banded attention of packed queries, keys and values, turned on the way in.

B rows, T tokens, H heads, D = 16 C head width. Work is split into B * H units, each a head of a row
that no other unit touches, so the outcome does not depend on how many threads share the units.

A unit walks its queries sixteen at a time. Their scores against a run of keys are a row of sixteen
lanes a key, `weights[key][query]`: maxima, sums and exponentials over keys need no shuffling. Sums
over keys or queries then take those weights as scalars and vectors of D as lanes. Each pair of
query and key costs C fused multiply-adds of sixteen lanes for every matrix product that the
mathematics needs (2 forward, 5 backward), which run at the machine's peak; keys and values of a
unit stay in its second-level cache, scores in the first.
"""

# What is called here are numba intrinsics, which take other arguments than their Python twins.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from adbench_kernels.cpu.compiled import compiled, source_of_vectors
from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.cpu.lanes import (
    add,
    divide,
    exp2,
    in_band,
    larger,
    load,
    multiply,
    multiply_add,
    spread,
    store,
    subtract,
    total,
)
from adbench_kernels.cpu.tiles import (
    add_outer,
    load_tile,
    scale_rows,
    store_tile,
    transpose,
    weighted_sum,
)
from adbench_kernels.cpu.turning import turn_back, turn_in

KEYS = 64
"""Keys in a run: their weights (4 KB), keys and values stay in the first-level cache."""

LOG2_E = math.log2(math.e)
_TILE = WIDTH * WIDTH
_NOTHING = np.float32(-1e30)  # a score that no real one falls below; -inf - -inf would be NaN


def forward_scratch(length: int, head_dim: int) -> int:
    """Float32 numbers that `forward` needs to work in."""
    return 2 * length * head_dim + 2 * head_dim * WIDTH + KEYS * WIDTH + WIDTH


def backward_scratch(length: int, head_dim: int) -> int:
    """Float32 numbers that `backward` needs to work in."""
    return 4 * length * head_dim + 3 * head_dim * WIDTH + 2 * KEYS * WIDTH + 2 * WIDTH


def _kernels(source: str) -> tuple[Any, Any]:
    def forward(
        qkv: Any, turns: Any, out: Any, lse: Any,
        length: int, heads: int, head_dim: int, window: int, scale: float,
        first_unit: int, end_unit: int, scratch: Any,
    ) -> None:  # fmt: skip
        _ = source
        parts, row, out_row = head_dim // WIDTH, 3 * heads * head_dim, heads * head_dim
        ends = parts - 1  # the last part, where a score is whole
        at_k = 0
        at_v = at_k + length * head_dim
        at_q = at_v + length * head_dim  # a transposed tile for each part
        at_o = at_q + head_dim * WIDTH  # a tile for each part
        at_w = at_o + head_dim * WIDTH
        at_s = at_w + KEYS * WIDTH
        factor = spread(np.float32(scale * LOG2_E))  # exponentials are taken in base 2
        nothing, zero, one = spread(_NOTHING), spread(np.float32(0.0)), spread(np.float32(1.0))
        for unit in range(first_unit, end_unit):
            b, h = unit // heads, unit % heads
            base = b * length * row + h * head_dim
            for t in range(length):
                for c in range(parts):
                    k = turn_in(qkv, base + t * row + out_row, turns, t, head_dim, c)
                    store(k, scratch, at_k + t * head_dim + c * WIDTH)
                    v = load(qkv, base + t * row + 2 * out_row + c * WIDTH)
                    store(v, scratch, at_v + t * head_dim + c * WIDTH)
            for first in range(0, length, WIDTH):
                num = min(WIDTH, length - first)
                for c in range(parts):
                    for i in range(WIDTH):
                        t = min(first + i, length - 1)
                        q = turn_in(qkv, base + t * row, turns, t, head_dim, c)
                        store(multiply(q, factor), scratch, at_w + i * WIDTH)
                    tile = transpose(load_tile(scratch, at_w, WIDTH))
                    store_tile(tile, scratch, at_q + c * _TILE)
                    for i in range(WIDTH):
                        store(zero, scratch, at_o + c * _TILE + i * WIDTH)
                peak, sums = nothing, zero
                begin, last = max(0, first - window + 1), first + num
                while begin < last:
                    end = min(begin + KEYS, last)
                    edge = end - 1 > first or begin <= first + WIDTH - 1 - window
                    for c in range(parts - 1):
                        tile = load_tile(scratch, at_q + c * _TILE, WIDTH)
                        for j in range(begin, end):
                            at = at_w + (j - begin) * WIDTH
                            start = load(scratch, at) if c > 0 else zero
                            k_at = at_k + j * head_dim + c * WIDTH
                            store(weighted_sum(tile, scratch, k_at, start), scratch, at)
                    new_peak = peak
                    tile = load_tile(scratch, at_q + ends * _TILE, WIDTH)
                    for j in range(begin, end):
                        at = at_w + (j - begin) * WIDTH
                        start = load(scratch, at) if ends > 0 else zero
                        score = weighted_sum(
                            tile, scratch, at_k + j * head_dim + ends * WIDTH, start
                        )
                        if edge:
                            score = in_band(score, first - j, window, nothing)
                        store(score, scratch, at)
                        new_peak = larger(new_peak, score)
                    shrink = exp2(subtract(peak, new_peak))
                    peak, sums = new_peak, multiply(sums, shrink)
                    for j in range(begin, end):
                        at = at_w + (j - begin) * WIDTH
                        weight = exp2(subtract(load(scratch, at), peak))
                        if edge:
                            weight = in_band(weight, first - j, window, zero)
                        store(weight, scratch, at)
                        sums = add(sums, weight)
                    store(shrink, scratch, at_s)
                    for c in range(parts):
                        tile = load_tile(scratch, at_o + c * _TILE, WIDTH)
                        tile = scale_rows(tile, scratch, at_s)
                        for j in range(begin, end):
                            v = load(scratch, at_v + j * head_dim + c * WIDTH)
                            tile = add_outer(tile, scratch, at_w + (j - begin) * WIDTH, v)
                        store_tile(tile, scratch, at_o + c * _TILE)
                    begin = end
                share = divide(one, sums)
                store(share, scratch, at_s)
                for c in range(parts):
                    tile = load_tile(scratch, at_o + c * _TILE, WIDTH)
                    store_tile(scale_rows(tile, scratch, at_s), scratch, at_o + c * _TILE)
                    for i in range(num):
                        at = (b * length + first + i) * out_row + h * head_dim + c * WIDTH
                        store(load(scratch, at_o + c * _TILE + i * WIDTH), out, at)
                store(sums, scratch, at_s)
                store(peak, scratch, at_w)
                for i in range(num):
                    base_2 = scratch[at_w + i] + np.float32(math.log2(scratch[at_s + i]))
                    lse[unit * length + first + i] = base_2

    def backward(
        qkv: Any, turns: Any, out: Any, lse: Any, grad_out: Any, grad_qkv: Any,
        length: int, heads: int, head_dim: int, window: int, scale: float,
        first_unit: int, end_unit: int, scratch: Any,
    ) -> None:  # fmt: skip
        _ = source
        parts, row, out_row = head_dim // WIDTH, 3 * heads * head_dim, heads * head_dim
        ends = parts - 1  # the last part, where a score is whole
        at_k = 0
        at_v = at_k + length * head_dim
        at_dk = at_v + length * head_dim
        at_dv = at_dk + length * head_dim
        at_q = at_dv + length * head_dim  # [C][16][16]
        at_g = at_q + head_dim * WIDTH
        at_dq = at_g + head_dim * WIDTH
        at_w = at_dq + head_dim * WIDTH
        at_ds = at_w + KEYS * WIDTH
        at_s = at_ds + KEYS * WIDTH
        factor, zero = spread(np.float32(scale * LOG2_E)), spread(np.float32(0.0))
        # dq lacks the scale; dk was summed over queries that carry scale * log2(e).
        for_dq, for_dk = spread(np.float32(scale)), spread(np.float32(1.0 / LOG2_E))
        for unit in range(first_unit, end_unit):
            b, h = unit // heads, unit % heads
            base = b * length * row + h * head_dim
            for t in range(length):
                for c in range(parts):
                    at = t * head_dim + c * WIDTH
                    k = turn_in(qkv, base + t * row + out_row, turns, t, head_dim, c)
                    store(k, scratch, at_k + at)
                    v = load(qkv, base + t * row + 2 * out_row + c * WIDTH)
                    store(v, scratch, at_v + at)
                    store(zero, scratch, at_dk + at)
                    store(zero, scratch, at_dv + at)
            for first in range(0, length, WIDTH):
                num = min(WIDTH, length - first)
                for i in range(WIDTH):
                    t = min(first + i, length - 1)
                    at = (b * length + t) * out_row + h * head_dim
                    dot = zero
                    for c in range(parts):
                        q = turn_in(qkv, base + t * row, turns, t, head_dim, c)
                        g = load(grad_out, at + c * WIDTH) if i < num else zero
                        dot = multiply_add(g, load(out, at + c * WIDTH), dot)
                        tile_at = c * _TILE + i * WIDTH
                        store(multiply(q, factor), scratch, at_q + tile_at)
                        store(g, scratch, at_g + tile_at)
                        store(zero, scratch, at_dq + tile_at)
                    scratch[at_s + i] = lse[unit * length + t]
                    scratch[at_s + WIDTH + i] = total(dot)
                log_sum, delta = load(scratch, at_s), load(scratch, at_s + WIDTH)
                begin, last = max(0, first - window + 1), first + num
                while begin < last:
                    end = min(begin + KEYS, last)
                    edge = end - 1 > first or begin <= first + WIDTH - 1 - window
                    for c in range(parts - 1):
                        q_tile = transpose(load_tile(scratch, at_q + c * _TILE, WIDTH))
                        for j in range(begin, end):
                            at = at_w + (j - begin) * WIDTH
                            start = load(scratch, at) if c > 0 else zero
                            k_at = at_k + j * head_dim + c * WIDTH
                            store(weighted_sum(q_tile, scratch, k_at, start), scratch, at)
                        g_tile = transpose(load_tile(scratch, at_g + c * _TILE, WIDTH))
                        for j in range(begin, end):
                            at = at_ds + (j - begin) * WIDTH
                            start = load(scratch, at) if c > 0 else zero
                            v_at = at_v + j * head_dim + c * WIDTH
                            store(weighted_sum(g_tile, scratch, v_at, start), scratch, at)
                    q_tile = transpose(load_tile(scratch, at_q + ends * _TILE, WIDTH))
                    for j in range(begin, end):
                        at = at_w + (j - begin) * WIDTH
                        start = load(scratch, at) if ends > 0 else zero
                        k_at = at_k + j * head_dim + ends * WIDTH
                        score = weighted_sum(q_tile, scratch, k_at, start)
                        weight = exp2(subtract(score, log_sum))
                        if edge:
                            weight = in_band(weight, first - j, window, zero)
                        store(weight, scratch, at)
                    g_tile = transpose(load_tile(scratch, at_g + ends * _TILE, WIDTH))
                    for j in range(begin, end):
                        at = (j - begin) * WIDTH
                        start = load(scratch, at_ds + at) if ends > 0 else zero
                        v_at = at_v + j * head_dim + ends * WIDTH
                        slope = subtract(weighted_sum(g_tile, scratch, v_at, start), delta)
                        store(multiply(load(scratch, at_w + at), slope), scratch, at_ds + at)
                    for c in range(parts):
                        g_rows = load_tile(scratch, at_g + c * _TILE, WIDTH)
                        for j in range(begin, end):
                            at = at_dv + j * head_dim + c * WIDTH
                            w_at = at_w + (j - begin) * WIDTH
                            dv = weighted_sum(g_rows, scratch, w_at, load(scratch, at))
                            store(dv, scratch, at)
                        q_rows = load_tile(scratch, at_q + c * _TILE, WIDTH)
                        for j in range(begin, end):
                            at = at_dk + j * head_dim + c * WIDTH
                            ds_at = at_ds + (j - begin) * WIDTH
                            dk = weighted_sum(q_rows, scratch, ds_at, load(scratch, at))
                            store(dk, scratch, at)
                        dq_rows = load_tile(scratch, at_dq + c * _TILE, WIDTH)
                        for j in range(begin, end):
                            k = load(scratch, at_k + j * head_dim + c * WIDTH)
                            dq_rows = add_outer(dq_rows, scratch, at_ds + (j - begin) * WIDTH, k)
                        store_tile(dq_rows, scratch, at_dq + c * _TILE)
                    begin = end
                for c in range(parts):
                    for i in range(num):
                        t = first + i
                        dq = load(scratch, at_dq + c * _TILE + i * WIDTH)
                        dq = turn_back(multiply(dq, for_dq), turns, t, head_dim, c)
                        store(dq, grad_qkv, base + t * row + c * WIDTH)
            for t in range(length):
                for c in range(parts):
                    at, to = t * head_dim + c * WIDTH, base + t * row + out_row + c * WIDTH
                    dk = multiply(load(scratch, at_dk + at), for_dk)
                    store(turn_back(dk, turns, t, head_dim, c), grad_qkv, to)
                    store(load(scratch, at_dv + at), grad_qkv, to + out_row)

    return compiled(forward), compiled(backward)


forward, backward = _kernels(source_of_vectors())
