"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "–"
"""What stands where there is no number."""


def short(value: float | None, digits: int = 3) -> str:
    """A number to a few significant digits, without an exponent: 0.845, 12.3, 1000."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    size = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{digits - size}f}"


def fixed(value: float | None, digits: int = 2) -> str:
    """A number with as many decimals as its neighbours in a column."""
    if value is None:
        return NOTHING
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text  # no minus nought


def large(value: float | None) -> str:
    """A count: 1,000 or, from a hundred thousand on, with a unit prefix: 26.9 M."""
    if value is None:
        return NOTHING
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e5):
            return f"{short(value / size)} {prefix}"
    return f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A share as whole percents."""
    return NOTHING if value is None else f"{100 * value:.0f} %"


def bounds(interval: Sequence[float | None] | None, digits: int = 2) -> str:
    """An interval's two ends: [0.41, 0.53]; nothing where there is none."""
    if interval is None or (interval[0] is None and interval[1] is None):
        return ""
    return f"[{fixed(interval[0], digits)}, {fixed(interval[1], digits)}]"


def seconds(value: float | None) -> str:
    """A duration: 4.2 s, 6 min 10 s, 2 h 05 min."""
    if value is None:
        return NOTHING
    if value < 60:
        return f"{short(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    if value % 100 in (11, 12, 13):
        return f"{value}th"
    return f"{value}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(value % 10, 'th') }"
