"""report.html: the figure first, then the tasks one by one, the table, and how it was made.

One file that opens without a network. Everything that comes from results is escaped by the
template; only the figures, which this package draws itself, go in as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench.errors import RunFolderError
from adbench.paper_curves import SOURCE as PAPER
from adbench.paper_curves import paper_curves
from adbench.report import figures, null_words, task_figures, words
from adbench.report.drawing import Drawing, Picture
from adbench.report.names import EXPLAINED, name_of
from adbench.report.numbers import NOTHING, bounds, fixed, large, seconds, short
from adbench.report.table import Cell, Column, columns, rows
from adbench.resources import size

if TYPE_CHECKING:
    from adbench.task import TaskFamily
    from adbench.trace import Trace

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """The scores of one test set."""

    title: str
    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]


def write_report(
    folder: Path,
    results: Results,
    *,
    family: TaskFamily | None = None,
    traces: Mapping[str, Trace] | None = None,
) -> Path:
    """Draw the page and its figures.

    Args:
        folder: the run's; gets report.html and figures/. Figures of an earlier report go.
        results: as `read_results` gives them.
        family: whose maps and frames are drawn; none: no paths and no GIF.
        traces: some of AD's lanes on each test set.

    Returns:
        Where the page is.

    Raises:
        RunFolderError: a folder that holds something lies where a file has to come.
    """
    drawings = draw(results)
    picture = None
    if family is not None and traces:
        from adbench.report import agent  # OpenCV, which a report without pixels does without

        drawings |= agent.draw_paths(family, traces)
        picture = agent.draw_seen(family, next(iter(traces.values())))
    folder_of_figures = folder / "figures"
    folder_of_figures.mkdir(parents=True, exist_ok=True)
    for drawing in drawings.values():
        _put(folder_of_figures / drawing.file, drawing.svg)
    if picture is not None:
        _put(folder_of_figures / picture.file, picture.gif)
    kept = {drawing.file for drawing in drawings.values()} | {picture.file if picture else ""}
    for old in (*folder_of_figures.glob("*.svg"), *folder_of_figures.glob("*.gif")):
        if old.name not in kept:
            old.unlink()
    page = folder / "report.html"
    _put(page, render(results, drawings, picture))
    return page


def draw(results: Results) -> dict[str, Drawing]:
    """The page's figures by name: `curves`, `tasks` and `scores` (of the headline), `steps`.

    Only `curves` is always there.
    """
    found = {
        "curves": Drawing("curves.svg", figures.learning_curves(results), _curves_caption(results))
    }
    headline = results["test_sets"][results["headline"]]
    panels = task_figures.task_panels(headline)
    if panels is not None:
        found["tasks"] = Drawing("tasks.svg", panels[0], _tasks_caption(headline, panels[1]))
    strips = task_figures.score_strips(headline)
    if strips is not None:
        caption = (
            "Every task of every seed is a dot, the line their mean with its interval. AD fails "
            "task by task, all or nothing, which a mean alone would hide."
        )
        found["scores"] = Drawing("scores.svg", strips, caption)
    goal = figures.steps_to_goal(results)
    if goal is not None:
        caption = (
            "Environment steps of an episode until the goal, averaged as the return is; an episode "
            "that does not get there counts as the longest there is."
        )
        found["goal"] = Drawing("goal.svg", goal, caption)
    steps = figures.steps_needed(results)
    if steps is not None:
        caption = (
            "Dashed: 50 % and 90 % of the way from random to optimal; dots: where a curve first "
            "gets there. The sources are shown in full length. Dotted: a learner that copies the "
            "kept episodes of the source."
        )
        found["steps"] = Drawing("steps.svg", steps, caption)
    return found


def render(
    results: Results, drawings: Mapping[str, Drawing], picture: Picture | None = None
) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("adbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "fixed": fixed, "bounds": bounds, "name_of": name_of}
    tables = []
    for test_set in results["test_sets"]:
        shown = columns(results, test_set)
        title = words.setting(results, test_set)
        tables.append(Table(title, shown, rows(results, test_set, shown)))
    return environment.get_template("report.html.jinja").render(
        results=results,
        drawings=drawings,
        picture=picture,
        summary=words.summary(results),
        nulls=[*null_words.goal_sentences(results), *null_words.sight_sentences(results)],
        tables=tables,
        explained={name: EXPLAINED[name] for name in results["scores"] if name in EXPLAINED},
        differences=words.difference_lines(results),
        efficiency=words.data_efficiency_sentences(results),
        facts=_facts(results),
        config=json.dumps(results["config"], indent=2, ensure_ascii=False),
        nothing=NOTHING,
    )


def _put(path: Path, content: str | bytes) -> None:
    half_written = path.with_name(path.name + ".tmp")
    half_written.write_bytes(content.encode() if isinstance(content, str) else content)
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()
        except OSError as error:
            half_written.unlink()
            raise RunFolderError(
                f"{path} is a folder, and a file has to come there: {error.strerror or error}. "
                "Move the folder away; the same command goes on."
            ) from None
    half_written.replace(path)


def _curves_caption(results: Results) -> str:
    curves = results["curves"]
    lanes = max(curve["n"][0] for curve in curves.values())
    text = (
        f"Return of each episode, averaged over lanes (up to {lanes} a point), then tasks, then "
        f"seeds; nothing is smoothed. {words.intervals(results)}"
    )
    if any(name in curves for name in ("source", "source-best")):
        text += " The source learns each test task from scratch and counts its own episodes."
    if paper_curves(results["env"]):
        text += (
            f" Grey: {PAPER}, digitised; its source curve adds up all actors and is divided by "
            "their number here."
        )
    return text


def _tasks_caption(record: Mapping[str, Any], shown: int) -> str:
    tasks, seeds = len(record["task_ids"][0]), len(record["task_ids"])
    which = f"{shown} of {tasks} tasks, evenly spaced from worst to best" if shown < tasks else (
        f"all {words.count(tasks, 'task')}, worst first"
    )  # fmt: skip
    text = f"The held-out tasks one by one: {which} by AD's final score."
    return f"{text} Thin lines are single seeds." if seeds > 1 else text


def _facts(results: Results) -> list[tuple[str, str]]:
    """How it was made, as pairs of what and which."""
    how, machine = results["intervals"], results["machine"]
    took, rates = results["stage_seconds"], results["throughput"]
    split = {
        name: len(ids) for name, ids in results["split"].items() if name in ("train", "validation")
    }
    split |= {name: len(each["task_ids"][0]) for name, each in results["test_sets"].items()}
    return [
        ("command", results["command"]),
        ("tasks", ", ".join(f"{count} {name}" for name, count in split.items())),
        ("seeds", ", ".join(map(str, results["seeds"]))),
        *([("frames", seen)] if (seen := words.sight(results)) else []),
        (
            "machine",
            f"{results['device']}; {machine['processor']}, {machine['cores']} cores, "
            f"{results['threads']} threads; {machine['system']}",
        ),
        (
            "versions",
            ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        ),
        ("commit", results["commit"] or NOTHING),
        ("time", ", ".join(f"{stage} {seconds(took[stage])}" for stage in took)),
        ("collection", f"{large(rates['collect_env_steps_per_s'])} environment steps/s"),
        ("training", f"{large(rates['train_tokens_per_s'])} tokens/s"),
        ("evaluation", f"{large(rates['evaluate_env_steps_per_s'])} environment steps/s"),
        *_memory(results),
        ("intervals", f"{how['resamples']} bootstrap resamples of {how['over']}"),
    ]


def _memory(results: Results) -> list[tuple[str, str]]:
    """Peaks of the stages; none where nobody measured them."""
    found = []
    for kind, peaks in results.get("peak_memory_bytes", {}).items():
        told = [f"{stage} {size(peak)}" for stage, peak in peaks.items() if peak is not None]
        if told:
            found.append((f"peak memory, {kind}", ", ".join(told)))
    return found
