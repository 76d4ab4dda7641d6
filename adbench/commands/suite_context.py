"""`adbench suite run context --env ENV`: how much context is worth, and what it costs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from adbench.commands.arguments import Parser, add_stop_after, positive, whole


def main(arguments: Sequence[str]) -> int:
    """Carry out the study; returns the exit code.

    Args:
        arguments: what follows `adbench suite run context`.
    """
    found = _parser().read(list(arguments))

    from adbench.commands.session import interruptible
    from adbench.suite import context_plan

    planned = context_plan.plan(
        found.env,
        full=found.full,
        file=found.config,
        preset=found.preset,
        seeds=found.seeds,
        device=found.device,
    )

    from adbench.suite import context_session

    out = found.out or context_session.default_folder(found.env, full=found.full)
    command = ("suite", "run", "context", *arguments)
    with interruptible(out, command):
        return context_session.run(
            planned,
            out,
            jobs=found.jobs,
            stop_after_minutes=found.stop_after,
            as_json=found.json,
            typed=command,
        )


def _parser() -> Parser:
    parser = Parser(
        "suite run context",
        "Train one transformer at many context lengths, on the same histories and as many tokens,\n"
        "and put data efficiency, speed and memory against the length on one page. Two series:\n"
        "exact (attention over the last c steps, as in the paper) and banded (a ring cache of W).",
        examples=(
            "adbench suite run context --env dark-room",
            "adbench suite run context --env key-to-door --stop-after 60",
            "adbench suite run context --env dark-room --preset smoke --seeds 0 --out runs/try",
        ),
    )
    parser.add_argument("--env", metavar="ENV", required=True, help="the world")
    parser.add_argument(
        "--full", action="store_true", help="longer lengths too; hours on two cores"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="the study's folder; runs/context-ENV if left out"
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="a study of your own, in TOML (docs)"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="make the study from this preset; smoke: seconds, far too small to learn anything",
    )
    parser.add_argument("--seeds", metavar="N,N", type=_seeds, help="in place of the study's")
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="where it runs; auto: the best there is",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=positive, help="runs at once; left out: what the machine takes"
    )
    add_stop_after(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    seeds = tuple(whole(part.strip()) for part in text.split(",") if part.strip())
    if not seeds or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"got {text!r}, wants different seeds, such as 0,1,2")
    return seeds
