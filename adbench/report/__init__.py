"""A run's report: a page that opens without a network, its figures, and a table for terminals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.report.table import results_table

if TYPE_CHECKING:
    from adbench.task import TaskFamily
    from adbench.trace import Trace

__all__ = ["results_table", "write_report"]


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    *,
    family: TaskFamily | None = None,
    traces: Mapping[str, Trace] | None = None,
) -> Path:
    """Draw report.html and its figures; see `adbench.report.page.write_report`."""
    from adbench.report import page  # matplotlib, which the table does without

    return page.write_report(folder, results, family=family, traces=traces)
