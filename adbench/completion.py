"""What a shell may offer while a command of ours is typed. Nothing heavy is imported for it.

The shells ask anew at every press of the tab key, so names that other packages bring are offered,
too; the verbs' own parsers say which options there are.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args, get_origin

from adbench import plugins
from adbench.cli import VERBS
from adbench.commands.arguments import Parser, parser_of

_DEVICES = ("auto", "cpu", "cuda")


def candidates(words: Sequence[str]) -> list[str]:
    """What the last word may become; empty: nothing of ours, a file perhaps.

    Args:
        words: what follows the program's name, up to and with the word under the cursor, which may
            be empty. Bash takes `--preset=smoke` apart at the equals sign, other shells do not;
            both are understood.
    """
    *before, current = words or ("",)
    before = [word for word in before if word != "="]
    current = current[1:] if current.startswith("=") else current
    prefix = ""
    if current.startswith("--") and "=" in current:
        option, _, current = current.partition("=")
        before.append(option)
        prefix = f"{option}="
    offered = _offered(before, current)
    return sorted(f"{prefix}{word}" for word in set(offered) if word.startswith(current))


def _offered(before: list[str], current: str) -> Iterable[str]:
    if not before or before == ["help"]:
        return (*VERBS, *(() if before else ("help", "--help", "--version")))
    verb, *before = before
    if verb not in VERBS:
        return ()
    module = importlib.import_module(f"adbench.commands.{verb.replace('-', '_')}")
    parser = parser_of(module.main, [word for word in before if not word.startswith("-")])
    before = before[len(parser.prog.split()) - 2 :]  # of `suite run quick` what follows `run`
    named = _option(parser, before[-1]) if before else None
    if named is not None and named.nargs != 0:
        return _values(named, _placed(parser, before))
    if before and parser.takes_settings and (values := _setting_values(before[-1])):
        return values
    if current.startswith("-"):
        return (*parser.options(), *(_settings() if parser.takes_settings else ()))
    if parser.verbs:
        return parser.verbs
    positionals = [action for action in parser.actions if not action.option_strings]
    given = _placed(parser, before)
    if len(given) < len(positionals):
        return _values(positionals[len(given)], given)
    return _values(positionals[-1], given) if positionals and positionals[-1].nargs else ()


def _option(parser: Parser, word: str) -> argparse.Action | None:
    return next((action for action in parser.actions if word in action.option_strings), None)


def _placed(parser: Parser, words: list[str]) -> list[str]:
    """Those of some words that are no option and no option's value."""
    placed: list[str] = []
    after_option = False
    for word in words:
        option = word.startswith("-")
        if not option and not after_option:
            placed.append(word)
        known = _option(parser, word) if option else None
        switch = known.nargs == 0 if known else word in _switches(parser, word)
        after_option = option and "=" not in word and not switch
    return placed


def _switches(parser: Parser, word: str) -> Iterable[str]:
    """Settings that take no value, where there are settings and the word is one."""
    if not (parser.takes_settings and word.startswith("--")):
        return ()
    return [flag for flag, kind in _kinds().items() if kind is bool]


def _values(action: argparse.Action, given: list[str]) -> Iterable[str]:
    """What may follow an option, or stand where a positional stands."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    known: dict[str, Callable[[], Iterable[str]]] = {
        "env": lambda: plugins.names(plugins.ENVS),
        "preset": lambda: plugins.preset_names(given[0]) if given else (),
        "log": lambda: plugins.names(plugins.LOGGERS),
        "device": lambda: _DEVICES,
        "suite": _suites,
    }
    return known[action.dest]() if action.dest in known else ()


def _suites() -> Iterable[str]:
    from adbench.suite.definition import shipped  # pydantic: 0.2 s

    return (*shipped(), "context")


def _settings() -> Iterable[str]:
    """Every setting of a run as a flag."""
    kinds = _kinds()
    off = [_negated(flag) for flag, kind in kinds.items() if kind is bool]
    return (*(flag for flag, kind in kinds.items() if get_origin(kind) is not dict), *off)


def _setting_values(flag: str) -> Iterable[str]:
    """What a setting may be, where that is a choice among words."""
    kind = _kinds().get(flag)
    if kind is bool:
        return ()  # given alone it means true
    if flag == "--source.name":
        return plugins.names(plugins.SOURCES)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _kinds() -> dict[str, object]:
    from adbench.flags import field_types  # pydantic: 0.2 s

    return {f"--{name.replace('_', '-')}": kind for name, kind in field_types().items()}


def _negated(flag: str) -> str:
    group, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{group}{dot}no-{name}"
