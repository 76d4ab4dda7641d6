"""Tiles, sixteen vectors of sixteen float32: how the CPU kernels multiply matrices.

All functions are for use inside numba-compiled code; `array` is a flat float32 array, `at` an index
into it, `rows` a tile.
"""

# numba and llvmlite carry no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,misc"
# mypy: allow-untyped-defs

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from adbench_kernels.cpu.emit import (
    I32,
    WIDTH,
    call,
    constant,
    lanes,
    load_vector,
    pack,
    pointer_to,
    shuffle,
    spread_scalars,
    store_vector,
    stored_rows,
    tile,
    unpack,
)


@intrinsic
def load_tile(typing, array, at, stride):
    """Sixteen vectors: array[at + k * stride :][:16] for k = 0 .. 15."""

    def code(context, builder, signature, values):
        array_value, at_value, stride_value = values
        rows = []
        for _ in range(WIDTH):
            pointer = pointer_to(context, builder, signature.args[0], array_value, at_value)
            rows.append(load_vector(builder, pointer))
            at_value = builder.add(at_value, stride_value)
        return pack(context, builder, rows)

    return tile(array, types.intp, types.intp), code


@intrinsic
def store_tile(typing, rows, array, at):
    """Sixteen vectors one after the other at array[at]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value = values
        for k, row in enumerate(unpack(builder, rows_value)):
            here = builder.add(at_value, ir.Constant(at_value.type, k * WIDTH))
            store_vector(
                builder, row, pointer_to(context, builder, signature.args[1], array_value, here)
            )
        return context.get_dummy_value()

    return types.void(tile, array, types.intp), code


@intrinsic
def transpose(typing, rows):
    """Lane j of vector i becomes lane i of vector j."""

    def code(context, builder, signature, values):
        v = unpack(builder, values[0])
        for step in (1, 2, 4, 8):
            keep = [k if not k & step else WIDTH + k - step for k in range(WIDTH)]
            take = [k + step if not k & step else WIDTH + k for k in range(WIDTH)]
            for i in range(WIDTH):
                if not i & step:
                    a, b = v[i], v[i + step]
                    v[i] = shuffle(builder, a, b, keep)
                    v[i + step] = shuffle(builder, a, b, take)
        return pack(context, builder, v)

    return tile(tile), code


@intrinsic
def weighted_sum(typing, rows, array, at, start):
    """start + sum over k of rows[k] * array[at + k]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, start_value = values
        weights = spread_scalars(context, builder, signature.args[1], array_value, at_value)
        # Two chains of additions, because each waits for the one before it.
        chains = [start_value, None]
        for k, (row, weight) in enumerate(zip(unpack(builder, rows_value), weights, strict=True)):
            before = chains[k % 2]
            chains[k % 2] = (
                builder.fmul(row, weight)
                if before is None
                else call(builder, "fma", row, weight, before)
            )
        return builder.fadd(*chains)

    return lanes(tile, array, types.intp, lanes), code


@intrinsic
def add_outer(typing, rows, array, at, vector):
    """rows[k] + array[at + k] * vector for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, vector_value = values
        weights = spread_scalars(context, builder, signature.args[1], array_value, at_value)
        both = zip(unpack(builder, rows_value), weights, strict=True)
        return pack(
            context, builder, [call(builder, "fma", w, vector_value, row) for row, w in both]
        )

    return tile(tile, array, types.intp, lanes), code


@intrinsic
def scale_rows(typing, rows, array, at):
    """rows[k] * array[at + k] for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value = values
        weights = spread_scalars(context, builder, signature.args[1], array_value, at_value)
        both = zip(unpack(builder, rows_value), weights, strict=True)
        return pack(context, builder, [builder.fmul(row, weight) for row, weight in both])

    return tile(tile, array, types.intp), code


@intrinsic
def spread_tile(typing, array, at):
    """Sixteen vectors: the k-th is array[at + k] in all lanes."""

    def code(context, builder, signature, values):
        vectors = spread_scalars(context, builder, signature.args[0], *values)
        return pack(context, builder, list(vectors))

    return tile(array, types.intp), code


@intrinsic
def dot_rows(typing, rows, array, at, start):
    """start + sum over k of rows[k] * array[at + 16 k :][:16]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, start_value = values
        stored = stored_rows(context, builder, signature.args[1], array_value, at_value)
        chains = [start_value, None]
        for k, (row, other) in enumerate(zip(unpack(builder, rows_value), stored, strict=True)):
            before = chains[k % 2]
            chains[k % 2] = (
                builder.fmul(row, other)
                if before is None
                else call(builder, "fma", row, other, before)
            )
        return builder.fadd(*chains)

    return lanes(tile, array, types.intp, lanes), code


@intrinsic
def add_scaled_rows(typing, rows, array, at, vector):
    """rows[k] + vector * array[at + 16 k :][:16] for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, vector_value = values
        stored = stored_rows(context, builder, signature.args[1], array_value, at_value)
        both = zip(unpack(builder, rows_value), stored, strict=True)
        return pack(
            context, builder, [call(builder, "fma", vector_value, s, row) for row, s in both]
        )

    return tile(tile, array, types.intp, lanes), code


@intrinsic
def fetch_tile(typing, array, at):
    """Ask for array[at : at + 256] to come into the second-level cache; any `at` does no harm."""

    def code(context, builder, signature, values):
        address = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [address, I32, I32, I32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        array_value, at_value = values
        # To be read; into the second level (2); data, not code.
        how = [ir.Constant(I32, number) for number in (0, 2, 1)]
        for k in range(WIDTH):
            here = builder.add(at_value, ir.Constant(at_value.type, k * WIDTH))
            pointer = pointer_to(context, builder, signature.args[0], array_value, here)
            builder.call(ask, [builder.bitcast(pointer, address), *how])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def zero_tile(typing):
    """Sixteen vectors of zeros."""

    def code(context, builder, signature, values):
        return pack(context, builder, [constant(0.0)] * WIDTH)

    return tile(), code


@intrinsic
def sum_rows(typing, rows):
    """Sum of the sixteen vectors."""

    def code(context, builder, signature, values):
        vectors = unpack(builder, values[0])
        while len(vectors) > 1:
            halves = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [builder.fadd(a, b) for a, b in halves]
        return vectors[0]

    return lanes(tile), code
