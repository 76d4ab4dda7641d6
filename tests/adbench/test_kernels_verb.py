"""`adbench kernels`: what runs here and why, for people and for programs."""

import json
from typing import Any

import pytest
import torch

from adbench.cli import main
from adbench.commands import kernels
from adbench_kernels import choice, configs, overview
from adbench_kernels.choice import IMPLEMENTATIONS, Choice, assume_arch
from adbench_kernels.configs import Tile

Told = pytest.CaptureFixture[str]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def survey(device: torch.device = CPU) -> dict[str, Any]:
    return kernels.survey(device)


@pytest.fixture(autouse=True)
def _nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver is asked for the name of a GPU that is not there."""
    monkeypatch.setattr(kernels, "_describe", str)


def test_it_prints_a_line_for_each_operation_and_what_is_missing(capsys: Told) -> None:
    assert main(["kernels", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for op in overview.PROVIDED:
        assert f"  {op} " in out
    assert "measured on CPUs" in out and "sdpa-cudnn" in out and "needs a CUDA device" in out


def test_json_holds_every_choice_with_its_reason(capsys: Told) -> None:
    assert main(["kernels", "--device", "cpu", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["arch"] in ("cpu", "interpreter") and record["versions"]["torch"]
    rows = {(r["op"], r["head_dim"], r["length"], r["mask"]) for r in record["choices"]}
    assert len(rows) == len(record["choices"])
    for mask in choice.MASKS:
        assert {
            ("attention", d, b, mask) for d in configs.HEAD_DIMS for b in configs.LENGTHS
        } <= rows
    for row in record["choices"]:
        known = ("sdpa", "attention", *record["implementations"][row["op"]]["available"])
        assert row["implementation"] in known and row["reason"]


def test_where_triton_is_absent_the_line_to_install_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_INSTALLED", frozenset())
    ring = survey()["implementations"]["ring_attention"]
    assert "pip install 'algorithm-distillation-bench[triton]'" in ring["missing"]["triton"]
    assert "pip install numba" in ring["missing"]["numba"]
    assert ring["available"] == ["reference"]


def test_an_unknown_gpu_gets_safe_tiles_and_a_line_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_INSTALLED", choice.OPTIONAL)
    with assume_arch("sm_75"):
        record = survey(GPU)
    assert any("sm_75 has no tiles of its own" in note for note in record["notes"])
    assert any("Nothing was measured on sm_75" in note for note in record["notes"])
    window = [r for r in record["choices"] if r["op"] == "attention" and r["mask"] == "window"]
    assert {r["implementation"] for r in window} == {"triton"}
    assert all("not measured on sm_75" in r["reason"] for r in window)


def test_the_table_shows_apart_what_fares_differently(
    monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.setattr(choice, "_INSTALLED", choice.OPTIONAL)
    key = ("attention", "sm_90", 64, "<=2k", "causal")
    found = (Choice("triton", "measured on sm_90: triton 1 ms"),)
    monkeypatch.setattr(choice, "_MEASURED", {key: found})
    with assume_arch("sm_90"):
        kernels._show(survey(GPU))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [
        "attention",
        "sm_90",
        "64",
        "<=2k",
        "causal",
        "triton",
        *found[0].reason.split(),
    ] in lines
    wide = [line for line in lines if line[:3] == ["attention", "sm_90", "any"]]
    assert wide and all(line[4].startswith("window") for line in wide)


def test_rotary_attention_is_offered_what_torch_has_for_plainly_causal_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choice, "_INSTALLED", choice.OPTIONAL)
    kinds = [(mask, d) for mask in ("causal", "window", "strided") for d in (32, 64)]
    found = tuple(Choice(name, f"measured: {name}") for name in ("sdpa-cudnn", "triton"))
    measured = {
        ("rotary_attention", "sm_90", d, "<=2k", mask): found for mask, d in kinds if d == 64
    }
    monkeypatch.setattr(choice, "_MEASURED", measured)
    with assume_arch("sm_90"):
        rows = survey(GPU)["choices"]
    taken = {
        (row["mask"], row["head_dim"]): row["implementation"]
        for row in rows
        if row["op"] == "rotary_attention" and row["length"] == "<=2k"
    }
    assert taken["causal", 64] == "sdpa-cudnn"
    assert [taken[kind] for kind in kinds if kind != ("causal", 64)] == ["triton"] * 5


def test_a_step_through_all_blocks_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_INSTALLED", choice.OPTIONAL)

    def row(device: torch.device) -> tuple[str, str]:
        rows = [r for r in survey(device)["choices"] if r["op"] == "TransformerStep"]
        assert len({(r["implementation"], r["reason"]) for r in rows}) == 1
        return rows[0]["implementation"], rows[0]["reason"]

    assert row(CPU) == ("numba", "measured on CPUs")
    with assume_arch("sm_90"):
        assert survey(GPU)["implementations"]["TransformerStep"] == {
            "available": ["reference"], "missing": {"numba": "runs on the CPU only"},
        }  # fmt: skip
        name, reason = row(GPU)
    assert name == "reference"
    assert reason.endswith("no kernel for GPUs takes all blocks, so the definition")


def test_a_device_that_is_not_there_is_refused(capsys: Told) -> None:
    assert main(["kernels", "--device", "cuda:99"]) == 2
    assert "--device cuda:99" in capsys.readouterr().err


def test_the_overview_names_what_the_operations_have() -> None:
    assert {name for names in overview.PROVIDED.values() for name in names} <= set(IMPLEMENTATIONS)
    assert set(overview.PROVIDED) == set(choice.OPERATIONS)


def test_a_tile_of_the_safe_ones_is_a_tile() -> None:
    assert isinstance(
        configs.tile("rotate", arch="sm_75", head_dim=16, length=1, dtype_bytes=2), Tile
    )
