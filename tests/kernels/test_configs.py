"""The table of tiles: what is found, what is refused, what an unknown GPU gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adbench_kernels import configs
from adbench_kernels.configs import HEAD_DIMS, KERNELS, LENGTHS, Tile, override, parse, tile

ELEMENTS = {"head_dim": 64, "length": 1000, "dtype_bytes": 2}
HEADLESS = ("patch_forward", "patch_wgrad", "raycast", "raycast_multisampled")
NARROW = {"block_m": 16, "block_n": 16, "num_warps": 1, "num_stages": 1}


def row(**changed: Any) -> dict[str, Any]:
    named = {"kernel": "rotate", "arch": "any", "head_dim": 64, "length": "any", "dtype_bytes": 2}
    return {**named, **NARROW, **changed}


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_unknown_gpu_gets_a_tile_for_every_kernel_width_length_and_type(kernel: str) -> None:
    for head_dim in (0,) if kernel in HEADLESS else (1, *HEAD_DIMS):
        for dtype_bytes in (2, 4):
            for length in (1, 128, 129, 100_000):
                found = tile(
                    kernel, arch="sm_75", head_dim=head_dim, length=length, dtype_bytes=dtype_bytes
                )
                assert found.num_warps in (1, 2, 4, 8) and found.num_stages >= 1
                assert all(size & (size - 1) == 0 for size in (found.block_m, found.block_n))


def test_the_nearest_row_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row(block_m=1),
        row(arch="sm_90", block_m=2),
        row(arch="sm_90", length="<=2k", block_m=4),
        row(length="<=2k", block_m=8),
    ]
    monkeypatch.setattr(configs, "_TABLE", parse({"schema": 1, "rows": rows}))
    found = {
        (a, n): tile("rotate", arch=a, head_dim=64, length=n, dtype_bytes=2).block_m
        for a in ("sm_90", "sm_80")
        for n in (600, 60)
    }
    assert found == {("sm_90", 600): 4, ("sm_90", 60): 2, ("sm_80", 600): 8, ("sm_80", 60): 1}


def test_lengths_fall_into_buckets_at_their_bounds() -> None:
    found = [configs.length_bucket(n) for n in (1, 128, 129, 512, 513, 2048, 2049)]
    assert found == ["<=128"] * 2 + ["<=512"] * 2 + ["<=2k"] * 2 + [">2k"]
    assert set(found) == set(LENGTHS)


def test_an_override_holds_inside_its_block_only() -> None:
    before, other = tile("rotate", arch="x", **ELEMENTS), Tile(16, 16, 1, 1)
    with override("rotate", other):
        assert tile("rotate", arch="x", **ELEMENTS) == other
        with override("rotate", Tile(32, 32, 1, 1)):
            assert tile("rotate", arch="x", **ELEMENTS).block_m == 32
        assert tile("rotate", arch="x", **ELEMENTS) == other
    assert tile("rotate", arch="x", **ELEMENTS) == before


def test_what_has_no_tile_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kernel: no kernel named 'dance'"):
        tile("dance", arch="x", **ELEMENTS)
    with (
        pytest.raises(ValueError, match="kernel: no kernel named 'dance'"),
        override("dance", Tile(1, 1, 1, 1)),
    ):
        pass
    with pytest.raises(ValueError, match="head_dim: tiles exist up to 128; got 256"):
        tile("rotate", arch="x", head_dim=256, length=1, dtype_bytes=2)
    with pytest.raises(ValueError, match="patch_forward"):
        tile("patch_forward", arch="x", head_dim=16, length=1, dtype_bytes=2)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([row(), row()], "row 2 repeats"),
        ([row(kernel="dance")], "row 1 names no kernel"),
        ([row(length="<=3")], "row 1 names no length"),
    ],
)
def test_a_wrong_table_is_refused(rows: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse({"schema": 1, "rows": rows})


def test_every_row_says_where_its_tile_comes_from() -> None:
    document = json.loads((Path(configs.__file__).parent / "configs.json").read_text())
    assert all(r["evidence"].strip() for r in document["rows"])
