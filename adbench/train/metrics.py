"""`metrics.jsonl`: one line now and then about how training goes, for every method and seed of a
run.

A resumed training first drops its own lines that are newer than the checkpoint it goes on from, so
that no update is told twice; lines of other trainings stay.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from adbench.loggers import Listen


class MetricsLog:
    """The lines of one training in a file that several share, one after the other.

    Args:
        path: the file; made when the first line is written.
        method: whose lines ("ad").
        seed: the run's seed.
        listen: hears every line, too; none: nobody does.
    """

    def __init__(self, path: Path, *, method: str, seed: int, listen: Listen | None = None) -> None:
        self.path = path
        self.whose = {"method": method, "seed": seed}
        self._method, self._seed, self._listen = method, seed, listen

    def rewind(self, update: int) -> None:
        """Drop this training's lines after `update`, and whatever a killed process left
        unfinished."""
        if not self.path.exists():
            return
        lines = self.path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if self._stays(line, update)]
        if kept != lines:
            part = self.path.with_name(self.path.name + ".tmp")
            part.write_bytes(b"".join(kept))
            os.replace(part, self.path)

    def write(self, *, update: int, **values: Any) -> None:
        """Append one line; `values` are JSON values."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**self.whose, "update": update, **values}, allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._listen is not None:
            self._listen(self._method, self._seed, update, values)

    def _stays(self, line: bytes, update: int) -> bool:
        if not line.endswith(b"\n"):
            return False
        try:
            record = json.loads(line)
            ours = all(record.get(name) == value for name, value in self.whose.items())
            return not ours or record["update"] <= update
        except (ValueError, AttributeError, KeyError, TypeError):
            return False
