"""Reading a verb's arguments: `argparse`, whose complaints become errors of ours."""

from __future__ import annotations

import argparse
import difflib
from typing import NoReturn

from adbench.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` instead of ending the program.

    Args:
        verb: the word after `adbench`.
        summary: what it does, one or two sentences.
        examples: command lines worth copying.
        usage: replaces the usage line that argparse makes up.
    """

    def __init__(
        self, verb: str, summary: str, *, examples: tuple[str, ...] = (), usage: str | None = None
    ) -> None:
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

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """The arguments by name; unknown ones are answered with the nearest known.

        Raises:
            UsageError: something is missing, unknown or of the wrong type.
        """
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].split("=")[0]
            near = difflib.get_close_matches(name, self.options(), n=1) if name[:1] == "-" else []
            self.error(
                f"unexpected argument {unknown[0]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return found


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


def minutes(text: str) -> float:
    """A positive number of minutes, for `--stop-after`."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, wants minutes above 0 (such as 8 or 0.5)")
    return value
