"""Loggers: who else hears of every line that `metrics.jsonl` gets.

    adbench run dark-room --out runs/first --log tensorboard

A logger comes in by the entry-point group `adbench.loggers`, ours and anybody's. It is no part of a
run: no configuration names it, nothing that it does changes an outcome, and one that fails is
dropped with a warning while the training goes on. docs/loggers.md is the guide.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adbench import plugins
from adbench.errors import AdbenchError, PluginError

if TYPE_CHECKING:
    from adbench.config import RunConfig

Listen = Callable[[str, int, int, Mapping[str, Any]], None]
"""Hears a line: the method, the seed, the update, and what else the line holds."""


class Logger(Protocol):
    """What an entry point of `adbench.loggers` makes when it is called without arguments.

    It is made before a run begins, and whatever it raises then refuses the command: the place to
    miss a package. Afterwards nothing that it raises stops the run.
    """

    def start(self, config: RunConfig, folder: Path) -> None:
        """A run begins, or goes on.

        Args:
            config: the run's, fully resolved.
            folder: the run's; what the logger writes there lies in a folder of its own name.
        """

    def log(self, method: str, seed: int, update: int, values: Mapping[str, Any]) -> None:
        """A line of `metrics.jsonl`.

        A training that was killed goes on from its last checkpoint, so its next line may be of an
        update that was heard of before; the later one counts.

        Args:
            method: whose training ("ad").
            seed: the run's seed.
            update: gradient updates done.
            values: the line's other fields ("loss", "tokens_per_second", ...), numbers.
        """

    def finish(self) -> None:
        """The command ends, be the run finished or not."""


class Loggers:
    """Several loggers as one that never fails.

    Args:
        loggers: by the name that they were asked for.
    """

    def __init__(self, loggers: Mapping[str, Logger] | None = None) -> None:
        self._loggers = dict(loggers or {})

    @contextmanager
    def following(self, config: RunConfig, folder: Path) -> Iterator[Listen | None]:
        """Start them, give what hands lines to them (none: nobody listens), and finish them.

        Those that failed are not finished; the others are, however the inside ends.
        """
        self._tell("start", lambda logger: logger.start(config, folder))
        try:
            yield self._log if self._loggers else None
        finally:
            self._tell("finish", lambda logger: logger.finish())

    def _log(self, method: str, seed: int, update: int, values: Mapping[str, Any]) -> None:
        self._tell("log", lambda logger: logger.log(method, seed, update, dict(values)))

    def _tell(self, what: str, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self._loggers.items()):
            try:
                call(logger)
            except (Exception, SystemExit) as error:  # a stranger's code beside hours of training
                del self._loggers[name]
                warnings.warn(
                    f"the logger {name!r} failed in {what}(): {type(error).__name__}: {error}. It "
                    "is told nothing more; the run goes on, and metrics.jsonl has every line.",
                    RuntimeWarning,
                    stacklevel=4,
                )


def make(names: Sequence[str]) -> Loggers:
    """Loggers by the names that they are registered under; nothing is started yet.

    Raises:
        UnknownNameError: nobody registers one of them.
        UsageError: one of ours lacks its package; the line that installs it is named.
        PluginError: another package's is broken.
    """
    return Loggers({name: _made(name) for name in names})


def _made(name: str) -> Logger:
    entry, value = plugins.find(plugins.LOGGERS, name), plugins.load(plugins.LOGGERS, name)
    if not callable(value):
        raise PluginError(
            f"the logger {entry} cannot be used: it gave a {type(value).__name__}, not a class or "
            "a function that makes a logger."
        )
    try:
        logger = value()
    except AdbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the logger {entry} cannot be used: {type(error).__name__}: {error}. "
            "Leave it out of --log, or ask its authors."
        ) from error
    lacking = [name for name in ("start", "log", "finish") if not hasattr(logger, name)]
    if lacking:
        raise PluginError(
            f"the logger {entry} cannot be used: it has no {', '.join(lacking)}. "
            "adbench.loggers.Logger says what a logger has."
        )
    made: Logger = logger
    return made
