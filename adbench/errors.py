"""Errors that a user can cause. Each says what, what it got, what it wanted, and what to do.

`exit_code` is what the command line returns for it: 2 where the question was wrong, 1 where the
work failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdbenchError(Exception):
    """Base of every error that adbench raises on purpose."""

    exit_code = 1


class UsageError(AdbenchError):
    """The request itself cannot be carried out as it was put."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that nothing answers to; the message offers the nearest ones."""


class ConfigError(UsageError):
    """A configuration field is unknown, of a wrong type or out of range."""


class PluginError(AdbenchError):
    """An entry point could not be loaded, clashes with another or breaks its contract."""

    exit_code = 2


class ContractError(AdbenchError):
    """An environment or a source does not keep the contract that it signed up to."""


class HistoryError(AdbenchError):
    """A history folder, manifest or shard is missing, damaged, altered or of another kind."""


class CheckpointError(AdbenchError):
    """A checkpoint is missing, damaged or of another configuration."""


class TrainingError(AdbenchError):
    """Training cannot go on: the loss is not a number, or there is nothing to learn from."""


class RunFolderError(UsageError):
    """A run's folder is held by another process, of another config or not a run's folder."""


class FolderInUseError(RunFolderError):
    """Another process works in the folder at this moment."""


class ResourceError(AdbenchError):
    """The machine has not enough disk or memory for a stage; nothing was started."""


class ResultsError(AdbenchError):
    """A results file is missing, damaged or of another schema."""


class PerfError(UsageError):
    """A benchmark file is missing, damaged, of another schema, or not to be compared."""


class Stopped(AdbenchError):
    """A stage stopped at a checkpoint because its time was up; the same command goes on."""

    exit_code = 3


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UnknownNameError:
    """The error for a name that nothing answers to.

    Args:
        kind: what was looked up, in words ("environment").
        name: what was asked for.
        known: every name that would have worked.
        hint: one more sentence on what to do.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    parts = [f"no {kind} named {name!r}."]
    if near:
        parts.append(f"Did you mean {' or '.join(repr(n) for n in near)}?")
    parts.append(f"Known: {', '.join(names) if names else 'none'}.")
    if hint:
        parts.append(hint)
    return UnknownNameError(" ".join(parts))
