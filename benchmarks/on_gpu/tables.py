"""From measurements to the tables that the package ships: tiles, and which implementation to take.

Rows for an architecture replace those that it had; others stay. Every row says what it rests on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench_kernels.choice import IMPLEMENTATIONS
from adbench_kernels.configs import LENGTHS, Tile, length_bucket

Row = Mapping[str, Any]
Document = Mapping[str, Any]

MASK_KINDS = {
    "causal": "causal", "window": "window", "episodes": "interval", "observations": "strided",
}  # fmt: skip
"""What the attention section times, as the table of choices calls it."""
TUNED_BYTES = 2


def tile_rows(document: Document) -> list[dict[str, Any]]:
    """A row of `configs.json` for each kernel, width and bucket: the fastest tile that was right.

    Args:
        document: what `benchmarks.tune` measured.
    """
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in document["rows"]:
        case = row["case"]
        groups.setdefault((case["kernel"], case["D"], case["bucket"]), []).append(row)
    found = []
    for (kernel, head_dim, bucket), rows in groups.items():
        timed = sorted((r for r in rows if r["status"] == "ok"), key=lambda r: r["median_ms"])
        if not timed:
            continue
        best = timed[0]
        where = document["sessions"][best["session"]]
        tile = {name: best["case"][name] for name in Tile._fields}
        if not tile["block_k"]:
            del tile["block_k"]
        said = f"{best['median_ms']:.4g} ms at T {best['case']['T']} on {_where(where)}"
        others = f"best of {len(timed)} tiles, {len(rows) - len(timed)} passed over"
        if len(timed) > 1:
            others += f", next {timed[1]['median_ms']:.4g} ms"
        found.append({
            "kernel": kernel, "arch": where["arch"], "head_dim": head_dim, "length": bucket,
            "dtype_bytes": TUNED_BYTES, **tile, "evidence": f"{said}; {others}",
        })  # fmt: skip
    return found


def choice_rows(documents: Mapping[str, Document]) -> list[dict[str, Any]]:
    """A row of `choice.json` for each operation, width, bucket and mask that was measured.

    Attention is judged forward and backward together, as training needs it. A bucket with several
    lengths takes the geometric mean over those at which every implementation was measured.

    Args:
        documents: of the sections "attention" and "patch_embed", by name.
    """
    medians: dict[tuple[str, str, int, str, str], dict[str, dict[int, float]]] = {}
    evidence: dict[str, str] = {}
    for section, document in documents.items():
        for row in document["rows"]:
            case = row["case"]
            name = case["implementation"]
            if row["status"] != "ok" or case["mode"] != "both" or name not in IMPLEMENTATIONS[1:]:
                continue
            where = document["sessions"][row["session"]]
            if section == "patch_embed":
                length, head_dim, mask = int(case.get("frames", 8192)), 0, "causal"
            else:
                length, head_dim, mask = case["T"], case["D"], MASK_KINDS[case["mask"]]
            key = (case["op"], where["arch"], head_dim, length_bucket(length), mask)
            medians.setdefault(key, {}).setdefault(name, {})[length] = row["median_ms"]
            evidence[where["arch"]] = _where(where)
    found = []
    for (op, arch, head_dim, bucket, mask), by_name in medians.items():
        shared = set.intersection(*(set(lengths) for lengths in by_name.values()))
        if len(by_name) < 2 or not shared:
            continue
        found.append({
            "op": op, "arch": arch, "head_dim": head_dim, "length": bucket, "mask": mask,
            "median_ms": {name: _mean([at[n] for n in shared]) for name, at in by_name.items()},
            "evidence": f"forward and backward at T {', '.join(map(str, sorted(shared)))}; "
                        f"{evidence[arch]}",
        })  # fmt: skip
    return found


def merge(path: Path, rows: Sequence[Row], key: Sequence[str]) -> int:
    """Put rows into a table in the place of those with an equal key; returns how many.

    Args:
        path: of the table.
        rows: new ones.
        key: names of the fields that tell rows apart.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    table = {tuple(row[name] for name in key): row for row in document["rows"]}
    table.update({tuple(row[name] for name in key): dict(row) for row in rows})
    ranks = {name: rank for rank, name in enumerate(LENGTHS)}

    def place(row: Row) -> tuple[str, ...]:
        return tuple(str(ranks.get(row[n], row[n]) if n == "length" else row[n]).zfill(4)
                     for n in key)  # fmt: skip

    lines = ",\n".join("    " + json.dumps(row) for row in sorted(table.values(), key=place))
    body = f'  "rows": [\n{lines}\n  ]' if lines else '  "rows": []'
    beside = path.with_suffix(".tmp")
    beside.write_text(f'{{\n  "schema": {document["schema"]},\n{body}\n}}\n', encoding="utf-8")
    beside.replace(path)
    return len(rows)


def _mean(values: Sequence[float]) -> float:
    return round(math.exp(sum(math.log(value) for value in values) / len(values)), 6)


def _where(session: Mapping[str, Any]) -> str:
    said = f"{session['device']}, torch {session['torch']}, Triton {session['triton']}"
    return f"{said}, commit {str(session.get('commit'))[:12]}"
