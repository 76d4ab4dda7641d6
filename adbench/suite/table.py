"""A leaderboard as plain text, and the cells that its page shows too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adbench.data_efficiency import SHARES
from adbench.report.numbers import NOTHING, bounds, fixed, percent, seconds, short
from adbench.report.table import Cell, aligned
from adbench.report.words import wrapped

Record = Mapping[str, Any]


def score_cells(row: Record) -> list[Cell]:
    """Score, worst quarter, share under half and interquartile mean of one row."""
    share = row["share_under_half_interval"]
    within = "" if share is None else f"[{percent(share[0])}, {percent(share[1])}]"
    return [
        Cell(fixed(row["final_mean"]), bounds(row["final_mean_interval"])),
        Cell(fixed(row["worst_quarter_mean"]), bounds(row["worst_quarter_mean_interval"])),
        Cell(percent(row["share_under_half"]), within),
        Cell(fixed(row["iqm"]), bounds(row["iqm_interval"])),
    ]


def source_cells(world: Record, *, totals: bool) -> list[Cell]:
    """How AD stands to its source in one world: returns at equal steps, then ratios of steps.

    Args:
        world: its record.
        totals: ratios in total steps, too.
    """
    equal, ratios = world["at_equal_steps"], world["data_efficiency"]
    within = bounds(equal["interval"])
    unpaired = (
        "not paired: the two rows' own intervals together" if equal["paired"] is False else ""
    )
    why = equal["reason"] or unpaired
    cells = [
        Cell(equal["against"] or NOTHING),
        Cell(short(equal["steps"]), reason=why),
        Cell(short(equal["ad"]), reason=why),
        Cell(short(equal["source"]), reason=why),
        Cell(fixed(equal["difference"]), within, why),
        Cell(equal["verdict"] or NOTHING, reason=why),
    ]
    forms = ("vs_source_single_stream", *(("vs_source_total",) * totals))
    for form in forms:
        for share in map(str, SHARES):
            ratio = ratios[form][share]
            interval = ratios["single_stream_interval"].get(share) if form == forms[0] else None
            cells.append(
                Cell(
                    fixed(ratio),
                    bounds(interval) if ratio is not None else "",
                    ratios["reasons"].get(f"{form}.{share}", ""),
                )
            )
    return cells


SOURCE_COLUMNS = (
    "source", "steps", "AD", "the source", "AD minus source", "verdict", "to 50 %", "to 90 %",
    "total to 50 %", "total to 90 %",
)  # fmt: skip
"""Headings of `source_cells`."""


def has_totals(table: Record) -> bool:
    """Whether some world has a ratio in total steps: one of actors that share a network."""
    return any(each["worlds"] for each in table["data_efficiency"]["vs_source_total"].values())


def heading(table: Record) -> str:
    """What one table is of: "context 80, mean over 2 worlds"."""
    parts = [table["series"]] if table["series"] else []
    if table["context_steps"] is not None:
        parts.append(f"context {table['context_steps']}")
    count = len(table["worlds"])
    parts.append("1 world" if count == 1 else f"mean over {count} worlds")
    return ", ".join(parts)


def seeds_of(table: Record) -> str:
    """How many seeds each world has: "dark-room 3 seeds, bandit 1 seed"."""
    return ", ".join(
        f"{world} {count} seed{'' if count == 1 else 's'}"
        for world, count in table["seeds"].items()
    )


def worlds_of(record: Record, table: Record) -> list[Record]:
    """The worlds of one table."""
    key = table["series"], table["context_steps"]
    return [w for w in record["worlds"] if (w["series"], w["context_steps"]) == key]


def leaderboard_table(record: Record) -> str:
    """A leaderboard for a terminal."""
    parts = []
    for table in record["tables"]:
        lines = [["row", "score", "", "worst 1/4", "< half", "IQM", "worlds"]]
        for row in table["rows"]:
            cells = score_cells(row)
            lines.append(
                [
                    row["method"], cells[0].text, cells[0].interval,
                    *(cell.text for cell in cells[1:]),
                    f"{len(row['worlds'])} of {len(table['worlds'])}",
                ]
            )  # fmt: skip
        parts.append(f"{heading(table)} ({seeds_of(table)})\n\n{aligned(lines)}")
        lines = [["world", "seeds", "AD", "source", "AD - source", "", "at equal steps",
                  "to 50 %", "to 90 %", "a seed"]]  # fmt: skip
        for world in worlds_of(record, table):
            cells = source_cells(world, totals=False)
            lines.append(
                [
                    world["world"], str(len(world["seeds"])), cells[2].text, cells[3].text,
                    cells[4].text, cells[4].interval, cells[5].text,
                    cells[6].text, cells[7].text, seconds(world["seconds"]["seed"]),
                ]
            )  # fmt: skip
        parts.append(aligned(lines))
    notes = [f"failed: {each['run']}: {each['why']}" for each in record["failed"]]
    failed = {each["run"] for each in record["failed"]}
    rest = [run for run in record["missing"] if run not in failed]
    if rest:
        notes.append(f"not finished: {'; '.join(rest)}")
    notes += [f"left out: {each['file']}: {each['why']}" for each in record["left_out"]]
    notes += [f"warning: {warning}" for warning in record["warnings"]]
    return "\n\n".join([*parts, "\n".join(wrapped(notes))]).rstrip()
