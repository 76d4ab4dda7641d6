"""`adbench compare DIR DIR ...`: several runs of one environment side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from adbench.commands.arguments import Parser


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench compare`; returns the exit code."""
    parser = Parser(
        "compare",
        "Set runs of one environment side by side: their scores, the settings in which they\n"
        "differ, and what makes them hard to compare. Reads results.json of each.",
        examples=("adbench compare runs/first runs/wide", "adbench compare runs/* --json"),
    )
    parser.add_argument(
        "folders", metavar="DIR", nargs="+", type=Path, help="runs' folders, two or more"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    found = parser.read(list(arguments))

    from adbench.compare import compare, comparison_table

    comparison = compare(found.folders)
    print(json.dumps(comparison) if found.json else comparison_table(comparison))
    return 0
