"""Reading a verb's arguments: `argparse`, whose complaints become errors of ours."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import NoReturn

from adbench.errors import UsageError

_only_described: ContextVar[bool] = ContextVar("_only_described", default=False)


class _Described(Exception):
    """Carries the parser out of a verb that was begun only to be asked for it."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` instead of ending the program.

    Args:
        verb: the word after `adbench`.
        summary: what it does, one or two sentences.
        examples: command lines worth copying.
        usage: replaces the usage line that argparse makes up.
        takes_settings: whether a run's settings are options, too (`--train.window-steps`).
        verbs: words that may come first and have parsers of their own (`suite run`).
    """

    def __init__(
        self,
        verb: str,
        summary: str,
        *,
        examples: tuple[str, ...] = (),
        usage: str | None = None,
        takes_settings: bool = False,
        verbs: tuple[str, ...] = (),
    ) -> None:
        self.takes_settings, self.verbs = takes_settings, verbs
        shown = "".join(f"  {example}\n" for example in examples)
        super().__init__(
            prog=f"adbench {verb}",
            usage=usage,
            description=summary,
            epilog=f"examples:\n{shown}" if shown else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse complains about."""
        raise UsageError(f"{message}. `{self.prog} --help` shows what it takes.")

    def options(self) -> tuple[str, ...]:
        """Every `--name` that it knows."""
        return tuple(name for name in self._option_string_actions if name.startswith("--"))

    @property
    def actions(self) -> Sequence[argparse.Action]:
        """Its arguments, as argparse keeps them."""
        return tuple(self._actions)

    def offer(self, arguments: Sequence[str]) -> None:
        """Go no further if only the parser was asked for (`parser_of`), unless one of its verbs
        was named, whose own is wanted then."""
        if _only_described.get() and not (arguments and arguments[0] in self.verbs):
            raise _Described(self)

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """The arguments by name; unknown ones are answered with the nearest known.

        Raises:
            UsageError: something is missing, unknown or of the wrong type.
        """
        self.offer(arguments)
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].split("=")[0]
            near = difflib.get_close_matches(name, self.options(), n=1) if name[:1] == "-" else []
            self.error(
                f"unexpected argument {unknown[0]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return found


def parser_of(main: Callable[[list[str]], int], arguments: Sequence[str] = ()) -> Parser:
    """The parser of a verb: the verb is begun, and left where it would read its arguments.

    Args:
        main: the verb's.
        arguments: words that say which of several parsers it would take.

    Raises:
        LookupError: it came to an end without one.
    """
    token = _only_described.set(True)
    try:
        main(list(arguments))
    except _Described as described:
        return described.parser
    finally:
        _only_described.reset(token)
    raise LookupError("the verb reads no arguments")


def add_log(parser: Parser) -> None:
    """Give a verb that trains the option `--log`."""
    parser.add_argument(
        "--log",
        metavar="NAMES",
        type=lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
        default=(),
        help="who else hears how training goes: tensorboard, wandb, both joined by a comma, or "
        "another package's (`adbench list loggers`); nothing of the run changes with it",
    )


def positive(text: str) -> int:
    """A whole number from 1 to a thousand million."""
    return _between(text, 1)


def whole(text: str) -> int:
    """A whole number from 0 to a thousand million."""
    return _between(text, 0)


def frame_size(text: str) -> tuple[int, int]:
    """Rows and columns, for `--frame`: 72x96."""
    rows, _, columns = text.lower().partition("x")
    try:
        return positive(rows), positive(columns)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, wants rows x columns, such as 72x96"
        ) from None


def _between(text: str, low: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= 10**9:
        raise argparse.ArgumentTypeError(f"got {text!r}, wants a whole number from {low} on")
    return value


def add_stop_after(parser: argparse.ArgumentParser) -> None:
    """Add `--stop-after`, of every verb that may work for long."""
    parser.add_argument(
        "--stop-after",
        metavar="MINUTES",
        type=minutes,
        help="stop cleanly when so much time is over (exit code 3); the same command goes on",
    )


def minutes(text: str) -> float:
    """A positive number of minutes, for `--stop-after`."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, wants minutes above 0 (such as 8 or 0.5)")
    return value
