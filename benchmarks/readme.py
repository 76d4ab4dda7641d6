"""README's table of speeds, drawn from committed results: nothing in it is typed.

    python -m benchmarks.readme                  rewrite the block and its figures
    python -m benchmarks.readme --check          say whether it is up to date; exit code 1 if not

The block stands between two comments, `BEGIN` and `END`. Targets are stated here; what was measured
comes from the JSON files named on the command line, benchmarks/results/cpu.json if none is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adbench.errors import AdbenchError, PerfError
from adbench.perf.compare import busy_before
from adbench.perf.figures import figure
from adbench.perf.growth import growth
from adbench.perf.measured import Measured, Row, read
from adbench.perf.numbers import duration, rate, times
from adbench.perf.panels import Panel, panels
from adbench.perf.peers import ratio

ROOT = Path(__file__).resolve().parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results" / "cpu.json"
FIGURES = ROOT / "docs" / "figures"
BEGIN = "<!-- speeds: drawn by `python -m benchmarks.readme`, never typed -->"
END = "<!-- end of speeds -->"

DRAWN = {
    ("training", "an update over context"): "training-over-context.svg",
    ("evaluation", "a step of 96 lanes with a full window"): "acting-over-context.svg",
}
"""Cases whose figures the block shows, and the files they go into."""


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        what: in words.
        kind: "rate" and "seconds" of one benchmark, "times": the first one's rate over the
            second's, "exponent" of all of one implementation.
        names: of benchmarks, as pytest prints them, without the folder.
        target: number to reach; at most that for "seconds" and "exponent", else at least. None: no
            target was set.
    """

    what: str
    kind: Literal["rate", "seconds", "times", "exponent"]
    names: tuple[str, ...]
    target: float | None = None


_STEP = "bench_evaluate.py::test_step"
_UPDATE = "bench_train.py::test_update_of_the_quick_model"
_WINDOWED = "bench_train.py::test_update_with_a_window"
LINES = (
    Line(
        "collection, `q-lambda` with traces, 1,000 learners, shards written",
        "rate", ("bench_collect.py::test_q_lambda_with_traces[1000]",), 3e6,
    ),
    Line(
        "collection, `a2c`, 256 learners x 1 actor",
        "rate", ("bench_collect.py::test_a2c[256]",), 250e3,
    ),
    Line(
        "evaluation, ring cache over recomputing a full window of 400, 96 lanes",
        "times",
        (f"{_STEP}_with_a_full_window[cached-400]",
         f"{_STEP}_that_recomputes_its_window[recomputed-400]"), 80,
    ),
    Line(
        "training over `nn.TransformerEncoder`, full update, eager",
        "times", (f"{_UPDATE}[ours-eager]", f"{_UPDATE}[peer-eager]"), 1.0,
    ),
    Line(
        "the same, both compiled",
        "times", (f"{_UPDATE}[ours-compiled]", f"{_UPDATE}[peer-compiled]"), 1.2,
    ),
    Line(
        "training, window of 64: exponent of a row's cost over its length, 128 to 8,192 tokens",
        "exponent", tuple(f"{_WINDOWED}[{length}]" for length in (128, 512, 2048, 8192)),
    ),
    Line(
        "history window of 4,096 vector steps as tensors",
        "seconds", ("bench_history.py::test_window[adbench-4096]",), 30e-6,
    ),
    Line(
        "frames of 64 x 64 of a water maze, one thread",
        "rate", ("bench_render.py::test_frames[auto-1-64x64]",),
    ),
)  # fmt: skip


def block(measured: Sequence[Measured]) -> str:
    """What stands between the comments.

    Args:
        measured: files; a benchmark that several have is taken from the first.
    """
    rows: dict[str, Row] = {}
    for each in measured:
        for row in each.rows:
            rows.setdefault(row.subject.fullname.partition("benchmarks/")[2], row)
    lines = ["| what | target | measured |", "|---|---|---|"]
    for line in LINES:
        found = [rows[name] for name in line.names if name in rows]
        shown = _shown(line, found) if len(found) == len(line.names) else "not measured"
        lines.append(f"| {line.what} | {_target(line, found)} | {shown} |")
    drawn = [
        f"![{panel.stage}: {panel.case}, {panel.setting}](docs/figures/{name})"
        for panel, name in _panels(measured)
    ]
    return "\n\n".join(["\n".join(lines), *drawn, *(_made(each) for each in measured)])


def _shown(line: Line, found: Sequence[Row]) -> str:
    value, text = _value(line, found)
    if line.target is None:
        return text
    reached = value <= line.target if line.kind in ("seconds", "exponent") else value >= line.target
    return text if reached else f"**{text}**: *missed*"


def _value(line: Line, found: Sequence[Row]) -> tuple[float, str]:
    first = found[0]
    if line.kind == "rate":
        return first.rate, rate(first.rate, first.unit)
    if line.kind == "seconds":
        return first.median, duration(first.median)
    if line.kind == "times":
        of = ratio(first, found[1])
        return of.times, f"{times(of.times)} [{times(of.low)}, {times(of.high)}]"
    fitted = growth(found)
    assert fitted is not None, "an exponent is of three sizes or more"
    return (
        fitted.exponent,
        f"{fitted.exponent:.2f} [{fitted.low:.2f}, {fitted.high:.2f}]",
    )


def _target(line: Line, found: Sequence[Row]) -> str:
    if line.target is None:
        return ""
    if line.kind == "rate":
        return rate(line.target, found[0].unit if found else "")
    if line.kind == "seconds":
        return duration(line.target)
    return times(line.target) if line.kind == "times" else f"{line.target:g}"


def _made(measured: Measured) -> str:
    machine = measured.machine
    busy = busy_before(machine)
    text = (
        f"Medians of [`{measured.path.name}`](benchmarks/results/{measured.path.name}): "
        f"{machine.get('processor')}, {machine.get('cores')} cores, "
        f"{machine.get('torch_threads')} threads, commit `{(measured.commit or 'unknown')[:12]}`, "
        f"{measured.when[:10]}."
    )
    if busy is not None:
        text += f" The machine was not idle (load average {busy:.1f}): times are high."
    return text


def _panels(measured: Sequence[Measured]) -> list[tuple[Panel, str]]:
    """Cases to draw, each from the first file that has it."""
    found: dict[str, Panel] = {}
    for each in measured:
        for panel in panels(each):
            name = DRAWN.get((panel.stage, panel.case))
            if name is not None:
                found.setdefault(name, panel)
    return [(panel, name) for name, panel in found.items()]


def with_block(text: str, new: str) -> str:
    """A page with a new block between its comments.

    Raises:
        PerfError: the page has not both comments, in this order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise PerfError(
            f"README.md has no place for the table of speeds: put the lines {BEGIN} and {END} "
            "where it belongs."
        )
    return f"{head}{BEGIN}\n\n{new}\n\n{END}{tail}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.readme", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("files", nargs="*", type=Path, default=[RESULTS], metavar="FILE")
    parser.add_argument("--check", action="store_true", help="change nothing")
    asked = parser.parse_args(arguments)
    try:
        measured = [read(file) for file in asked.files]
        before = README.read_text(encoding="utf-8")
        after = with_block(before, block(measured))
    except AdbenchError as error:
        print(f"benchmarks.readme: {error}", file=sys.stderr)
        return error.exit_code
    if asked.check:
        if before != after:
            print("README.md: its speeds are not those of the results; run "
                  "python -m benchmarks.readme", file=sys.stderr)  # fmt: skip
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    for panel, name in _panels(measured):
        drawn = figure(panel)
        if drawn is not None:
            (FIGURES / name).write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
