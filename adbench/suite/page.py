"""leaderboard.html: the table first, then each world, curves, times, and how it was made.

One file that opens without a network. Everything that comes from results is escaped by the
template; only the figures, which this package draws itself, go in as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench.paper_curves import SOURCE as PAPER
from adbench.paper_curves import paper_curves
from adbench.report.drawing import Drawing
from adbench.report.names import EXPLAINED, name_of
from adbench.report.numbers import NOTHING, bounds, fixed, large, percent, seconds, short
from adbench.report.table import Cell
from adbench.suite import figures
from adbench.suite.merge import World
from adbench.suite.table import (
    SOURCE_COLUMNS,
    has_totals,
    heading,
    score_cells,
    seeds_of,
    source_cells,
    worlds_of,
)

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One series and context length.

    Attributes:
        title: what it is of.
        seeds: how many each world has.
        scores: its figure.
        names: the worlds.
        rows: method, cells over all worlds, and its score in each.
        worlds: its worlds' records, each with headings of its own and its rows of cells.
        columns: headings of AD beside its source.
        against: world and cells of AD beside its source.
        standing: won, lost and undecided, in a sentence.
        ratios: data efficiency over worlds, in sentences.
    """

    title: str
    seeds: str
    scores: Drawing
    names: list[str]
    rows: list[tuple[str, list[Cell], list[str]]]
    worlds: list[tuple[Record, tuple[str, ...], list[tuple[str, list[Cell]]]]]
    columns: tuple[str, ...]
    against: list[tuple[str, list[Cell]]]
    standing: str
    ratios: list[str]


def render(record: Record, worlds: Sequence[World]) -> str:
    """The page as HTML.

    Args:
        record: as `leaderboard` gives it.
        worlds: the same that it was made of, whose curves are drawn.
    """
    environment = Environment(
        loader=PackageLoader("adbench.suite", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name_of": name_of, "seconds": seconds, "large": large, "fixed": fixed, "bounds": bounds,
        "percent": percent, "short": short,
    }  # fmt: skip
    shown = {method for table in record["tables"] for row in table["rows"]
             if (method := row["method"])}  # fmt: skip
    failed = {each["run"] for each in record["failed"]}
    return environment.get_template("leaderboard.html.jinja").render(
        record=record,
        title=record["title"] or "Leaderboard",
        sections=[_section(record, table) for table in record["tables"]],
        curves=_curves(worlds),
        unfinished=[run for run in record["missing"] if run not in failed],
        explained={name: text for name, text in EXPLAINED.items() if name in shown},
        confidence=percent(record["confidence"]),
        machines=_machines(record),
        nothing=NOTHING,
    )


def _section(record: Record, table: Record) -> Section:
    worlds, totals = worlds_of(record, table), has_totals(table)
    return Section(
        title=heading(table),
        seeds=seeds_of(table),
        scores=Drawing("scores.svg", figures.scores(table, worlds), _scores_caption(table)),
        names=table["worlds"],
        rows=[
            (
                method := row["method"],
                score_cells(row),
                [fixed(w["rows"].get(method, {}).get("final_mean")) for w in worlds],
            )
            for row in table["rows"]
        ],
        worlds=[_world(world) for world in worlds],
        columns=SOURCE_COLUMNS if totals else SOURCE_COLUMNS[:-2],
        against=[(world["world"], source_cells(world, totals=totals)) for world in worlds],
        standing=_standing(table),
        ratios=_ratios(table, totals),
    )


def _world(world: Record) -> tuple[Record, tuple[str, ...], list[tuple[str, list[Cell]]]]:
    """A world with its rows; where the paper has a score of its own, that stands beside ours."""
    rows = world["rows"]
    papers = any("papers_share_of_source" in row for row in rows.values())
    extra = ("share of source", f"in {PAPER}, figure 3") if papers else ()
    found = []
    for method, row in rows.items():
        cells = score_cells(row)
        if papers:
            keys = ("share_of_source", "papers_share_of_source")
            cells += [Cell(fixed(row.get(key))) for key in keys]
        found.append((method, cells))
    return world, extra, found


def _scores_caption(table: Record) -> str:
    if len(table["worlds"]) == 1:
        return "The line is the interval."
    return (
        "Large dots: the mean over worlds, each counting the same, with its interval. Small dots: "
        "the worlds one by one."
    )


def _standing(table: Record) -> str:
    parts = [
        f"{verdict} in {len(worlds)} ({', '.join(worlds)})"
        for verdict, worlds in table["at_equal_steps"].items()
        if worlds
    ]
    if not parts:
        return "No world has both AD and a source that played as many steps."
    return f"At equal steps of a single stream AD against its source: {', '.join(parts)}."


def _ratios(table: Record, totals: bool) -> list[str]:
    found = []
    for form, words in (
        ("vs_source_single_stream", "one stream of the source"),
        ("vs_source_total", "all actors of the source together"),
    ):
        if form == "vs_source_total" and not totals:
            found.append(
                "In total steps there is no ratio: learners that share no network have no total, "
                "or a target was never reached."
            )
            continue
        for share, ratio in table["data_efficiency"][form].items():
            start = f"To {share} % of the way from random to optimal, {words} against AD"
            if ratio["geometric_mean"] is not None:
                many = f", geometric mean over {ratio['of']} worlds" if ratio["of"] > 1 else ""
                found.append(f"{start}: {fixed(ratio['geometric_mean'])} times the steps{many}.")
            elif ratio["of"]:
                lacking = ", ".join(ratio["without"])
                found.append(f"{start}: no mean, because there is no ratio in {lacking}.")
    return found


def _curves(worlds: Sequence[World]) -> list[Drawing]:
    caption = (
        "Return of each episode of one held-out task, averaged over lanes, tasks and seeds; the "
        "transformer is frozen and its context starts empty. Bands: intervals of AD and its "
        "sources."
    )
    if any(paper_curves(world.env) for world in worlds):
        caption += (
            f" Grey: {PAPER}, digitised; its source curve adds up all actors and is divided by "
            "their number here."
        )
    found = [Drawing("curves.svg", figures.learning_curves(worlds), caption)]
    if any("source" in w.curves or "source-best" in w.curves for w in worlds):
        over_steps = (
            "The same over environment steps of one stream, the sources in full length. Dotted: "
            "where AD's evaluation ends."
        )
        found.append(Drawing("steps.svg", figures.curves_over_steps(worlds), over_steps))
    return found


def _machines(record: Record) -> list[tuple[str, str]]:
    """Each machine and code once, with the worlds it ran."""
    found: dict[str, list[str]] = {}
    for world in record["worlds"]:
        machine = world["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in world["versions"].items())
        what = (
            f"{world['device']}; {machine['processor']}, {machine['cores']} cores, "
            f"{world['threads']} threads; {machine['system']}; {versions}; commit "
            f"{world['commit'] or NOTHING}"
        )
        found.setdefault(what, []).append(world["world"])
    return [(", ".join(dict.fromkeys(names)), what) for what, names in found.items()]
