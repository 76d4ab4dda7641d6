"""How far a kernel may be from float64: tolerances, each derived, and the comparison.

u is the unit roundoff: half of the distance from 1 to the next number, 2^-24 in float32, 2^-11 in
float16, 2^-8 in bfloat16 (8, not 7: half a distance). A kernel reads its inputs as they are, so
the float64 twin gets the *rounded* inputs and none of their error counts. What is left:

- **float32**: a sum of n <= 256 products, its roundings of random sign, is off by about
  u * sqrt(n) = 9.5e-7 of the size of its terms; measured 3e-7.
- **float16, bfloat16**: sums are float32. The result is rounded once: an error that is uniform in
  +-u has root mean square u / sqrt(3). The other operand of a matrix product (a probability, a
  score's gradient) is rounded once too and never averages out in a row that sees one key. Together
  u * sqrt(2 / 3) = 0.82 u: 4.0e-4 and 3.2e-3; allowed is 1.25 u.

So a result twice as far off as one rounding makes it is caught, whoever made it.
"""

from __future__ import annotations

import torch
from torch import Tensor

RELATIVE_ERROR = {
    torch.float64: 1e-12,
    torch.float32: 1e-6,
    torch.float16: 6e-4,
    torch.bfloat16: 5e-3,
}
"""Of a whole tensor: the norm of the error over the norm of the exact values."""

ROW_FACTOR = 4.0
"""A row (the last dimension) may be this many tolerances of the largest row off: one row in a
thousand is 3.3 standard deviations from the mean, and a fault that sits in one row is not to hide
among the others."""

LSE_ERROR = 2e-6
"""Of a log-sum-exp, absolute and relative to values over 1: it is float32 whatever the inputs are,
a sum of up to 256 exponentials (u * sqrt(256) = 9.5e-7) and a logarithm."""


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm of `exact`; infinite where a number is not finite."""
    difference = (actual.double() - exact.double()).nan_to_num(torch.inf, torch.inf, torch.inf)
    size = float(exact.double().norm())
    if size == 0.0:
        return 0.0 if float(difference.abs().sum()) == 0.0 else float("inf")
    return float(difference.norm()) / size


def assert_close(
    actual: Tensor, exact: Tensor, *, name: str = "result", tolerance: float | None = None
) -> None:
    """Fail unless `actual` is `exact` within what its dtype can do, in whole and in every row.

    Args:
        actual: what a kernel gave, [..., D].
        exact: the float64 twin's, computed from the same rounded inputs, [..., D].
        name: what it is, for the message.
        tolerance: in place of that of actual's dtype in `RELATIVE_ERROR`.
    """
    assert actual.shape == exact.shape, f"{name}: {list(actual.shape)}, not {list(exact.shape)}"
    allowed = RELATIVE_ERROR[actual.dtype] if tolerance is None else tolerance
    missing = int(actual.isnan().sum())
    assert not missing, f"{name}: {missing} of {actual.numel()} numbers are NaN"
    if exact.numel() == 0:
        return
    error = relative_error(actual, exact)
    assert error <= allowed, f"{name}: off by {error:.3g} of its norm; {allowed:.3g} is allowed"
    rows = exact.double().reshape(-1, exact.shape[-1] if exact.ndim else 1)
    errors = (actual.double().reshape(rows.shape) - rows).norm(dim=1)
    worst = int(errors.argmax())
    off = float(errors[worst]) / max(float(rows.norm(dim=1).max()), 1e-300)
    assert off <= ROW_FACTOR * allowed, (
        f"{name}: row {worst} of {len(rows)} is off by {off:.3g} of the largest row's norm; "
        f"{ROW_FACTOR * allowed:.3g} is allowed"
    )


def assert_lse_close(actual: Tensor, exact: Tensor, *, tolerance: float = LSE_ERROR) -> None:
    """Fail unless log-sum-exps agree; -inf (a query that sees nothing) must be -inf in both."""
    assert actual.shape == exact.shape, f"lse: {list(actual.shape)}, not {list(exact.shape)}"
    assert actual.dtype in (torch.float32, torch.float64), f"lse: {actual.dtype}"
    assert not actual.isnan().any(), f"lse: {int(actual.isnan().sum())} numbers are NaN"
    nothing = exact == -torch.inf
    assert torch.equal(actual == -torch.inf, nothing), "lse: -inf elsewhere than where nothing is"
    error = (actual.double() - exact.double()).masked_fill(nothing, 0.0).abs()
    worst = float((error / exact.double().abs().clamp(1.0)).masked_fill(nothing, 0.0).max())
    assert worst <= tolerance, f"lse: off by {worst:.3g}; {tolerance:.3g} is allowed"
