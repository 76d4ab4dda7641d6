"""The CPU kernel of a block's step: each thread takes its lanes from the stream to the stream.

B lanes, n new tokens, D width, H query heads, G key heads, R = H / G, d = 16 C head width, F hidden
width. Rows are tokens, B n of them, lane after lane.

A step's matrices are small and its rings are large, so nearly all its time is reading the rings,
and what is left must not be spent on waiting: lanes have nothing to do with each other, so a thread
walks through all layers with lanes of its own, and threads meet once a step. Weights stay in the
second-level cache. They are read as they lie, sixteen by sixteen; turned once in registers, such a
tile serves all rows of a group. Every sum runs over one row in one order, so a lane comes out the
same, to the last bit, beside any others and in any thread.
"""

# What is called here are numba intrinsics, which take other arguments than their Python twins.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from adbench_kernels.cpu.compiled import compiled, source_of_vectors
from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.cpu.gelu import gelu
from adbench_kernels.cpu.lanes import (
    add,
    load,
    multiply,
    multiply_add,
    spread,
    store,
    subtract,
    total,
)
from adbench_kernels.cpu.tiles import fetch_tile, load_tile, transpose, weighted_sum
from adbench_kernels.cpu.turning import turn_in
from adbench_kernels.ring_cache import cpu as ring
from adbench_kernels.transformer_step.weights import BlockWeights

put, weigh, LOG2_E = ring.put, ring.weigh, ring.LOG2_E

GROUP_ROWS = 48
"""Rows that share a tile of weights: enough to pay for turning it, few enough for their queries and
hidden numbers to stay in the second-level cache beside the weights."""


class Sizes(NamedTuple):
    """What is equal in all blocks of a step.

    Attributes:
        num_new: n.
        width: D.
        heads: H.
        key_heads: G.
        head_dim: d.
        hidden: F.
        num_blocks: blocks of sixteen slots in a ring.
        capacity: C.
        window: W.
    """

    num_new: int
    width: int
    heads: int
    key_heads: int
    head_dim: int
    hidden: int
    num_blocks: int
    capacity: int
    window: int

    @property
    def scratch(self) -> int:
        """Float32 numbers that `block` needs for the rows of a group."""
        lanes = max(1, GROUP_ROWS // self.num_new)
        inner = self.heads * self.head_dim
        qkv = inner + 2 * self.key_heads * self.head_dim
        return lanes * self.num_new * (max(self.width, inner) + max(qkv, self.hidden))

    @property
    def work(self) -> int:
        """Float32 numbers that `block` needs for a query."""
        return ring.scratch_size(self.num_blocks, self.head_dim)


class Rings(NamedTuple):
    """A layer's keys and values, and where each lane is, all flat."""

    keys: np.ndarray
    values: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray


@numba.njit
def _copy(x: Any, x_at: int, size: int, out: Any, out_at: int) -> None:
    for at in range(0, size, WIDTH):
        store(load(x, x_at + at), out, out_at + at)


@numba.njit
def _clear(out: Any, out_at: int, size: int) -> None:
    for at in range(out_at, out_at + size, WIDTH):
        store(spread(np.float32(0.0)), out, at)


@numba.njit
def _project(
    x: Any, x_at: int, inputs: int, rows: int, matrix: Any, out: Any, out_at: int, outputs: int
) -> None:
    """Add matrix @ x to out, row by row."""
    for o in range(0, outputs, WIDTH):
        for k in range(0, inputs, WIDTH):
            tile = transpose(load_tile(matrix, o * inputs + k, inputs))
            for r in range(rows):
                at = out_at + r * outputs + o
                summed = weighted_sum(tile, x, x_at + r * inputs + k, load(out, at))
                store(summed, out, at)


@numba.njit
def _normalise(
    x: Any, x_at: int, width: int, rows: int, weight: Any, bias: Any, epsilon: float,
    out: Any, out_at: int,
) -> None:  # fmt: skip
    """Layer norm of every row; `out` may be `x`."""
    share = np.float32(1.0 / width)
    for r in range(rows):
        at, to = x_at + r * width, out_at + r * width
        sums = spread(np.float32(0.0))
        for c in range(0, width, WIDTH):
            sums = add(sums, load(x, at + c))
        mean = spread(total(sums) * share)
        squares = spread(np.float32(0.0))
        for c in range(0, width, WIDTH):
            gap = subtract(load(x, at + c), mean)
            squares = multiply_add(gap, gap, squares)
        factor = spread(np.float32(1.0 / math.sqrt(total(squares) * share + epsilon)))
        for c in range(0, width, WIDTH):
            normal = multiply(subtract(load(x, at + c), mean), factor)
            store(multiply_add(normal, load(weight, c), load(bias, c)), out, to + c)


@numba.njit
def _attend(
    qkv: Any, qkv_at: int, lane: int, turns: Any, rings: Any, scale: float, size: Any,
    out: Any, out_at: int, work: Any,
) -> None:  # fmt: skip
    """Put a lane's new tokens, rows of qkv, into its rings and attend, to rows of out."""
    length, count = rings.lengths[lane], rings.counts[lane]
    d, first_key, first_value = size.head_dim, size.heads, size.heads + size.key_heads
    row, groups = (first_value + size.key_heads) * d, size.heads // size.key_heads
    ring_size = size.num_blocks * WIDTH * d
    factor = spread(np.float32(scale * LOG2_E))  # exponentials are taken in base 2
    # Sixteen lines of memory for every vector that is put: all are asked for before one is needed.
    for g in range(size.key_heads):
        for i in range(count):
            slot = (length - count + i) % size.capacity
            at = (lane * size.key_heads + g) * ring_size + slot // WIDTH * WIDTH * d
            for part in range(0, WIDTH * d, WIDTH * WIDTH):
                fetch_tile(rings.keys, at + part)
                fetch_tile(rings.values, at + part)
    for g in range(size.key_heads):
        ring_at = (lane * size.key_heads + g) * ring_size
        for i in range(count):
            slot, at = (length - count + i) % size.capacity, qkv_at + i * row
            for c in range(d // WIDTH):
                k_at = at + (first_key + g) * d
                k = turn_in(qkv, k_at, turns, lane * size.num_new + i, d, c)
                store(k, work, c * WIDTH)
            put(work, 0, rings.keys, ring_at, slot, d)
            put(qkv, at + (first_value + g) * d, rings.values, ring_at, slot, d)
        for i in range(count):
            for r in range(groups):
                h = g * groups + r
                for c in range(d // WIDTH):
                    q_at = qkv_at + i * row + h * d
                    q = turn_in(qkv, q_at, turns, lane * size.num_new + i, d, c)
                    store(multiply(q, factor), work, c * WIDTH)
                weigh(
                    rings.keys, rings.values, ring_at, ring_size, length - count + i, size.window,
                    size.capacity, d, i + r == 0, out, out_at + (i * size.heads + h) * d, work,
                )  # fmt: skip
    # Tokens that are not real see nothing.
    _clear(out, out_at + count * size.heads * d, (size.num_new - count) * size.heads * d)


@numba.njit
def _add_network(
    x: Any, x_at: int, width: int, hidden: int, rows: int, weights: Any, out: Any, out_at: int,
    scratch: Any, scratch_at: int,
) -> None:  # fmt: skip
    """Add the two-layer network of x to out, row by row."""
    for r in range(rows):
        _copy(weights.hidden_in_bias, 0, hidden, scratch, scratch_at + r * hidden)
    _project(x, x_at, width, rows, weights.hidden_in, scratch, scratch_at, hidden)
    for at in range(scratch_at, scratch_at + rows * hidden, WIDTH):
        store(gelu(load(scratch, at)), scratch, at)
    for r in range(rows):
        for c in range(0, width, WIDTH):
            at = out_at + r * width + c
            store(add(load(out, at), load(weights.hidden_out_bias, c)), out, at)
    _project(scratch, scratch_at, hidden, rows, weights.hidden_out, out, out_at, width)


def _kernel(source: str) -> Any:
    def block(
        x: Any, of_block: Any, turns: Any, of_rings: Any, sizes: Any, scale: float,
        epsilon: float, norm_first: bool, first_lane: int, end_lane: int, scratch: Any, work: Any,
    ) -> None:  # fmt: skip
        """Take the rows x [B n, D] of some lanes through a block, in place."""
        _ = source
        # They come as plain tuples: numba's index of compiled code could not be read any more if
        # it spoke of classes that a later version has moved.
        weights, rings, size = BlockWeights(*of_block), Rings(*of_rings), Sizes(*sizes)
        width, inner = size.width, size.heads * size.head_dim
        qkv = inner + 2 * size.key_heads * size.head_dim
        at_once = max(1, GROUP_ROWS // size.num_new)
        # What a branch reads makes room for what the heads saw; queries, keys and values for what
        # the network holds.
        at_read, at_held = 0, at_once * size.num_new * max(width, inner)
        scale_1, shift_1 = weights.attention_norm, weights.attention_norm_bias
        scale_2, shift_2 = weights.hidden_norm, weights.hidden_norm_bias
        for first in range(first_lane, end_lane, at_once):
            end = min(first + at_once, end_lane)
            rows, at_x = (end - first) * size.num_new, first * size.num_new * width
            if norm_first:
                _normalise(x, at_x, width, rows, scale_1, shift_1, epsilon, scratch, at_read)
            else:
                _copy(x, at_x, rows * width, scratch, at_read)
            _clear(scratch, at_held, rows * qkv)
            _project(scratch, at_read, width, rows, weights.qkv, scratch, at_held, qkv)
            for lane in range(first, end):
                row = (lane - first) * size.num_new
                _attend(
                    scratch, at_held + row * qkv, lane, turns, rings, scale, size,
                    scratch, at_read + row * inner, work,
                )  # fmt: skip
            _project(scratch, at_read, inner, rows, weights.attention_out, x, at_x, width)
            if norm_first:
                _normalise(x, at_x, width, rows, scale_2, shift_2, epsilon, scratch, at_read)
            else:
                _normalise(x, at_x, width, rows, scale_1, shift_1, epsilon, x, at_x)
                _copy(x, at_x, rows * width, scratch, at_read)
            _add_network(
                scratch, at_read, width, size.hidden, rows, weights, x, at_x, scratch, at_held
            )
            if not norm_first:
                _normalise(x, at_x, width, rows, scale_2, shift_2, epsilon, x, at_x)

    return compiled(block)


block = _kernel(source_of_vectors(ring.__file__))
