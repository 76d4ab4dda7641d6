"""Sixteen float32 side by side: what the CPU kernels are written in.

Numba compiles scalar loops and leaves it to luck whether they become vector instructions. Here a
vector is a type: `Lanes` is LLVM's <16 x float>, `Tile` sixteen of them. LLVM keeps both in
registers (a Tile is half of AVX-512's) and splits them where registers are narrower. All functions
are for use inside numba-compiled code; `array` is a flat float32 array, `at` an index into it.
"""

# numba and llvmlite carry no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,misc"
# mypy: allow-untyped-defs, allow-subclassing-any

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model
from numpy.polynomial import Chebyshev, Polynomial

WIDTH = 16

_F32, _I32 = ir.FloatType(), ir.IntType(32)
_VECTOR, _INTEGERS = ir.VectorType(_F32, WIDTH), ir.VectorType(_I32, WIDTH)


class Lanes(types.Type):
    """The numba type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = Lanes()
tile = types.UniTuple(lanes, WIDTH)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _pointer(context, builder, kind, array, at):
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def _load(builder, pointer):
    vector = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()))
    vector.align = 4
    return vector


def _store(builder, vector, pointer):
    builder.store(vector, builder.bitcast(pointer, _VECTOR.as_pointer())).align = 4


def _constant(value):
    return ir.Constant(_VECTOR, [float(value)] * WIDTH)


def _shuffle(builder, a, b, order):
    return builder.shuffle_vector(a, b, ir.Constant(_INTEGERS, order))


def _splat(builder, scalar, kind=_VECTOR):
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return _shuffle(builder, first, undefined, [0] * WIDTH)


def _call(builder, name, *operands):
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(operands))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f32")
    return builder.call(function, operands)


def _unpack(builder, tile_value):
    return [builder.extract_value(tile_value, k) for k in range(WIDTH)]


def _pack(context, builder, vectors):
    packed = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for k, vector in enumerate(vectors):
        packed = builder.insert_value(packed, vector, k)
    return packed


def _scalars(context, builder, kind, array, at):
    """The sixteen numbers at array[at], each spread over all lanes."""
    first = _pointer(context, builder, kind, array, at)
    for k in range(WIDTH):
        yield _splat(builder, builder.load(builder.gep(first, [ir.Constant(_I32, k)])))


@intrinsic
def load(typing, array, at):
    """array[at : at + 16]."""

    def code(context, builder, signature, values):
        return _load(builder, _pointer(context, builder, signature.args[0], *values))

    return lanes(array, types.intp), code


@intrinsic
def store(typing, vector, array, at):
    """array[at : at + 16] = vector."""

    def code(context, builder, signature, values):
        _store(builder, values[0], _pointer(context, builder, signature.args[1], *values[1:]))
        return context.get_dummy_value()

    return types.void(lanes, array, types.intp), code


@intrinsic
def spread(typing, number):
    """One number in all lanes."""

    def code(context, builder, signature, values):
        return _splat(builder, values[0])

    return lanes(types.float32), code


def _binary(instruction: str, meaning: str) -> Any:
    def operation(typing, a, b):
        def code(context, builder, signature, values):
            return getattr(builder, instruction)(*values)

        return lanes(lanes, lanes), code

    operation.__doc__ = meaning
    return intrinsic(operation)


add = _binary("fadd", "a + b.")
subtract = _binary("fsub", "a - b.")
multiply = _binary("fmul", "a * b.")
divide = _binary("fdiv", "a / b.")


@intrinsic
def multiply_add(typing, a, b, c):
    """a * b + c, rounded once."""

    def code(context, builder, signature, values):
        return _call(builder, "fma", *values)

    return lanes(lanes, lanes, lanes), code


@intrinsic
def larger(typing, a, b):
    """The larger of each lane."""

    def code(context, builder, signature, values):
        return builder.select(builder.fcmp_ordered(">", *values), *values)

    return lanes(lanes, lanes), code


@intrinsic
def total(typing, a):
    """Sum over the lanes, float32."""

    def code(context, builder, signature, values):
        (x,) = values
        for step in (8, 4, 2, 1):
            moved = _shuffle(builder, x, x, [(k + step) % WIDTH for k in range(WIDTH)])
            x = builder.fadd(x, moved)
        return builder.extract_element(x, ir.Constant(_I32, 0))

    return types.float32(lanes), code


@intrinsic
def swap_pairs(typing, a):
    """Neighbours change places: lanes 1, 0, 3, 2, ..."""

    def code(context, builder, signature, values):
        return _shuffle(builder, values[0], values[0], [k ^ 1 for k in range(WIDTH)])

    return lanes(lanes), code


@intrinsic
def in_band(typing, vector, gap, width, other):
    """Lane k keeps its number where 0 <= gap + k < width, else it takes that of `other`."""

    def code(context, builder, signature, values):
        vector, gap, width, other = values
        first = _splat(builder, builder.trunc(gap, _I32), _INTEGERS)
        gaps = builder.add(first, ir.Constant(_INTEGERS, list(range(WIDTH))))
        limit = _splat(builder, builder.trunc(width, _I32), _INTEGERS)
        # Unsigned, a negative gap is a huge one: one comparison does both bounds.
        return builder.select(builder.icmp_unsigned("<", gaps, limit), vector, other)

    return lanes(lanes, types.intp, types.intp, lanes), code


def _exp2_coefficients() -> list[float]:
    """Of 2**x on [-1/2, 1/2], highest power first; relative error 2e-8, below float32's 6e-8."""
    nodes = np.cos(np.pi * (np.arange(400) + 0.5) / 400) / 2
    fit = Chebyshev.fit(nodes, 2.0**nodes, 6, domain=[-0.5, 0.5])
    return [float(c) for c in fit.convert(kind=Polynomial).coef[::-1]]


@intrinsic
def exp2(typing, a):
    """2 ** a for a <= 127; below -126 it stays at 2 ** -126."""
    highest, *rest = _exp2_coefficients()

    def code(context, builder, signature, values):
        (x,) = values
        lowest = _constant(-126.0)
        x = builder.select(builder.fcmp_ordered(">", x, lowest), x, lowest)
        whole = _call(builder, "rint", x)
        part = builder.fsub(x, whole)
        power = _constant(highest)
        for coefficient in rest:
            power = _call(builder, "fma", power, part, _constant(coefficient))
        # Adding to a float's exponent field multiplies it by a power of two.
        exponent = builder.shl(builder.fptosi(whole, _INTEGERS), ir.Constant(_INTEGERS, [23] * 16))
        return builder.bitcast(builder.add(builder.bitcast(power, _INTEGERS), exponent), _VECTOR)

    return lanes(lanes), code


@intrinsic
def load_tile(typing, array, at, stride):
    """Sixteen vectors: array[at + k * stride :][:16] for k = 0 .. 15."""

    def code(context, builder, signature, values):
        array_value, at_value, stride_value = values
        rows = []
        for _ in range(WIDTH):
            pointer = _pointer(context, builder, signature.args[0], array_value, at_value)
            rows.append(_load(builder, pointer))
            at_value = builder.add(at_value, stride_value)
        return _pack(context, builder, rows)

    return tile(array, types.intp, types.intp), code


@intrinsic
def store_tile(typing, rows, array, at):
    """Sixteen vectors one after the other at array[at]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value = values
        for k, row in enumerate(_unpack(builder, rows_value)):
            here = builder.add(at_value, ir.Constant(at_value.type, k * WIDTH))
            _store(builder, row, _pointer(context, builder, signature.args[1], array_value, here))
        return context.get_dummy_value()

    return types.void(tile, array, types.intp), code


@intrinsic
def transpose(typing, rows):
    """Lane j of vector i becomes lane i of vector j."""

    def code(context, builder, signature, values):
        v = _unpack(builder, values[0])
        for step in (1, 2, 4, 8):
            keep = [k if not k & step else WIDTH + k - step for k in range(WIDTH)]
            take = [k + step if not k & step else WIDTH + k for k in range(WIDTH)]
            for i in range(WIDTH):
                if not i & step:
                    a, b = v[i], v[i + step]
                    v[i] = _shuffle(builder, a, b, keep)
                    v[i + step] = _shuffle(builder, a, b, take)
        return _pack(context, builder, v)

    return tile(tile), code


@intrinsic
def weighted_sum(typing, rows, array, at, start):
    """start + sum over k of rows[k] * array[at + k]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, start_value = values
        weights = _scalars(context, builder, signature.args[1], array_value, at_value)
        # Two chains of additions, because each waits for the one before it.
        chains = [start_value, None]
        for k, (row, weight) in enumerate(zip(_unpack(builder, rows_value), weights, strict=True)):
            before = chains[k % 2]
            chains[k % 2] = (
                builder.fmul(row, weight)
                if before is None
                else _call(builder, "fma", row, weight, before)
            )
        return builder.fadd(*chains)

    return lanes(tile, array, types.intp, lanes), code


@intrinsic
def add_outer(typing, rows, array, at, vector):
    """rows[k] + array[at + k] * vector for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, vector_value = values
        weights = _scalars(context, builder, signature.args[1], array_value, at_value)
        both = zip(_unpack(builder, rows_value), weights, strict=True)
        return _pack(
            context, builder, [_call(builder, "fma", w, vector_value, row) for row, w in both]
        )

    return tile(tile, array, types.intp, lanes), code


@intrinsic
def scale_rows(typing, rows, array, at):
    """rows[k] * array[at + k] for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value = values
        weights = _scalars(context, builder, signature.args[1], array_value, at_value)
        both = zip(_unpack(builder, rows_value), weights, strict=True)
        return _pack(context, builder, [builder.fmul(row, weight) for row, weight in both])

    return tile(tile, array, types.intp), code


@intrinsic
def spread_tile(typing, array, at):
    """Sixteen vectors: the k-th is array[at + k] in all lanes."""

    def code(context, builder, signature, values):
        vectors = _scalars(context, builder, signature.args[0], *values)
        return _pack(context, builder, list(vectors))

    return tile(array, types.intp), code


def _stored_rows(context, builder, kind, array, at):
    """The sixteen vectors that lie one after the other at array[at]."""
    for k in range(WIDTH):
        here = builder.add(at, ir.Constant(at.type, k * WIDTH))
        yield _load(builder, _pointer(context, builder, kind, array, here))


@intrinsic
def dot_rows(typing, rows, array, at, start):
    """start + sum over k of rows[k] * array[at + 16 k :][:16]."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, start_value = values
        stored = _stored_rows(context, builder, signature.args[1], array_value, at_value)
        chains = [start_value, None]
        for k, (row, other) in enumerate(zip(_unpack(builder, rows_value), stored, strict=True)):
            before = chains[k % 2]
            chains[k % 2] = (
                builder.fmul(row, other)
                if before is None
                else _call(builder, "fma", row, other, before)
            )
        return builder.fadd(*chains)

    return lanes(tile, array, types.intp, lanes), code


@intrinsic
def add_scaled_rows(typing, rows, array, at, vector):
    """rows[k] + vector * array[at + 16 k :][:16] for every k."""

    def code(context, builder, signature, values):
        rows_value, array_value, at_value, vector_value = values
        stored = _stored_rows(context, builder, signature.args[1], array_value, at_value)
        both = zip(_unpack(builder, rows_value), stored, strict=True)
        return _pack(
            context, builder, [_call(builder, "fma", vector_value, s, row) for row, s in both]
        )

    return tile(tile, array, types.intp, lanes), code


@intrinsic
def zero_tile(typing):
    """Sixteen vectors of zeros."""

    def code(context, builder, signature, values):
        return _pack(context, builder, [_constant(0.0)] * WIDTH)

    return tile(), code


@intrinsic
def sum_rows(typing, rows):
    """Sum of the sixteen vectors."""

    def code(context, builder, signature, values):
        vectors = _unpack(builder, values[0])
        while len(vectors) > 1:
            halves = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [builder.fadd(a, b) for a, b in halves]
        return vectors[0]

    return lanes(tile), code
