"""The table that a finished run prints: one row a method, best reading order first."""

from __future__ import annotations

from typing import Any

HEADINGS = (
    "method",
    "final return",
    "score (95 % interval)",
    "worst quarter",
    "episodes to 50 %",
    "to 90 %",
)


def table(results: dict[str, Any]) -> str:
    """The headline test set's rows as aligned text.

    Args:
        results: what `results.json` holds.
    """
    rows = [HEADINGS, *(_row(name, score) for name, score in results["scores"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(name: str, score: dict[str, Any]) -> tuple[str, ...]:
    low, high = score.get("final_mean_interval") or (None, None)
    interval = "" if low is None else f" ({low:.2f} to {high:.2f})"
    return (
        name,
        _number(score.get("final_return")),
        _number(score["final_mean"]) + interval,
        _number(score["worst_quarter_mean"]),
        _number(score["episodes_to_50"], digits=0),
        _number(score["episodes_to_90"], digits=0),
    )


def _number(value: float | None, *, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
