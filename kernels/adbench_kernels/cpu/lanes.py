"""Sixteen float32 side by side: what the CPU kernels are written in.

Numba compiles scalar loops and leaves it to luck whether they become vector instructions. Here a
vector is a type. All functions are for use inside numba-compiled code; `array` is a flat float32
array, `at` an index into it.
"""

# numba and llvmlite carry no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,misc"
# mypy: allow-untyped-defs, allow-subclassing-any

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

from adbench_kernels.cpu.emit import (
    I32,
    INTEGERS,
    VECTOR,
    WIDTH,
    call,
    constant,
    lanes,
    load_vector,
    pointer_to,
    shuffle,
    splat,
    store_vector,
)


@intrinsic
def load(typing, array, at):
    """array[at : at + 16]."""

    def code(context, builder, signature, values):
        return load_vector(builder, pointer_to(context, builder, signature.args[0], *values))

    return lanes(array, types.intp), code


@intrinsic
def store(typing, vector, array, at):
    """array[at : at + 16] = vector."""

    def code(context, builder, signature, values):
        store_vector(
            builder, values[0], pointer_to(context, builder, signature.args[1], *values[1:])
        )
        return context.get_dummy_value()

    return types.void(lanes, array, types.intp), code


@intrinsic
def spread(typing, number):
    """One number in all lanes."""

    def code(context, builder, signature, values):
        return splat(builder, values[0])

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
        return call(builder, "fma", *values)

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
            moved = shuffle(builder, x, x, [(k + step) % WIDTH for k in range(WIDTH)])
            x = builder.fadd(x, moved)
        return builder.extract_element(x, ir.Constant(I32, 0))

    return types.float32(lanes), code


@intrinsic
def swap_pairs(typing, a):
    """Neighbours change places: lanes 1, 0, 3, 2, ..."""

    def code(context, builder, signature, values):
        return shuffle(builder, values[0], values[0], [k ^ 1 for k in range(WIDTH)])

    return lanes(lanes), code


@intrinsic
def in_band(typing, vector, gap, width, other):
    """Lane k keeps its number where 0 <= gap + k < width, else it takes that of `other`."""

    def code(context, builder, signature, values):
        vector, gap, width, other = values
        first = splat(builder, builder.trunc(gap, I32), INTEGERS)
        gaps = builder.add(first, ir.Constant(INTEGERS, list(range(WIDTH))))
        limit = splat(builder, builder.trunc(width, I32), INTEGERS)
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
    """2 ** a for a <= 127; below -126 it stays at 2 ** -126; NaN stays NaN."""
    highest, *rest = _exp2_coefficients()

    def code(context, builder, signature, values):
        (x,) = values
        lowest = constant(-126.0)
        # Asked this way round NaN stays NaN: it is not below anything.
        x = builder.select(builder.fcmp_ordered("<", x, lowest), lowest, x)
        whole = call(builder, "rint", x)
        part = builder.fsub(x, whole)
        power = constant(highest)
        for coefficient in rest:
            power = call(builder, "fma", power, part, constant(coefficient))
        # Adding to a float's exponent field multiplies it by a power of two.
        exponent = builder.shl(builder.fptosi(whole, INTEGERS), ir.Constant(INTEGERS, [23] * 16))
        return builder.bitcast(builder.add(builder.bitcast(power, INTEGERS), exponent), VECTOR)

    return lanes(lanes), code
