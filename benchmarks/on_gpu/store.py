"""One JSON file a section: written after every measurement, read to go on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
MOST_FILES = 12
"""Result files that a folder may hold."""

_SAME_MACHINE = ("device", "arch", "torch", "triton", "smoke")
"""What must be equal for measurements to stand in one file; a driver may differ."""


class OtherMachineError(Exception):
    """A result file holds measurements of another machine or other versions."""


class Store:
    """The measurements of a section.

    Args:
        path: of the JSON file; it need not exist.
        section: its name.
        machine: what `card.machine` says now; recorded with the first new row.

    Raises:
        OtherMachineError: the file was measured elsewhere.
    """

    def __init__(self, path: Path, section: str, machine: Mapping[str, Any]) -> None:
        self.path = path
        self._machine = dict(machine)
        self._session: int | None = None
        self.document = read(path) or {"schema": SCHEMA, "section": section}
        self.document.setdefault("sessions", [])
        self.document.setdefault("rows", [])
        for session in self.document["sessions"]:
            differs = [n for n in _SAME_MACHINE if session.get(n) != self._machine.get(n)]
            if differs:
                was = ", ".join(f"{name} {session.get(name)}" for name in differs)
                here = ", ".join(f"{name} {self._machine.get(name)}" for name in differs)
                raise OtherMachineError(
                    f"{path} was measured with {was}; here it is {here}. Name another folder with "
                    "--out, or start this section anew with --fresh."
                )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Everything measured so far."""
        rows: list[dict[str, Any]] = self.document["rows"]
        return rows

    def has(self, key: Mapping[str, Any], source: str) -> bool:
        """Whether a case was measured with these sources."""
        row = self._row(key)
        return row is not None and row["source"] == source

    def put(self, key: Mapping[str, Any], source: str, found: Mapping[str, Any]) -> None:
        """Add a measurement, or put it in the place of an older one, and write the file."""
        if self._session is None:
            self.document["sessions"].append(self._machine)
            self._session = len(self.document["sessions"]) - 1
        row = {"case": dict(key), **found, "source": source, "session": self._session}
        old = self._row(key)
        if old is None:
            self.rows.append(row)
        else:
            self.rows[self.rows.index(old)] = row
        self.write()

    def write(self) -> None:
        """Write the file whole, beside and then over the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        others = [f for f in self.path.parent.glob("*.json") if f != self.path]
        if len(others) >= MOST_FILES:
            raise ValueError(
                f"{self.path.parent} holds {len(others)} result files; at most {MOST_FILES}"
            )
        beside = self.path.with_suffix(".tmp")
        beside.write_text(_lines(self.document), encoding="utf-8")
        os.replace(beside, self.path)

    def _row(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        wanted = dict(key)
        return next((row for row in self.rows if row["case"] == wanted), None)


def read(path: Path) -> dict[str, Any] | None:
    """A result file, none if there is none.

    Raises:
        ValueError: it is not one of ours, or of another schema.
    """
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"{path}: not a result file of schema {SCHEMA}")
    return document


def _lines(document: Mapping[str, Any]) -> str:
    """JSON with a line a row, so that a change reads well in a diff."""
    head = {name: value for name, value in document.items() if name != "rows"}
    text = json.dumps(head, indent=1)[:-2]
    rows = ",\n".join("  " + json.dumps(row) for row in document["rows"])
    return f'{text},\n "rows": [\n{rows}\n ]\n}}\n' if rows else f'{text},\n "rows": []\n}}\n'
