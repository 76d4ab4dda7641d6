"""`adbench list`: environments, sources, presets and loggers there are, whoever brought them.

Our own entries are not imported for it, which keeps it quick; other packages' are, so that one that
is broken is said here and not only when a run asks for it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from functools import partial

from adbench import describe, plugins
from adbench.commands.arguments import Parser
from adbench.errors import AdbenchError
from adbench.plugins import PluginEntry

_TITLES = {
    plugins.ENVS: "environments",
    plugins.SOURCES: "sources",
    plugins.PRESETS: "presets",
    plugins.LOGGERS: "loggers (run --log NAME)",
}


def main(arguments: list[str]) -> int:
    """Print what there is; 0, even where something is broken (`adbench plugins` judges that)."""
    parser = Parser(
        "list",
        "What there is to run: environments, sources (the learners that are distilled), presets,\n"
        "and loggers, which hear how training goes.",
        examples=("adbench list", "adbench list envs", "adbench list --json"),
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=[group.partition(".")[2] for group in plugins.GROUPS],
        help="only these; all by default",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.read(arguments)

    groups = [g for g in plugins.GROUPS if asked.what is None or g.endswith(f".{asked.what}")]
    found = {group: [_record(entry) for entry in plugins.scan(group)] for group in groups}
    if asked.json:
        print(
            json.dumps({group.partition(".")[2]: rows for group, rows in found.items()}, indent=2)
        )
        return 0
    for group, rows in found.items():
        _show(_TITLES[group], rows)
    broken = sum(row["error"] is not None for rows in found.values() for row in rows)
    if broken:
        print(f"{broken} broken: `adbench plugins` says why and what to do.", file=sys.stderr)
    return 0


def _record(entry: PluginEntry) -> dict[str, str | list[str] | None]:
    record: dict[str, str | list[str] | None] = {
        "name": entry.name,
        "description": describe.one_line(entry.value),
        "distribution": entry.distribution,
        "version": entry.version,
        "error": problem(entry, load_own=False),
    }
    if entry.group == plugins.ENVS:
        record["presets"] = list(plugins.preset_names(entry.name))
    return record


def problem(entry: PluginEntry, *, load_own: bool) -> str | None:
    """Why an entry cannot be used, None if it can.

    Args:
        entry: what to look at; it is imported, unless it is our own and `load_own` is False.
        load_own: import our own too.
    """
    if entry.error or (entry.own and not load_own):
        return entry.error
    resolve: dict[str, Callable[[str], object]] = {
        plugins.ENVS: plugins.family,
        plugins.SOURCES: plugins.source,
        plugins.PRESETS: plugins.registered_preset,
        plugins.LOGGERS: partial(plugins.load, plugins.LOGGERS),
    }
    try:
        resolve[entry.group](entry.name)
    except AdbenchError as error:
        return str(error)
    return None


def _show(title: str, rows: list[dict[str, str | list[str] | None]]) -> None:
    print(title)
    width = max((len(str(row["name"])) for row in rows), default=0)
    room = shutil.get_terminal_size().columns - width - 6 if sys.stdout.isatty() else 0
    for who in dict.fromkeys(f"{row['distribution']} {row['version']}" for row in rows):
        print(f"  {who}")
        for row in rows:
            if f"{row['distribution']} {row['version']}" == who:
                what = "BROKEN" if row["error"] else str(row["description"])
                if len(what) > room > 20:
                    what = what[: room - 3].rstrip(" ,;:.") + "..."
                print(f"    {row['name']:{width}}  {what}".rstrip())
    if not rows:
        print("  none")
    if title == "environments" and rows:
        print(
            "  Each has the presets smoke, quick, paper: adbench run NAME --preset smoke --out DIR"
        )
    print()
