"""`adbench plugins`: which package brought what, what is broken, why, and what to do about it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from adbench import plugins
from adbench.commands.arguments import Parser
from adbench.commands.list import problem


def main(arguments: list[str]) -> int:
    """Load every plug-in and print how that went; 1 if one is broken."""
    parser = Parser(
        "plugins",
        "Load every registered environment, source, preset and logger; say what is broken and why. "
        f"{plugins.DISABLE}=1 leaves other packages' plug-ins out, =NAME,NAME those of some.",
        examples=("adbench plugins", "adbench plugins --json"),
    )
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")
    asked = parser.read(arguments)

    rows = [
        {**asdict(entry), "error": problem(entry, load_own=True)}
        for group in plugins.GROUPS
        for entry in plugins.scan(group)
    ]
    broken = [row for row in rows if row["error"]]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return 1 if broken else 0
    for distribution, version in sorted({(row["distribution"], row["version"]) for row in rows}):
        print(f"{distribution} {version}")
        brought = [row for row in rows if row["distribution"] == distribution]
        width = max(len(row["name"]) for row in brought)
        for row in brought:
            mark = "BROKEN" if row["error"] else "ok    "
            kind = row["group"].partition(".")[2]
            print(f"  {mark}  {kind:7}  {row['name']:{width}}  {row['value']}")
    print()
    for error in dict.fromkeys(row["error"] for row in broken):
        print(error)
    hidden = os.environ.get(plugins.DISABLE)
    if hidden:
        print(f"{plugins.DISABLE}={hidden} hides plug-ins.", file=sys.stderr)
    print(f"{len(rows)} plug-ins, {len(broken)} broken.", file=sys.stderr)
    return 1 if broken else 0
