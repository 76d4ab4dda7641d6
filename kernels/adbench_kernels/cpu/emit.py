"""Writing LLVM for vectors of sixteen float32, for numba to compile.

A vector is LLVM's <16 x float>; a tile is sixteen of them. LLVM keeps both in registers (a tile is
half of AVX-512's) and splits them where registers are narrower. `builder` is llvmlite's, `context`
numba's; `array` is a flat float32 array of numba type `kind`, `at` an index into it.
"""

# numba and llvmlite carry no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,misc"
# mypy: allow-untyped-defs, allow-subclassing-any

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import register_model

WIDTH = 16

F32, I32 = ir.FloatType(), ir.IntType(32)
VECTOR, INTEGERS = ir.VectorType(F32, WIDTH), ir.VectorType(I32, WIDTH)


class Lanes(types.Type):
    """The numba type of sixteen float32."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = Lanes()
tile = types.UniTuple(lanes, WIDTH)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


def pointer_to(context, builder, kind, array, at):
    """Where array[at] is."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


def load_vector(builder, pointer):
    """The vector at a pointer, aligned as a float is."""
    vector = builder.load(builder.bitcast(pointer, VECTOR.as_pointer()))
    vector.align = 4
    return vector


def store_vector(builder, vector, pointer):
    """Write a vector to a pointer."""
    builder.store(vector, builder.bitcast(pointer, VECTOR.as_pointer())).align = 4


def constant(value):
    """A number in all lanes."""
    return ir.Constant(VECTOR, [float(value)] * WIDTH)


def shuffle(builder, a, b, order):
    """Lanes in a new order: those of `a` count from 0, those of `b` from 16."""
    return builder.shuffle_vector(a, b, ir.Constant(INTEGERS, order))


def splat(builder, scalar, kind=VECTOR):
    """A scalar in all lanes."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return shuffle(builder, first, undefined, [0] * WIDTH)


def call(builder, name, *operands):
    """One of LLVM's own functions on vectors."""
    kind = ir.FunctionType(VECTOR, [VECTOR] * len(operands))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{WIDTH}f32")
    return builder.call(function, operands)


def unpack(builder, tile_value):
    """The sixteen vectors of a tile."""
    return [builder.extract_value(tile_value, k) for k in range(WIDTH)]


def pack(context, builder, vectors):
    """A tile of sixteen vectors."""
    packed = ir.Constant(context.get_value_type(tile), ir.Undefined)
    for k, vector in enumerate(vectors):
        packed = builder.insert_value(packed, vector, k)
    return packed


def spread_scalars(context, builder, kind, array, at):
    """The sixteen numbers at array[at], each spread over all lanes."""
    first = pointer_to(context, builder, kind, array, at)
    for k in range(WIDTH):
        yield splat(builder, builder.load(builder.gep(first, [ir.Constant(I32, k)])))


def stored_rows(context, builder, kind, array, at):
    """The sixteen vectors that lie one after the other at array[at]."""
    for k in range(WIDTH):
        here = builder.add(at, ir.Constant(at.type, k * WIDTH))
        yield load_vector(builder, pointer_to(context, builder, kind, array, here))
