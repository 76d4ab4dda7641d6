"""bfloat16 in Triton's interpreter, for tests.

The interpreter stores a bfloat16 as the uint16 of its bits, reads and writes it rightly, and then
computes with the integers: a sum of 1 and 1 is not 2 (its authors hold bfloat16 to be unsupported:
https://github.com/triton-lang/triton/pull/11585). `install` makes every operation widen bfloat16 to
float32, compute there, and round the result to nearest even, as a GPU does. Triton 3.6 to 3.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def widen(bits: Array) -> Array:
    """float32 of bfloat16 bits (uint16): exact."""
    return (np.ascontiguousarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)


def narrow(numbers: Array) -> Array:
    """bfloat16 bits (uint16) of floats, rounded to nearest, ties to even; NaN stays NaN."""
    single = np.ascontiguousarray(numbers, dtype=np.float32)
    bits = single.view(np.uint32)
    # Half of the last place kept, less one where it is even, carries over where rounding goes up.
    carry = ((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF)
    rounded = ((bits + carry) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(single), np.uint16(0x7FC0), rounded)


def install() -> None:
    """Mend the interpreter of this process, once."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder = type(interpreter.interpreter_builder)
    if getattr(builder, "computes_bfloat16", False):
        return
    builder.computes_bfloat16 = True
    handle = interpreter.TensorHandle
    bfloat16, float32 = tl.bfloat16, tl.float32

    def wide(x: Any) -> Any:
        """The same handle, or its float32 twin where it holds bfloat16."""
        if getattr(x, "dtype", None) is None or isinstance(x.dtype, tl.pointer_type):
            return x
        return handle(widen(x.data), float32) if x.dtype.scalar == bfloat16 else x

    def back(x: Any) -> Any:
        """float32 results as bfloat16; comparisons and bits as they are."""
        if x.data.dtype == np.bool_:
            return x
        return handle(narrow(x.data), bfloat16) if x.dtype.scalar == float32 else x

    def in_float32(name: str, *, result: bool = True) -> None:
        """Let a method of the builder meet float32 where it was given bfloat16."""
        plain = getattr(builder, name)

        def method(self: Any, first: Any, *others: Any) -> Any:
            widened = wide(first)
            done = plain(self, widened, *(wide(x) for x in others))
            return back(done) if result and widened is not first else done

        setattr(builder, name, method)

    for name in ("binary_op", "unary_op", "create_rsqrt", "create_erf", "create_fma"):
        in_float32(name)
    if hasattr(builder, "create_clampf"):
        in_float32("create_clampf")
    in_float32("create_dot", result=False)  # its accumulator says what comes out

    cast, convert = builder.cast_impl, builder.create_fp_to_fp

    def cast_impl(self: Any, value: Any, wanted: Any) -> Any:
        if wanted.scalar == bfloat16 and value.dtype.scalar != bfloat16:
            return handle(narrow(value.data), bfloat16)
        return cast(self, wide(value), wanted) if wanted.scalar != bfloat16 else value

    def create_fp_to_fp(self: Any, value: Any, wanted: Any, rounding: Any) -> Any:
        if bfloat16 in (wanted.scalar, value.dtype.scalar):
            return cast_impl(self, value, wanted)
        return convert(self, value, wanted, rounding)

    builder.cast_impl, builder.create_fp_to_fp = cast_impl, create_fp_to_fp

    for operation in (interpreter.ReduceOps, interpreter.ScanOps):
        _reduce_in_float32(operation, tl, interpreter)


def _reduce_in_float32(operation: Any, tl: Any, interpreter: Any) -> None:
    plain = operation.apply_impl

    def apply_impl(self: Any, inputs: Any) -> Any:
        bfloat16 = [x.dtype.scalar == tl.bfloat16 for x in inputs]
        if not any(bfloat16):
            return plain(self, inputs)
        widened = tuple(
            self.to_tensor(widen(x.handle.data), tl.float32) if narrow_one else x
            for x, narrow_one in zip(inputs, bfloat16, strict=True)
        )
        results = plain(self, widened)
        several = isinstance(results, (list, tuple))
        rounded = [
            self.to_tensor(narrow(x.handle.data), tl.bfloat16)
            if x.dtype.scalar == tl.float32
            else x
            for x in (results if several else [results])
        ]
        return tuple(rounded) if several else rounded[0]

    operation.apply_impl = apply_impl
