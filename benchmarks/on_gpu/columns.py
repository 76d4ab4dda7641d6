"""What a section's table shows of its cases, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.on_gpu.roofs import Ceilings

Row = Mapping[str, Any]
CASE = ("op", "model", "stage", "mode", "mask", "D", "T", "lanes", "window", "new", "frame",
        "samples", "batch", "MiB", "size", "dtype", "how")  # fmt: skip
"""Of a case's key, in the order of the table; the implementation comes last."""


class Column(NamedTuple):
    """One measure.

    Attributes:
        head: its name and unit.
        text: of a row that was measured; "" where there is none.
    """

    head: str
    text: Callable[[Row, Ceilings], str]


def _number(name: str, unit: float = 1.0) -> Callable[[Row, Ceilings], str]:
    return lambda row, limits: f"{row[name] / unit:.4g}" if row.get(name) else ""


def _roof(row: Row, limits: Ceilings) -> str:
    share = limits.share(row)
    return f"{100 * share[0]:.0f} % ({share[1]})" if share else ""


def _utilisation(row: Row, limits: Ceilings) -> str:
    if not limits.flops or not row.get("flops"):
        return ""
    return f"{100 * row['flops'] / limits.flops / (row['median_ms'] / 1000):.1f} %"


def _error(row: Row, limits: Ceilings) -> str:
    return f"{row['error']:.2g}" if "error" in row else ""


def _times_plain(row: Row, limits: Ceilings) -> str:
    plain = row.get("error_of_plain")
    return f"{row['error'] / plain:.2f}" if plain else ""


def _microseconds(row: Row, limits: Ceilings) -> str:
    return f"{1e6 / row['frames_per_s']:.4g}" if row.get("frames_per_s") else ""


_MS, _TFLOP = Column("ms", _number("median_ms")), Column("TFLOP/s", _number("tflop_per_s"))
_MFU = Column("model FLOP utilisation", _utilisation)
_GB = Column("GB/s", _number("gb_per_s"))
_OF_ROOF, _PEAK = Column("of roof", _roof), Column("peak GB", _number("peak_bytes", 1e9))
_ERRORS = (Column("error", _error), Column("x plain", _times_plain))

KERNEL = (
    _MS, _TFLOP, Column("10^9 scores/s", _number("gelements_per_s")),
    Column("10^6 frames/s", _number("frames_per_s", 1e6)), _GB, _OF_ROOF, *_ERRORS,
)  # fmt: skip
MEASURES: Mapping[str, Sequence[Column]] = {
    "train": (_MS, Column("tokens/s", _number("tokens_per_s")), _TFLOP, _MFU, _PEAK, *_ERRORS),
    "evaluate": (
        _MS, Column("steps/s", _number("env_steps_per_s")), _GB, _OF_ROOF, _PEAK,
        Column("cache GB", _number("cache_bytes", 1e9)), *_ERRORS,
    ),
    "pixels": (
        _MS, Column("frames/s", _number("frames_per_s")), Column("us a frame", _microseconds),
        _TFLOP, _MFU, _PEAK, *_ERRORS,
    ),
}  # fmt: skip
"""Of the sections whose cases are no single kernels."""


def table(section: str, rows: Sequence[Row], limits: Ceilings) -> list[str]:
    """A section's cases, Markdown.

    Args:
        section: its name.
        rows: of it.
        limits: what times are held against.
    """
    named = [name for name in CASE if any(name in row["case"] for row in rows)]
    measures = MEASURES.get(section, KERNEL)

    def place(row: Row) -> list[str]:
        return [str(row["case"].get(name, "")) for name in named]

    shown = []
    for row in sorted(rows, key=lambda row: [cell.zfill(9) for cell in place(row)]):
        cells = [*place(row), str(row["case"]["implementation"])]
        if row["status"] == "ok":
            cells += [column.text(row, limits) for column in measures]
        else:
            cells += [row["status"], *[""] * (len(measures) - 1)]
        shown.append(cells)
    return markdown((*named, "implementation", *(column.head for column in measures)), shown)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    rule = "|".join("---" for _ in head)
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
