"""Times, rates and sizes as people read them."""

from __future__ import annotations

from adbench.report.numbers import NOTHING, short

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))


def duration(seconds: float) -> str:
    """Three digits in the unit that suits: 4.81 ms."""
    for size, unit in _TIMES:
        if seconds >= size:
            return f"{short(seconds / size)} {unit}"
    return f"{short(1e9 * seconds)} ns"


def count(value: float | None) -> str:
    """Three digits, with a prefix from a thousand on: 3.43 M."""
    if value is None:
        return NOTHING
    for size, prefix in _COUNTS:
        if value >= size:
            return f"{short(value / size)} {prefix}"
    return short(value)


def rate(value: float | None, unit: str) -> str:
    """A count a second: 28.1 k tokens/s."""
    return NOTHING if value is None else f"{count(value)} {unit.replace('_', ' ')}/s"


def memory(value: float | None) -> str:
    """Bytes with a binary prefix: 1.25 GiB."""
    if value is None:
        return NOTHING
    for size, unit in _BYTES:
        if value >= size:
            return f"{short(value / size)} {unit}"
    return f"{value:.0f} B"


def size(value: float | None) -> str:
    """A size on an axis or in a table, in full: 16,384."""
    return NOTHING if value is None else f"{value:,.0f}"


def times(value: float) -> str:
    """A ratio: 2.1x, 105x."""
    return f"{short(value, 2) if value < 10 else f'{value:,.0f}'}x"
