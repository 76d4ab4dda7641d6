"""Sixteen rows of a column at a time: who is nearest there.

Numba leaves such a loop of some twenty rows in scalars; here a run of rows is a vector, and the
ends of an interval are a mask.
"""

# numba and llvmlite carry no types.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,misc"
# mypy: allow-untyped-defs

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from adbench_kernels.cpu.emit import (
    I32,
    INTEGERS,
    WIDTH,
    load_vector,
    pointer_to,
    splat,
    store_vector,
)


@intrinsic
def keep_nearer(typing, nearness, seen, above, at, begin, end, constant, factor, number):
    """Let `number` be seen in those of rows at .. at + 15 in which it is nearer than what is there.

    Its nearness in a row is constant + factor * above[row]; it is there from `begin` to `end`.
    `nearness` and `above` are float32, `seen` int32, all flat.
    """

    def code(context, builder, signature, values):
        nearness_value, seen_value, above_value, at_value, begin_value, end_value = values[:6]
        constant_value, factor_value, number_value = values[6:]
        kinds = signature.args

        def spread_row(value):
            return splat(builder, builder.trunc(value, I32), INTEGERS)

        steps = ir.Constant(INTEGERS, list(range(WIDTH)))
        rows = builder.add(spread_row(at_value), steps)
        inside = builder.and_(
            builder.icmp_signed(">=", rows, spread_row(begin_value)),
            builder.icmp_signed("<", rows, spread_row(end_value)),
        )
        here = builder.fadd(
            splat(builder, constant_value),
            builder.fmul(
                splat(builder, factor_value),
                load_vector(builder, pointer_to(context, builder, kinds[2], above_value, at_value)),
            ),
        )
        p_near = pointer_to(context, builder, kinds[0], nearness_value, at_value)
        before = load_vector(builder, p_near)
        nearer = builder.and_(inside, builder.fcmp_ordered(">", here, before))
        store_vector(builder, builder.select(nearer, here, before), p_near)
        p_seen = pointer_to(context, builder, kinds[1], seen_value, at_value)
        p_seen = builder.bitcast(p_seen, INTEGERS.as_pointer())
        who = builder.load(p_seen)
        who.align = 4
        who = builder.select(nearer, splat(builder, number_value, INTEGERS), who)
        builder.store(who, p_seen).align = 4
        return context.get_dummy_value()

    signature = types.void(
        nearness, seen, above, types.intp, types.intp, types.intp,
        types.float32, types.float32, types.int32,
    )  # fmt: skip
    return signature, code
