"""Rotary turns of sixteen lanes, as `adbench_kernels.rotary_turns` makes them."""

# numba carries no types, and what is called here are its intrinsics.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

from typing import Any

import numba

from adbench_kernels.cpu.emit import WIDTH
from adbench_kernels.cpu.lanes import load, multiply, multiply_add, subtract, swap_pairs


@numba.njit
def turn_in(x: Any, at: int, turns: Any, t: int, head_dim: int, c: int) -> Any:
    """Part c of the vector at x[at : at + head_dim], turned as the t-th of `turns` says."""
    part = load(x, at + c * WIDTH)
    cos = load(turns, t * 2 * head_dim + c * WIDTH)
    sin = load(turns, (t * 2 + 1) * head_dim + c * WIDTH)
    return multiply_add(part, cos, multiply(swap_pairs(part), sin))


@numba.njit
def turn_back(part: Any, turns: Any, t: int, head_dim: int, c: int) -> Any:
    """What `turn_in` turned, as it was."""
    cos = load(turns, t * 2 * head_dim + c * WIDTH)
    sin = load(turns, (t * 2 + 1) * head_dim + c * WIDTH)
    return subtract(multiply(part, cos), multiply(swap_pairs(part), sin))
