"""A comparison of two measurements as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adbench.perf.numbers import duration
from adbench.report.table import aligned

MOST_NAMES = 20
"""Names of one kind that are listed; --json has all."""


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """What `adbench perf compare` prints.

    Args:
        comparison: as `compare` returns it.
    """
    parts = []
    for verdict in ("slower", "faster"):
        if comparison[verdict]:
            parts.append(_table(verdict, comparison[verdict]))
    if comparison["missing"]:
        named = [f"{each['name']} ({each['reason']})" for each in comparison["missing"]]
        parts.append(_list("without a time now", named))
    if comparison["added"]:
        parts.append(_list("new", comparison["added"]))
    if comparison["changed"]:
        parts.append(_list("not compared: they do other work than they did", comparison["changed"]))
    parts.append(_summary(comparison))
    if comparison["warnings"]:
        parts.append("\n".join(f"warning: {warning}." for warning in comparison["warnings"]))
    return "\n\n".join(parts)


def _summary(comparison: Mapping[str, Any]) -> str:
    slower, faster, same = (len(comparison[kind]) for kind in ("slower", "faster", "same"))
    threshold = f"{100 * comparison['threshold']:g} %"
    return (
        f"{slower + faster + same} compared: {slower} slower, {faster} faster, {same} within "
        f"{threshold} or the noise."
    )


def _table(verdict: str, found: Sequence[Mapping[str, Any]]) -> str:
    lines = [[verdict, "old", "new", "change", "noise"]]
    for each in found:
        lines.append(
            [
                each["name"],
                duration(each["old_seconds"]),
                duration(each["new_seconds"]),
                f"{100 * each['change']:+.0f} %",
                f"{100 * each['noise']:.0f} %",
            ]
        )
    return aligned(lines)


def _list(title: str, names: Sequence[str]) -> str:
    shown = [f"  {name}" for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        shown.append(f"  and {len(names) - MOST_NAMES} more")
    return "\n".join([f"{title}:", *shown])
