"""A run's report: a page that opens without a network, its figures, and a table for terminals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adbench.report.table import results_table

__all__ = ["results_table", "write_report"]


def write_report(folder: Path, results: Mapping[str, Any]) -> Path:
    """Draw report.html and figures/*.svg; see `adbench.report.page.write_report`."""
    from adbench.report import page  # matplotlib, which the table does without

    return page.write_report(folder, results)
