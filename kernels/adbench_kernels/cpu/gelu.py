"""The Gaussian error linear unit on sixteen lanes: x Phi(x), Phi the normal distribution.

With a = |x| it is max(x, 0) - a Phi(-a), and Phi(-a) = exp(-a^2 / 2) P(t), where P is a polynomial
of t = 1 / (1 + 0.3 a), which brings all a >= 0 into (0, 1].
"""

# numba carries no types, and what is called here are its intrinsics.
# mypy: disable-error-code="import-untyped,no-untyped-call,untyped-decorator,call-arg,var-annotated"

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from adbench_kernels.cpu.lanes import (
    divide,
    exp2,
    larger,
    multiply,
    multiply_add,
    spread,
    subtract,
)

_BEND = 0.3
_FARTHEST = 14.0  # beyond it Phi(-a) is below the smallest float32


def _coefficients() -> tuple[float, ...]:
    """Of P, highest power first; off by 2e-8, below float32's 6e-8."""
    last = 1.0 / (1.0 + _BEND * _FARTHEST)
    t = (1 + last + (1 - last) * np.cos(np.pi * (np.arange(400) + 0.5) / 400)) / 2
    a = (1.0 / t - 1.0) / _BEND
    tail = [0.5 * math.erfc(x / math.sqrt(2.0)) * math.exp(x * x / 2.0) for x in a]
    fit = Chebyshev.fit(t, tail, 8, domain=[last, 1.0])
    return tuple(float(c) for c in fit.convert(kind=Polynomial).coef[::-1])


_HIGHEST, *_rest = _coefficients()
_REST = tuple(_rest)
_EXPONENT = -0.5 * math.log2(math.e)


@numba.njit
def gelu(x: Any) -> Any:
    """x Phi(x) in every lane, to 2e-7 of max(1, |x|)."""
    zero, one = spread(np.float32(0.0)), spread(np.float32(1.0))
    a = larger(x, subtract(zero, x))
    t = divide(one, multiply_add(a, spread(np.float32(_BEND)), one))
    tail = spread(np.float32(_HIGHEST))
    for coefficient in _REST:
        tail = multiply_add(tail, t, spread(np.float32(coefficient)))
    tail = multiply(tail, exp2(multiply(multiply(a, a), spread(np.float32(_EXPONENT)))))
    return subtract(larger(x, zero), multiply(a, tail))
