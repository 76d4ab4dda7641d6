"""`python -m benchmarks.tune`: which tiles are tried, which are passed over, what is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from adbench_kernels import choice, configs
from adbench_kernels.configs import HEAD_DIMS, LENGTHS, Tile, tile
from adbench_kernels.interval_attention.requests import NARROW
from benchmarks import tune
from benchmarks.on_gpu import rotary, sources, tables, tiles
from benchmarks.on_gpu.card import Card, cpu
from benchmarks.on_gpu.cases import UnsupportedError, Work, WrongResultError
from benchmarks.on_gpu.tiles import Problem

Told = pytest.CaptureFixture[str]
SESSION = {"device": "a card", "arch": "sm_90", "torch": "2", "triton": "3", "commit": "abc"}


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "of_code", lambda: "code")


@pytest.fixture
def card() -> Iterator[Card]:
    with cpu() as card:
        yield card


def document(*rows: Mapping[str, Any], section: str = "tiles") -> dict[str, Any]:
    return {"schema": 1, "section": section, "sessions": [SESSION],
            "rows": [{"session": 0, **row} for row in rows]}  # fmt: skip


def tried(block_m: int, ms: float | None, **case: Any) -> dict[str, Any]:
    key = {"kernel": "attention_dq", "D": 64, "T": 1024, "bucket": "<=2k",
           **Tile(block_m, 64, 4, 2)._asdict(), **case}  # fmt: skip
    return {"case": key, "status": "ok", "median_ms": ms} if ms else {
        "case": key, "status": "unsupported"}  # fmt: skip


def test_every_attention_kernel_is_tuned_at_every_width_and_bucket_that_it_serves() -> None:
    found = {
        (p.kernel, p.head_dim, p.key["bucket"]) for p in tiles.problems(smoke=False, on_gpu=True)
    }
    for head_dim in HEAD_DIMS:
        for bucket in LENGTHS:
            assert ("attention_forward", head_dim, bucket) in found
            short = bucket == "<=128" and head_dim <= tiles.SHORT_WIDTH
            assert (("attention_dkdv", head_dim, bucket) in found) != short
            assert (("attention_short_backward", head_dim, bucket) in found) == short
        assert ("ring_decode", head_dim, "<=2k") in found
    assert ("patch_wgrad", 0, ">2k") in found


@pytest.mark.requires("triton")
def test_short_is_what_the_launcher_calls_short() -> None:
    from adbench_kernels.interval_attention.triton import launch

    assert (tiles.SHORT, tiles.SHORT_WIDTH) == (launch.SHORT, launch.SHORT_WIDTH)


def test_candidates_differ_and_are_powers_of_two() -> None:
    for kernel in tiles._GRIDS:
        found = list(tiles.candidates(kernel))
        assert len(set(found)) == len(found) > 1
        assert all(n & (n - 1) == 0 for t in found for n in (t.block_m, t.block_n, t.num_warps))


def launched(seen: list[Tile], *, error: Exception | None = None) -> Problem:
    """A problem whose work asks for its tile, as a launcher does."""

    def launch() -> Mapping[str, float]:
        seen.append(tile("attention_dq", arch="x", head_dim=64, length=9, dtype_bytes=2))
        if error:
            raise error
        return {}

    def prepare(card: Card) -> Work:
        return Work([launch], launch)

    return Problem("attention_dq", 64, 1024, prepare)


def test_a_tile_is_in_force_while_it_is_checked_and_timed_and_not_after(card: Card) -> None:
    seen: list[Tile] = []
    one, wanted = tiles.cases([launched(seen)])[5], list(tiles.candidates("attention_dq"))[5]
    work = one.prepare(card)
    work.check()
    work.calls[0]()
    assert seen == [wanted, wanted]
    assert tile("attention_dq", arch="x", head_dim=64, length=9, dtype_bytes=2) != wanted


def test_a_tile_that_does_not_compile_is_passed_over_and_a_wrong_one_is_wrong(card: Card) -> None:
    class OutOfResources(Exception):
        pass

    work = tiles.cases([launched([], error=OutOfResources("shared memory"))])[0].prepare(card)
    with pytest.raises(UnsupportedError, match="OutOfResources: shared memory"):
        work.check()
    work = tiles.cases([launched([], error=WrongResultError("dq is off"))])[0].prepare(card)
    with pytest.raises(WrongResultError):
        work.check()
    fatal = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal"):
        tiles.cases([launched([], error=fatal)])[0].prepare(card).check()


@pytest.mark.requires("triton")
def test_a_tile_that_spills_is_passed_over_also_at_the_next_length(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.compiler.compiler import CompiledKernel

    class Loaded:
        module, n_spills = None, 12

    monkeypatch.setattr(CompiledKernel, "_init_handles", lambda self: None)
    monkeypatch.setattr(tiles, "_SPILLED", {})
    unloaded = [Loaded()]

    def launch() -> Mapping[str, float]:
        while unloaded:
            CompiledKernel._init_handles(unloaded.pop())
        return {}

    problem = Problem("attention_dq", 64, 1024, lambda card: Work([launch], launch))
    for _ in range(2):  # the second time nothing is loaded any more
        with pytest.raises(UnsupportedError, match="spills 12 registers"):
            tiles.cases([problem])[0].prepare(card).check()
    assert tiles.cases([problem])[1].prepare(card).check() == {}


def test_the_fastest_right_tile_goes_into_the_table_with_what_it_rests_on(tmp_path: Path) -> None:
    table, file = tmp_path / "configs.json", tmp_path / "tiles.json"
    table.write_text((sources.KERNELS / "configs.json").read_text())
    before = configs.parse(json.loads(table.read_text()))
    file.write_text(json.dumps(document(tried(64, 2.0), tried(128, 1.0), tried(32, None))))
    assert tune.main(["--apply", str(file), "--into", str(table)]) == 0
    rows = json.loads(table.read_text())
    after = configs.parse(rows)
    new = ("attention_dq", "sm_90", 64, "<=2k", 2)
    assert after[new] == Tile(128, 64, 4, 2)
    assert {key: t for key, t in after.items() if key != new} == {
        key: t for key, t in before.items() if key != new
    }
    (said,) = [r["evidence"] for r in rows["rows"] if r["evidence"].startswith("1 ms")]
    assert "a card" in said and "best of 2 tiles, 1 passed over, next 2 ms" in said
    assert tune.main(["--apply", str(file), "--into", str(table)]) == 0  # twice is once
    assert configs.parse(json.loads(table.read_text())) == after


def measured(name: str, ms: float, **case: Any) -> dict[str, Any]:
    key = {"op": "attention", "mode": "both", "mask": "window", "T": 4096, "D": 32,
           "implementation": name, **case}  # fmt: skip
    return {"case": key, "status": "ok", "median_ms": ms}


def test_choices_rest_on_forward_and_backward_of_what_a_dispatcher_can_take(tmp_path: Path) -> None:
    table = tmp_path / "choice.json"
    table.write_text('{"schema": 1, "rows": []}')
    rows = [
        measured("triton", 1.0), measured("sdpa-cudnn", 3.0), measured("flex", 0.1, mode="forward"),
        measured("auto", 0.5), measured("triton", 4.0, T=16_384), measured("triton", 9.0, D=64),
        {**measured("sdpa-flash", 0.1), "status": "wrong"},
    ]  # fmt: skip
    (tmp_path / "attention.json").write_text(json.dumps(document(*rows, section="attention")))
    assert tune.main(["--choices", str(tmp_path), "--into", str(table)]) == 0
    (key,) = found = choice.parse(json.loads(table.read_text()))
    assert key == ("attention", "sm_90", 32, ">2k", "window")
    assert [c.name for c in found[key]] == ["triton", "sdpa-cudnn"]
    assert "triton 1 ms, sdpa-cudnn 3 ms" in found[key][0].reason


def test_a_bucket_of_several_lengths_takes_their_geometric_mean() -> None:
    rows = [measured(n, ms, T=t) for n, t, ms in
            (("triton", 4096, 1.0), ("triton", 16_384, 4.0), ("sdpa-cudnn", 4096, 2.0),
             ("sdpa-cudnn", 16_384, 2.0))]  # fmt: skip
    (row,) = tables.choice_rows({"attention": document(*rows)})
    assert row["median_ms"] == {"triton": 2.0, "sdpa-cudnn": 2.0}
    assert "T 4096, 16384" in row["evidence"]


def test_what_is_timed_of_rotary_attention_is_what_auto_looks_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    medians = {"triton": 3.0, "sdpa-cudnn": 1.0, "sdpa-flash": 2.0, "auto": 0.5}
    cases = [case.key for case in rotary.cases(smoke=False, on_gpu=True)]
    rows = [
        {"case": key, "status": "ok", "median_ms": medians[str(key["implementation"])]}
        for key in cases
    ]
    table = {"schema": 1, "rows": tables.choice_rows({"attention": document(*rows)})}
    monkeypatch.setattr(choice, "_MEASURED", choice.parse(table))
    with choice.assume_arch("sm_90"):
        for length, width in product((9, 129, 513, 2049), HEAD_DIMS):
            taken = choice.fastest(
                "rotary_attention", device=torch.device("cuda"), head_dim=width, length=length,
                mask="causal", available=("triton", "sdpa-efficient", *NARROW, "attention"),
            )  # fmt: skip
            assert taken.name == "sdpa-cudnn" and taken.reason.startswith("measured on sm_90")


def test_a_trial_goes_through_the_motions_and_goes_on(tmp_path: Path, capsys: Told) -> None:
    table, file = tmp_path / "configs.json", tmp_path / "tiles.json"
    table.write_text('{"schema": 1, "rows": []}')
    words = ["--device", "cpu", "--smoke", "--out", str(file), "--into", str(table)]
    assert tune.main([*words, "--minutes", "0"]) == 3
    assert tune.main(words) == 0
    rows = json.loads(table.read_text())["rows"]
    assert {row["kernel"] for row in rows} == {
        p.kernel for p in tiles.problems(smoke=True, on_gpu=False)
    }
    assert tune.main(words) == 0
    assert "0 tiles tried" in capsys.readouterr().out


def test_wrong_questions_are_refused(tmp_path: Path, capsys: Told) -> None:
    for words, told in (
        (["--kernel", "dance"], "nothing to tune by the name 'dance'"),
        (["--device", "cpu"], "only with --smoke"),
        (["--device", "cpu", "--smoke"], "--out FILE"),
        (["--apply", str(tmp_path / "x")], "holds no tiles"),
        (["--choices", str(tmp_path)], "neither attention.json"),
    ):
        assert tune.main(words) == 2
        assert told in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert tune.main([]) == 2
        assert "make tune" in capsys.readouterr().err
    assert tune.main(["--list", "--kernel", "ring_decode"]) == 0
    assert "kernel=ring_decode D=16" in capsys.readouterr().out
