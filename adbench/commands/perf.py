"""`adbench perf report FILE ...` and `adbench perf compare OLD NEW`: what benchmarks measured."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from adbench.commands.arguments import Parser
from adbench.errors import UsageError, unknown_name


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench perf`; returns the exit code."""
    parser = Parser(
        "perf",
        "Reports on what `pytest benchmarks` measured, and what got slower between two of them.\n\n"
        "  report    throughput and memory over size, peers, ceilings: HTML and Markdown\n"
        "  compare   what got slower beyond the noise; exit code 1 if anything did",
        examples=(
            "adbench perf report benchmarks/results/latest.json",
            "adbench perf compare benchmarks/results/cpu.json benchmarks/results/latest.json",
        ),
        usage="adbench perf report|compare ...",
        verbs=tuple(_CARRY_OUT),
    )
    parser.add_argument("what", nargs="?", metavar="report|compare", help=argparse.SUPPRESS)
    asked = parser.read(list(arguments[:1]))
    if asked.what is None:
        raise UsageError("say which: adbench perf report FILE, or adbench perf compare OLD NEW.")
    if asked.what not in _CARRY_OUT:
        raise unknown_name(
            "perf command",
            asked.what,
            _CARRY_OUT,
            hint="`adbench perf --help` says what each does.",
        )
    return _CARRY_OUT[asked.what](list(arguments[1:]))


def _report(arguments: list[str]) -> int:
    parser = Parser(
        "perf report",
        "Draw a report of benchmark results: throughput and memory over context length and other\n"
        "sizes, ratios to each peer in the same file, shares of the machine's measured ceilings,\n"
        "and how cost grows. Writes perf.html, perf.md and figures/.",
        examples=(
            "adbench perf report benchmarks/results/latest.json",
            "adbench perf report cpu.json gpu.json --out runs/perf",
        ),
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="what --benchmark-json wrote"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/perf"), help="a folder; runs/perf"
    )
    asked = parser.read(arguments)

    from adbench.perf.measured import read
    from adbench.perf.report import write_report

    print(write_report([read(file) for file in asked.files], asked.out))
    return 0


def _compare(arguments: list[str]) -> int:
    parser = Parser(
        "perf compare",
        "Say what got slower between two measurements: by more than the threshold, and by more\n"
        "than the medians of both are uncertain. Exit code 1 if anything did, else 0.",
        examples=(
            "adbench perf compare benchmarks/results/cpu.json benchmarks/results/latest.json",
            "adbench perf compare old.json new.json --threshold 0.25 --json",
        ),
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="the older file")
    parser.add_argument("new", metavar="NEW", type=Path, help="the newer file")
    parser.add_argument(
        "--threshold", type=_share, default=0.1, metavar="SHARE",
        help="share by which a median may grow without being called slower; 0.1",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.read(arguments)

    from adbench.perf.compare import compare
    from adbench.perf.compare_words import comparison_text
    from adbench.perf.measured import read

    found = compare(read(asked.old), read(asked.new), threshold=asked.threshold)
    print(json.dumps(found) if asked.json else comparison_text(found))
    return 1 if found["slower"] else 0


_CARRY_OUT: dict[str, Callable[[list[str]], int]] = {"report": _report, "compare": _compare}


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, wants a share from 0 on, such as 0.1")
    return value
