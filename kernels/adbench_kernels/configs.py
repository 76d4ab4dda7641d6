"""Which tile a Triton kernel runs with: a committed table, looked up in plain Python.

The rows lie in `configs.json` beside this file; `make tune` writes them from what it measured.
Nothing is tuned while a program runs: a length never seen before costs no search, and a kernel
can be captured in a CUDA graph at its first call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, NamedTuple

KERNELS = (
    "attention_forward",
    "attention_dkdv",
    "attention_dq",
    "attention_short_backward",
    "ring_decode",
    "ring_combine",
    "ring_append",
    "patch_forward",
    "patch_wgrad",
    "rotate",
    "raycast",
    "raycast_multisampled",
)
"""Every kernel that asks for a tile."""

ANY = "any"
"""In a row: for every architecture, or for every length."""

HEAD_DIMS = (16, 32, 64, 128)
"""Head widths that rows exist for; others take the next wider one. 0: a kernel without heads."""

LENGTHS = {"<=128": 128, "<=512": 512, "<=2k": 2048, ">2k": None}
"""Length buckets, from short to long, with the longest length of each."""

SCHEMA = 1


class Tile(NamedTuple):
    """How much one program computes, and with what.

    Attributes:
        block_m: rows; in attention queries, in `ring_decode` the least number of query rows, in
            frames rows of pixels.
        block_n: columns; in attention keys, in frames columns of pixels.
        num_warps: warps a program.
        num_stages: loads in flight, in tiles.
        block_k: elements of the inner sum at a time; 0 where a kernel takes all of them at once.
    """

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    block_k: int = 0


_Key = tuple[str, str, int, str, int]


def length_bucket(length: int) -> str:
    """The bucket of a number of keys (or of frames), one of `LENGTHS`."""
    if length <= 128:
        return "<=128"
    if length <= 512:
        return "<=512"
    return "<=2k" if length <= 2048 else ">2k"


def tile(kernel: str, *, arch: str, head_dim: int, length: int, dtype_bytes: int) -> Tile:
    """The tile of one launch.

    Rows for the architecture and the length come first, then rows for the architecture and any
    length, then those for any architecture, which fit every GPU.

    Args:
        kernel: one of `KERNELS`.
        arch: what `adbench_kernels.choice.arch` says.
        head_dim: D, elements; 0 for a kernel without heads.
        length: keys a row; for patches, frames.
        dtype_bytes: bytes of an input element; below 4: a 16-bit type.

    Raises:
        ValueError: names the argument.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel: no kernel named {kernel!r}; known: {', '.join(KERNELS)}")
    if kernel in _OVERRIDDEN:
        return _OVERRIDDEN[kernel]
    width = _table_width(head_dim)
    size = 2 if dtype_bytes <= 2 else 4
    for a in (arch, ANY):
        for bucket in (length_bucket(length), ANY):
            found = _TABLE.get((kernel, a, width, bucket, size))
            if found is not None:
                return found
    raise ValueError(
        f"kernel: {kernel!r} has no tile for head_dim {head_dim} and {dtype_bytes}-byte elements"
    )


def has_rows(arch: str) -> bool:
    """Whether any tile was chosen for this architecture; if not, the safe ones are used."""
    return any(key[1] == arch for key in _TABLE)


@contextmanager
def override(kernel: str, tile: Tile) -> Iterator[None]:
    """Run one kernel with another tile, whatever the table says (for tuning and tests).

    Raises:
        ValueError: names the argument.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel: no kernel named {kernel!r}; known: {', '.join(KERNELS)}")
    before = _OVERRIDDEN.get(kernel)
    _OVERRIDDEN[kernel] = tile
    try:
        yield
    finally:
        if before is None:
            del _OVERRIDDEN[kernel]
        else:
            _OVERRIDDEN[kernel] = before


def _table_width(head_dim: int) -> int:
    if head_dim == 0:
        return 0
    for width in HEAD_DIMS:
        if head_dim <= width:
            return width
    raise ValueError(f"head_dim: tiles exist up to {HEAD_DIMS[-1]}; got {head_dim}")


def parse(document: Mapping[str, Any]) -> dict[_Key, Tile]:
    """The rows of a table as a dictionary.

    Args:
        document: `configs.json`, read.

    Raises:
        ValueError: says which row is wrong, and how.
    """
    if document.get("schema") != SCHEMA:
        raise ValueError(f"schema: must be {SCHEMA}; got {document.get('schema')!r}")
    table: dict[_Key, Tile] = {}
    for number, row in enumerate(document["rows"], start=1):
        key = (row["kernel"], row["arch"], row["head_dim"], row["length"], row["dtype_bytes"])
        if row["kernel"] not in KERNELS:
            raise ValueError(f"rows: row {number} names no kernel: {row['kernel']!r}")
        if row["length"] != ANY and row["length"] not in LENGTHS:
            raise ValueError(f"rows: row {number} names no length bucket: {row['length']!r}")
        if key in table:
            raise ValueError(f"rows: row {number} repeats {key}")
        table[key] = Tile(
            row["block_m"],
            row["block_n"],
            row["num_warps"],
            row["num_stages"],
            row.get("block_k", 0),
        )
    return table


_OVERRIDDEN: dict[str, Tile] = {}
_TABLE = parse(json.loads((files(__package__) / "configs.json").read_text(encoding="utf-8")))
