"""The committed facts, one file a Triton version: `golden/triton-3.9.0.json`."""

from __future__ import annotations

import json
from pathlib import Path

from compile_gate.binary import Facts

FOLDER = Path(__file__).parent / "golden"
_KEPT = ("registers", "instructions", "shared_bytes", "warps")

Table = dict[str, dict[str, Facts]]
"""Target name -> "job/kernel" -> facts."""


def path(version: str) -> Path:
    """Where the facts of that Triton version are, or would be."""
    return FOLDER / f"triton-{version}.json"


def load(version: str) -> Table | None:
    """The committed facts; none: there are none for that version."""
    if not path(version).exists():
        return None
    document = json.loads(path(version).read_text(encoding="utf-8"))
    return {
        target: {key: Facts(**dict(zip(_KEPT, row, strict=True))) for key, row in rows.items()}
        for target, rows in document["facts"].items()
    }


def save(version: str, table: Table) -> None:
    """Write the facts, one line a kernel so that a change of one reads as one."""
    lines = []
    for target, rows in table.items():
        inner = ",\n".join(
            f"      {json.dumps(key)}: {json.dumps([getattr(facts, name) for name in _KEPT])}"
            for key, facts in sorted(rows.items())
        )
        lines.append(f"    {json.dumps(target)}: {{\n{inner}\n    }}")
    head = f'  "triton": {json.dumps(version)},\n  "fields": {json.dumps(_KEPT)},\n'
    text = "{\n" + head + '  "facts": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    path(version).write_text(text, encoding="utf-8")
