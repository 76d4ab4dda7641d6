"""A run's folder: where things lie, whose it is, and how files come into it whole.

    DIR/config.toml                                       the run, fully resolved
    DIR/histories/seed-S/                                 shards and their manifest
    DIR/checkpoints/seed-S/METHOD/                        trained weights
    DIR/evaluations/seed-S/TESTSET/METHOD.safetensors     roll-outs, one file each
    DIR/evaluations/seed-S/TESTSET/ad.trace.safetensors   some lanes of AD, state by state
    DIR/metrics.jsonl  results.json  report.html  figures/
    DIR/start.json  seconds.json  memory.json             how it was begun; time and memory it took

One process at a time works in it: it holds `flock` on `.lock`, which the system lets go of when the
process dies, however it dies.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adbench import toml
from adbench.config import Config, RunConfig
from adbench.errors import ConfigError, FolderInUseError, RunFolderError

CONFIG, LOCK = "config.toml", ".lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class RunFolder:
    """One run's folder and its configuration.

    Args:
        path: the folder.
        config: what is in its `config.toml`.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config
        self.metrics = path / "metrics.jsonl"
        self.results = path / "results.json"
        self.report = path / "report.html"
        self.seconds = path / "seconds.json"
        self.memory = path / "memory.json"
        self.start = path / "start.json"
        self.crash = path / "crash.txt"

    @classmethod
    def read(cls, path: Path) -> RunFolder:
        """An existing folder.

        Raises:
            RunFolderError: there is none, or its `config.toml` is damaged or not whole.
        """
        if not (path / CONFIG).is_file():
            raise RunFolderError(
                f"{path} is no run's folder: it has no {CONFIG}. "
                f"`adbench run ENV --out {path}` starts a run there."
            )
        try:
            config = RunConfig.parse(toml.load(path / CONFIG), where=str(path / CONFIG))
        except ConfigError as error:
            raise RunFolderError(f"{error} Restore the file, or start anew elsewhere.") from None
        missing = toml.left_out(RunConfig, path / CONFIG)
        if missing:
            raise RunFolderError(
                f"{path / CONFIG} is not whole: it lacks {', '.join(missing)}. A run names every "
                "field in it. Restore the file, or start anew elsewhere."
            )
        return cls(path, config)

    @classmethod
    def open(cls, path: Path, config: RunConfig) -> RunFolder:
        """The folder of this very run: a new one, or one begun with the same configuration.

        Raises:
            RunFolderError: it holds another run (the differing fields are named) or other files,
                or cannot be made.
        """
        if (path / CONFIG).exists():
            folder = cls.read(path)
            folder.must_hold(config)
            return folder
        if path.is_dir():
            # What a process killed in its first moments leaves behind is not somebody's work.
            ours = {LOCK, CONFIG + ".tmp", "crash.txt"}
            others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
            if others:
                raise RunFolderError(
                    f"{path} is not empty and no run's folder (it holds {', '.join(others[:3])}"
                    f"{', ...' if len(others) > 3 else ''}). Choose another --out."
                )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be made: {error.strerror or error}.") from None
        return cls(path, config)

    def must_hold(self, config: RunConfig) -> None:
        """Refuse a configuration that is not this folder's.

        Raises:
            RunFolderError: names every field that differs, with both values.
        """
        different = differences(self.config, config)
        if different:
            lines = [
                f"  {name}: it has {old!r}, you asked for {new!r}" for name, old, new in different
            ]
            raise RunFolderError(
                f"{self.path} holds a run of another configuration:\n"
                + "\n".join(lines)
                + "\nChoose another --out, or ask for what it has."
            )

    def settle(self) -> None:
        """Write `config.toml`; where another process was quicker, check that it meant the same run.

        Call it while the folder is held (`locked`).
        """
        if (self.path / CONFIG).exists():
            type(self).read(self.path).must_hold(self.config)
        else:
            write_text(self.path / CONFIG, toml.dumps(self.config))

    def begun(self) -> dict[str, Any]:
        """How the run was begun, as its first process noted; empty if that isn't known."""
        try:
            told = json.loads(self.start.read_text())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def histories(self, seed: int) -> Path:
        """Where the learning histories of a seed are."""
        return self.path / "histories" / f"seed-{seed}"

    def checkpoints(self, seed: int, method: str) -> Path:
        """Where the checkpoints of a trained method are."""
        return self.path / "checkpoints" / f"seed-{seed}" / method

    def evaluation(self, seed: int, test_set: str, method: str) -> Path:
        """The file of one method's roll-outs on one test set."""
        if not _NAME.fullmatch(test_set):
            # A family from a plug-in names its test sets; none of them may walk out of the folder.
            raise RunFolderError(
                f"the test set {test_set!r} cannot name a folder; use letters, digits, - and _."
            )
        return self.path / "evaluations" / f"seed-{seed}" / test_set / f"{method}.safetensors"

    def trace(self, seed: int, test_set: str, method: str) -> Path:
        """The file of the states that some lanes of a method went through."""
        return self.evaluation(seed, test_set, method).with_suffix(".trace.safetensors")

    def source_choice(self, seed: int) -> Path:
        """The settings that `source-best` was given, chosen on validation tasks."""
        return self.path / "evaluations" / f"seed-{seed}" / "source-best.json"

    def sweep_choice(self, seed: int) -> Path:
        """The actions of `sweep`, chosen on training tasks."""
        return self.path / "evaluations" / f"seed-{seed}" / "sweep.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            FolderInUseError: another process holds it; its pid, host and start are in the message.
            RunFolderError: it cannot be written or locked.
        """
        with held(self.path):
            yield


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a folder for this process, by the lock file in it.

    Args:
        path: a folder that is there.

    Raises:
        FolderInUseError: another process holds it; its pid, host and start are in the message.
        RunFolderError: it cannot be written or locked.
    """
    try:
        file = (path / LOCK).open("a+")
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FolderInUseError(
                f"{path} is in use by {_holder(file.read())}. Wait for it, or stop it."
            ) from None
        except OSError as error:
            raise RunFolderError(
                f"{path} cannot be locked: {error.strerror or error}. "
                "Some network file systems have no locks; use a local disk."
            ) from None
        started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        file.truncate(0)
        file.write(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started})
        )
        file.flush()
        yield


def _holder(record: str) -> str:
    try:
        told = json.loads(record)
        return f"process {told['pid']} on {told['host']}, since {told['started']}"
    except (ValueError, TypeError, KeyError):  # it has the lock and did not yet say who it is
        return "another process that has just started"


def differences(old: Config, new: Config, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two configurations of one kind differ: (dotted name, old, new)."""
    found: list[tuple[str, Any, Any]] = []
    for name in type(old).model_fields:
        a, b = getattr(old, name), getattr(new, name)
        if isinstance(a, Config) and isinstance(b, Config):
            found += differences(a, b, f"{prefix}{name}.")
        elif isinstance(a, dict) and isinstance(b, dict):
            keys = [*a, *(key for key in b if key not in a)]
            found += [
                (f"{prefix}{name}.{key}", a.get(key), b.get(key))
                for key in keys
                if a.get(key) != b.get(key)
            ]
        elif a != b:
            found.append((f"{prefix}{name}", a, b))
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside it, to the disk, then renamed over it."""
    beside = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with beside.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunFolderError(f"{path} cannot be written: {error.strerror or error}.") from None
