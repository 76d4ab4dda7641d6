"""`adbench suite run|list|show|report`: many runs, one leaderboard."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adbench.commands.arguments import Parser, add_stop_after, positive
from adbench.errors import UsageError, unknown_name

_SUMMARY = "Many runs, one leaderboard: environments x methods x seeds x context lengths."
_EXAMPLES = (
    "adbench suite list",
    "adbench suite show quick",
    "adbench suite run quick",
    "adbench suite run context --env dark-room",
    "adbench suite run mine.toml --out runs/mine --jobs 2 --stop-after 60",
    "adbench suite report runs/mine",
)


def main(arguments: Sequence[str]) -> int:
    """Carry out `adbench suite`; returns the exit code."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "list": _list,
        "show": _show,
        "report": _report,
    }
    words = list(arguments)
    parser = Parser(
        "suite",
        _SUMMARY,
        examples=_EXAMPLES,
        usage="adbench suite VERB ...",
        verbs=tuple(verbs),
    )
    parser.offer(words)
    if not words or words[0] in ("-h", "--help"):
        whats = {
            "run": "run what is missing of a suite, and draw its leaderboard; `run context`: how\n"
            "          much context is worth",
            "list": "the suites that come with adbench",
            "show": "the runs of a suite: settings, what is finished, what is missing",
            "report": "draw a leaderboard of runs that are there, from their results.json alone",
        }
        shown = "\n".join(f"  {verb:7} {what}" for verb, what in whats.items())
        parser.description = f"{_SUMMARY}\n\n{shown}"
        print(parser.format_help(), file=sys.stdout if words else sys.stderr)
        return 0 if words else UsageError.exit_code
    if words[0] not in verbs:
        raise unknown_name("verb of suite", words[0], verbs)
    return verbs[words[0]](words[1:])


def _parser(verb: str, summary: str, *examples: str) -> Parser:
    parser = Parser(f"suite {verb}", summary, examples=examples)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def _takes_suite(parser: Parser) -> None:
    parser.add_argument(
        "suite", metavar="NAME|FILE", help="a shipped suite (`adbench suite list`) or a .toml file"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="the suite's folder; runs/suite-NAME if left out"
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="where it runs; auto: the best there is",
    )


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["context"]:
        from adbench.commands import suite_context

        return suite_context.main(arguments[1:])
    parser = _parser(
        "run",
        "Run what is missing of a suite, several runs at once, and draw its leaderboard. The same\n"
        "command goes on after an interruption, and tries again what failed.",
        "adbench suite run smoke",
        "adbench suite run quick --out runs/quick --adopt runs benchmarks/results/learning",
    )
    _takes_suite(parser)
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=positive,
        help="runs at once; left out: what cores and memory take, one on a GPU",
    )
    parser.add_argument(
        "--adopt",
        metavar="DIR",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="folders with results of finished runs; those of the same settings are not run again",
    )
    add_stop_after(parser)
    found = parser.read(arguments)

    from adbench.commands.session import interruptible
    from adbench.suite.overview import default_folder

    command = ("suite", "run", *arguments)
    with interruptible(found.out or default_folder(found.suite), command):
        from adbench.suite import session

        return session.run(
            found.suite,
            found.out,
            device=found.device,
            jobs=found.jobs,
            adopt=tuple(found.adopt),
            stop_after_minutes=found.stop_after,
            as_json=found.json,
            typed=command,
        )


def _list(arguments: list[str]) -> int:
    parser = _parser("list", "The suites that come with adbench.", "adbench suite list --json")
    found = parser.read(arguments)

    from adbench.suite import definition

    rows = [_brief(definition.load(path)) for path in definition.shipped().values()]
    if found.json:
        print(json.dumps({"suites": rows}, indent=2))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        seeds = sorted({len(world["seeds"]) for world in row["environments"]})
        print(
            f"{row['name']:{width}}  {row['title'].removeprefix(row['name'] + ': ')}; "
            f"{row['runs']} runs, {' or '.join(map(str, seeds))} seeds\n"
            f"{'':{width}}  {', '.join(world['world'] for world in row['environments'])}"
        )
    print("\nadbench suite show NAME says more; adbench suite run NAME runs it.", file=sys.stderr)
    return 0


def _brief(found: Any) -> dict[str, Any]:
    suite = found.suite
    worlds = [
        {
            "world": entry.title,
            "env": entry.name,
            "preset": entry.preset or suite.preset,
            "seeds": list(entry.seeds or suite.seeds),
            "methods": entry.methods or suite.methods,
            "context_steps": entry.context_steps or suite.context_steps,
        }
        for entry in suite.environments
    ]
    runs = sum(len(world["seeds"]) * len(world["context_steps"] or (0,)) for world in worlds)
    return {
        "name": found.name,
        "title": suite.title,
        "file": str(found.path),
        "runs": runs,
        "environments": worlds,
    }


def _show(arguments: list[str]) -> int:
    parser = _parser(
        "show",
        "The runs of a suite: their settings, what is finished and what is missing in its folder.",
        "adbench suite show quick",
        "adbench suite show mine.toml --out runs/mine --json",
    )
    _takes_suite(parser)
    found = parser.read(arguments)

    from adbench.suite import overview

    shown = overview.show(found.suite, found.out, device=found.device)
    print(json.dumps(shown, indent=2) if found.json else overview.show_text(shown))
    return 0


def _report(arguments: list[str]) -> int:
    parser = _parser(
        "report",
        "Draw a leaderboard of runs that are there, from their results.json alone. Of a suite's\n"
        "folder it also says what failed and what is missing.",
        "adbench suite report runs/suite-quick",
        "adbench suite report benchmarks/results/learning --out leaderboard",
        "adbench suite report benchmarks/results/learning --suite standard --out leaderboard",
    )
    parser.add_argument(
        "folders", metavar="DIR", nargs="+", type=Path, help="folders with results.json in them"
    )
    parser.add_argument(
        "--suite", metavar="NAME|FILE", help="show only what this suite asks, and what it lacks"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="where to write; left out: into DIR, if it is a suite's folder",
    )
    found: Namespace = parser.read(arguments)

    from adbench.suite import reporting

    return reporting.report(
        tuple(found.folders), suite=found.suite, out=found.out, as_json=found.json
    )
