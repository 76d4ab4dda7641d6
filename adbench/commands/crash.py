"""What is said and kept when adbench is at fault: two lines on stderr, the rest in a file."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Sequence
from pathlib import Path

from adbench import plugins
from adbench.cli import command_line


def explain(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback to `crash.txt` in the run's folder (or a temporary file); say where.

    Args:
        error: what nobody expected.
        arguments: the command line, which is kept with it and tells the folder.
    """
    what = f"{type(error).__name__}: {error}".strip().splitlines()[0][:300]
    report = "\n".join(
        [
            command_line(*arguments),
            f"Python {platform.python_version()}, {platform.platform()}",
            *(f"{name} {version}" for name, version in _versions().items()),
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    place = _write(report, arguments)
    kept = f"The details are in {place}; please" if place else f"{report}\nPlease"
    entry = plugins.blame(error)
    whose = (
        f"an error in {entry.distribution} {entry.version}"
        if entry
        else "an error of adbench's own"
    )
    tell = f"tell the authors of {entry.distribution}" if entry else "report it"
    said = (
        f"adbench: {whose}, not of yours: {what}\n"
        f"{kept} {tell}. What was finished before is kept; the same command goes on from there."
    )
    world = _foreign_environment(arguments)
    if world is None:
        return said
    return (
        f"{said}\nOr the environment {world.name!r} of {world.distribution} {world.version} breaks "
        f"the contract: `adbench check-env {world.name}` tells."
    )


def _write(report: str, arguments: Sequence[str]) -> Path | None:
    for folder in (*_folders(arguments), Path(tempfile.gettempdir())):
        try:
            if folder != Path(tempfile.gettempdir()):
                place = folder / "crash.txt"
                place.write_text(report)
                return place
            number, name = tempfile.mkstemp(prefix="adbench-crash-", suffix=".txt")
            with os.fdopen(number, "w") as file:
                file.write(report)
            return Path(name)
        except OSError:
            continue
    return None


def _folders(arguments: Sequence[str]) -> list[Path]:
    """Run folders that a command line names: after --out, or as a word of its own."""
    named = [word.removeprefix("--out=") for word in arguments if not word.startswith("-")]
    named += [word.removeprefix("--out=") for word in arguments if word.startswith("--out=")]
    return [Path(name) for name in named if Path(name, "config.toml").is_file()]


def _foreign_environment(arguments: Sequence[str]) -> plugins.PluginEntry | None:
    """The environment of the run that the command line is about, if another package brought it."""
    names = list(arguments[1:2])
    for folder in _folders(arguments):
        with contextlib.suppress(OSError, ValueError):
            names.append(tomllib.loads((folder / "config.toml").read_text()).get("env", ""))
    found = [entry for entry in plugins.scan(plugins.ENVS) if entry.name in names]
    return found[0] if len(found) == 1 and not found[0].own else None


def _versions() -> dict[str, str]:
    loaded = {
        name: getattr(sys.modules.get(name), "__version__", None) for name in ("torch", "numpy")
    }
    return {name: str(version) for name, version in loaded.items() if version}
