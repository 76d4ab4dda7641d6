"""Verbs that name an environment and may start a run: `run` and `collect`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from adbench.commands.arguments import Parser, add_log, add_stop_after

EXAMPLES = {
    "run": (
        "adbench run dark-room --out runs/first",
        "adbench run dark-room --preset smoke --out runs/smoke --stop-after 8",
        "adbench run dark-room --out runs/wide --model.width 192 --seeds 0,1,2",
        "adbench run dark-room --config mine.toml --out runs/mine --device cpu",
    ),
    "collect": ("adbench collect dark-room --out runs/first", "adbench train runs/first"),
}


def main(verb: str, summary: str, arguments: Sequence[str], *, stages: tuple[str, ...]) -> int:
    """Resolve the configuration, open its folder and carry out some stages of it.

    Args:
        verb: "run" or "collect".
        summary: what it does, for `--help`.
        arguments: what follows the verb.
        stages: which stages to carry out.

    Returns:
        the exit code.
    """
    parser = _parser(verb, summary)
    if "train" in stages:
        add_log(parser)
    if any(word in ("-h", "--help") for word in arguments):
        return _help(parser, verb, list(arguments))

    from adbench import flags

    settings, rest = flags.take_flags(list(arguments), parser.options(), verb=verb)
    found = parser.read(rest)

    from adbench.commands import session

    command = (verb, *arguments)
    with session.interruptible(found.out, command):
        from adbench import loggers, pipeline  # torch, whose import can be interrupted, too
        from adbench.folder import RunFolder

        config = flags.resolve(found.env, found.preset, found.config, settings)
        pipeline.check(config)
        heard_by = loggers.make(getattr(found, "log", ()))
        return session.carry_out(
            RunFolder.open(found.out, config),
            stages,
            command=command,
            stop_after_minutes=found.stop_after,
            as_json=found.json,
            loggers=heard_by,
        )


def _parser(verb: str, summary: str) -> Parser:
    parser = Parser(
        verb,
        summary,
        examples=EXAMPLES[verb],
        usage=f"adbench {verb} ENV --out DIR [--preset NAME] [--config FILE] [--SETTING VALUE ...]",
        takes_settings=True,
    )
    parser.add_argument("env", metavar="ENV", help="a task family; `adbench list` shows them")
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="the run's folder, new or begun",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="settings to start from: smoke, quick (default), paper ...",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML file that changes some of the preset"
    )
    add_stop_after(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def _help(parser: Parser, verb: str, arguments: list[str]) -> int:
    """Print the help; with ENV and a preset named, every setting shows what that preset has."""
    from adbench import flags
    from adbench.config import RunConfig
    from adbench.errors import AdbenchError

    print(parser.format_help())
    words = [word for word in arguments if word not in ("-h", "--help")]
    config, whose = RunConfig(env="ENV"), "Defaults shown are those before any preset"
    if words and not words[0].startswith("-"):
        from adbench import plugins

        named = [value for flag, value in pairwise(words) if flag == "--preset"]
        name = named[-1] if named else flags.DEFAULT_PRESET
        try:
            config = plugins.preset(words[0], name)
            whose = f"Defaults shown are those of {words[0]}'s preset {name!r}"
        except AdbenchError as error:
            whose = f"{whose} ({error})"
    print(f"Settings. {whose}; a file changes them, flags change both.\n")
    print(flags.help_text(config, prog=f"adbench {verb} ENV --out DIR"), end="")
    return 0
