"""Verbs that go on with a folder that is there: `train`, `evaluate` and `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.commands.arguments import Parser, add_log, add_stop_after


def main(verb: str, summary: str, arguments: Sequence[str], *, stages: tuple[str, ...]) -> int:
    """Carry out some stages of the run in a folder.

    Args:
        verb: "train", "evaluate" or "report".
        summary: what it does, for `--help`.
        arguments: what follows the verb.
        stages: which stages to carry out.

    Returns:
        the exit code.
    """
    parser = Parser(verb, summary, examples=(f"adbench {verb} runs/first",))
    parser.add_argument("folder", metavar="DIR", type=Path, help="a run's folder")
    if verb != "report":
        add_stop_after(parser)
    if "train" in stages:
        add_log(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    found = parser.read(list(arguments))

    from adbench import loggers
    from adbench.commands import session
    from adbench.folder import RunFolder

    command = (verb, *arguments)
    with session.interruptible(found.folder, command):
        return session.carry_out(
            RunFolder.read(found.folder),
            stages,
            command=command,
            stop_after_minutes=getattr(found, "stop_after", None),
            as_json=found.json,
            loggers=loggers.make(getattr(found, "log", ())),
        )
