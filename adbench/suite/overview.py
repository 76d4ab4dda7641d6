"""The runs of a suite, how far each is, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adbench.config import TRAINED_METHODS
from adbench.progress import duration
from adbench.report.table import aligned
from adbench.suite import definition, machine, state
from adbench.suite.cells import Cell, plan
from adbench.suite.estimate import expected_seconds, seconds_left, trained_tokens


def default_folder(name: str) -> Path:
    """Where a suite's runs lie if nobody says otherwise."""
    return Path("runs", f"suite-{Path(name).stem}")


def show(name: str, out: Path | None, *, device: str) -> dict[str, Any]:
    """The runs of a suite and how far each is, as JSON values.

    Args:
        name: of the suite, or its file.
        out: its folder; none: `default_folder`.
        device: "auto", "cpu" or "cuda".

    Raises:
        UsageError: the suite asks for what there is not, or the folder is another's.
    """
    found = definition.load(definition.find(name))
    out = out or default_folder(name)
    cells = plan(found, device=device, check=False)
    states = {cell: state.inspect(cell, out) for cell in cells}
    took = {cell: each.seconds for cell, each in states.items() if each.seconds is not None}
    expected = expected_seconds(cells, took)
    rest = [cell for cell in cells if states[cell].kind != "finished"]
    jobs = machine.share(cells[0].config.device, max(1, len(rest))).jobs
    return {
        "suite": found.name,
        "title": found.suite.title,
        "file": str(found.path),
        "folder": str(out),
        "runs": [
            {
                "run": cell.name,
                "folder": str(cell.folder(out)),
                "state": states[cell].kind,
                "adopted_from": states[cell].adopted_from,
                "why": states[cell].why,
                "seconds": states[cell].seconds,
                "expected_seconds": expected[cell],
                "trained_tokens": trained_tokens(cell.config),
                "config": cell.config.model_dump(mode="json"),
            }
            for cell in cells
        ],
        "seconds_left": seconds_left([_left(cell, expected, out) for cell in rest], jobs),
        "jobs": jobs,
    }


def _left(cell: Cell, expected: Mapping[Cell, float | None], out: Path) -> float | None:
    whole = expected[cell]
    return None if whole is None else max(0.0, whole - state.booked_seconds(cell.folder(out)))


def show_text(shown: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    lines = [["run", "preset", "window", "updates", "trained rows", "state"]]
    for each in shown["runs"]:
        config = each["config"]
        rows = [method for method in config["methods"] if method in TRAINED_METHODS]
        lines.append(
            [
                each["run"],
                config["preset"],
                f"{config['train']['window_steps']:,}",
                f"{config['train']['updates']:,}",
                ", ".join(rows),
                "adopted" if each["adopted_from"] else each["state"],
            ]
        )
    notes = [f"{each['run']}: {each['why']}" for each in shown["runs"] if each["why"]]
    if all(each["state"] == "finished" for each in shown["runs"]):
        notes.append("all runs are finished")
    elif shown["seconds_left"] is None:
        notes.append("no estimate before a run has finished")
    else:
        notes.append(f"about {duration(shown['seconds_left'])} left, {shown['jobs']} at once")
    head = f"{shown['title'] or shown['suite']}\n{shown['file']}\nfolder {shown['folder']}"
    return "\n\n".join([head, aligned(lines), "\n".join(notes)])
