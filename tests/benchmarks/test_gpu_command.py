"""`python -m benchmarks.gpu`: refusals, the verdict of the tests, and a trial from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import adbench_kernels
from adbench_kernels.choice import runs_triton
from benchmarks import gpu
from benchmarks.on_gpu import attention, render, sources, verdict
from benchmarks.on_gpu.card import Card, cpu, machine
from benchmarks.on_gpu.cases import Case
from benchmarks.on_gpu.runner import Ending, measure
from benchmarks.on_gpu.store import Store

Told = pytest.CaptureFixture[str]
CPU = torch.device("cpu")
PASSED = {"status": "ok", "passed": 3, "failed": 0, "skipped": 1, "failures": []}
FAILED = {**PASSED, "status": "failed", "failed": 2, "failures": ["test_x: off", "test_y: off"]}


@pytest.fixture(autouse=True)
def _sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that stay the same while a test runs, whoever edits files meanwhile."""
    monkeypatch.setattr(sources, "of_kernels", lambda: "kernels")
    monkeypatch.setattr(sources, "of_tests", lambda paths: "tests")
    monkeypatch.setattr(sources, "of_packages", lambda places: "packages")


def judged(folder: Path, found: dict[str, Any] = PASSED, *, smoke: bool = True) -> Ending:
    """Let the tests section come to an outcome without running a test."""
    with cpu() as card:
        card = Card(card.device, card.timer, smoke=smoke)
        store = Store(folder / "tests.json", "tests", machine(card))
        return verdict.test(card, store, until=1e9, clock=lambda: 0.0, say=lambda line: None,
                            run=lambda path, seconds: found)  # fmt: skip


def trial(folder: Path, *more: str) -> int:
    return gpu.main(["--device", "cpu", "--smoke", "--out", str(folder), *more])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do(capsys: Told) -> None:
    assert gpu.main([]) == 2
    told = capsys.readouterr().err
    assert "no GPU" in told and "make bench-gpu" in told and "--device cpu --smoke" in told


def test_a_wrong_question_is_refused(capsys: Told, tmp_path: Path) -> None:
    assert gpu.main(["--section", "dance"]) == 2
    told = capsys.readouterr().err
    assert f"known: {', '.join(gpu.EVERY)}\n" in told
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path)]) == 2
    assert "--smoke" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ending:
        gpu.main(["--minutes", "-3"])
    assert ending.value.code == 2


def test_the_list_names_every_case_of_every_section(capsys: Told) -> None:
    assert gpu.main(["--list"]) == 0
    told = capsys.readouterr().out
    for section in gpu.EVERY:
        assert f"\n{section}: " in f"\n{told}"
    for wanted in (
        "attention mode=both mask=causal T=65536 D=128 implementation=sdpa-cudnn",
        "attention mode=backward mask=observations T=64 D=16 implementation=triton",
        "attention mode=both mask=window T=16384 D=32 implementation=flex",
        "ring mode=attend lanes=1024 window=1024 new=1 D=32 implementation=triton",
        "patch_embed mode=both frame=72x96x3 implementation=triton",
        "raycast frame=64x64 samples=4 batch=8192 implementation=triton",
        "raycast frame=84x84 samples=1 batch=256 implementation=reference",
        "copy MiB=4096",
        "train model=quick window=512 T=65536 how=eager implementation=adbench",
        "train model=quick window=512 T=1024 how=compiled implementation=adbench",
        "train model=paper window=context T=16384 how=eager implementation=encoder",
        "evaluate model=quick lanes=1024 window=16384 dtype=float32 implementation=graph",
        "evaluate model=quick lanes=64 window=256 dtype=float32 implementation=recompute",
        "pixels stage=whole frame=72x96 implementation=adbench",
        "suite quick",
    ):
        assert f"  {wanted}\n" in told


def test_cases_of_a_section_have_names_of_their_own() -> None:
    for _, cases in gpu.SECTIONS.values():
        found = cases(smoke=False, on_gpu=True)
        assert len({case.name for case in found}) == len(found)


def test_the_grid_is_the_one_that_was_asked_for() -> None:
    found = [case.key for case in attention.cases(smoke=False, on_gpu=True)]
    ours = {
        (c["mode"], c["mask"], c["T"], c["D"]) for c in found if c["implementation"] == "triton"
    }
    for mode in ("forward", "backward", "both"):
        for mask in ("causal", "window", "episodes", "observations"):
            for length in (64, 256, 1024, 4096, 16_384, 65_536):
                for head_dim in (16, 32, 64, 128):
                    is_causal_again = mask == "window" and length <= 1024
                    assert ((mode, mask, length, head_dim) in ours) != is_causal_again
    flex = {(c["mask"], c["T"], c["D"]) for c in found if c["implementation"] == "flex"}
    assert {length for _, length, _ in flex} == {1024, 16_384, 65_536}
    assert {width for *_, width in flex} == {32, 64}


def test_nothing_is_timed_before_the_gpu_tests_pass(tmp_path: Path, capsys: Told) -> None:
    assert trial(tmp_path, "--section", "ceilings") == 1
    assert "the GPU tests have not run" in capsys.readouterr().err
    judged(tmp_path, FAILED)
    assert trial(tmp_path, "--section", "ceilings") == 1
    told = capsys.readouterr()
    assert "2 GPU tests fail" in told.err and "GB/s" not in told.out
    assert trial(tmp_path, "--render") == 1
    assert not (tmp_path / "ceilings.json").exists() and not (tmp_path / "README.md").exists()


def test_a_verdict_belongs_to_the_sources_it_was_reached_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(tmp_path)
    assert verdict.refusal(tmp_path, smoke=True) is None
    monkeypatch.setattr(sources, "of_kernels", lambda: "edited")
    assert "with these sources" in str(verdict.refusal(tmp_path, smoke=True))
    judged(tmp_path)
    assert verdict.refusal(tmp_path, smoke=True) is None
    monkeypatch.setattr(sources, "of_tests", lambda paths: "edited")
    assert "with these sources" in str(verdict.refusal(tmp_path, smoke=True))


def test_tests_that_were_all_skipped_are_no_verdict(tmp_path: Path) -> None:
    judged(tmp_path, {**PASSED, "passed": 0, "skipped": 9})
    assert "no GPU test ran" in str(verdict.refusal(tmp_path, smoke=True))


def test_a_failed_test_is_told_and_ends_with_one(tmp_path: Path) -> None:
    assert judged(tmp_path, FAILED) == Ending(1, 0, 0, ("tests/kernels/test_patch_embed.py",))
    assert judged(tmp_path, PASSED) == Ending(0, 1, 0, ())  # it stands until the sources change


def test_tests_that_time_does_not_suffice_for_are_left(tmp_path: Path) -> None:
    assert judged(tmp_path, {"status": "time is up"}) == Ending(0, 0, 1, ())
    assert "have not run" in str(verdict.refusal(tmp_path, smoke=True))


def test_a_junit_report_is_read_as_passed_failed_and_skipped() -> None:
    report = ElementTree.fromstring(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase>'
        '<testcase name="c"><failure message="off by 1&#10;more"/></testcase>'
        '<testcase name="d"><error message="no device"/></testcase></testsuite></testsuites>'
    )
    found = verdict.judge(report)
    assert (found["status"], found["passed"], found["skipped"]) == ("failed", 1, 1)
    assert found["failures"] == ["c: off by 1", "d: no device"]


def test_a_lost_device_is_gone_on_with_in_a_new_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(tmp_path)
    monkeypatch.setattr(gpu, "_section", lambda *_, **__: Ending(1, 0, 5, ("x",), lost=True))
    called: list[list[str]] = []

    def call(words: list[str], cwd: Path) -> int:
        called.append(words)
        return 0

    monkeypatch.setattr("subprocess.call", call)
    assert trial(tmp_path, "--section", "ceilings,ring") == 1  # a case of ours failed
    (words,) = called
    assert words[words.index("--section") + 1] == "ceilings,ring" and "--smoke" in words
    assert words[words.index("--out") + 1] == str(tmp_path)


def test_when_time_is_up_it_ends_with_three(tmp_path: Path) -> None:
    judged(tmp_path)
    assert trial(tmp_path, "--section", "ceilings", "--minutes", "0") == 3
    assert trial(tmp_path, "--section", "ceilings") == 0


def test_a_trial_goes_through_every_section_and_is_rendered(tmp_path: Path, capsys: Told) -> None:
    judged(tmp_path)
    assert trial(tmp_path, "--section", ",".join(gpu.SECTIONS)) == 0
    told = capsys.readouterr().out
    for name, (_, cases) in gpu.SECTIONS.items():
        rows = json.loads((tmp_path / f"{name}.json").read_text())["rows"]
        wanted: list[Case] = cases(smoke=True, on_gpu=runs_triton(CPU))
        assert [row["case"] for row in rows] == [dict(case.key) for case in wanted]
        assert {row["status"] for row in rows} == {"ok"}, rows
        assert f"{name}: {len(rows)} measured, 0 were there, 0 left" in told
    assert len(list(tmp_path.glob("*.json"))) == 1 + len(gpu.SECTIONS)
    assert trial(tmp_path, "--render") == 0
    page = (tmp_path / "README.md").read_text()
    assert (
        "a trial: times mean nothing" in page and "| attention | both | causal | 16 | 48 |" in page
    )
    assert "| train | quick | 48 | 20 | eager | adbench |" in page
    assert "| evaluate | quick | 3 | 20 | float32 | recompute |" in page
    assert {file.stem for file in tmp_path.glob("*.svg")} == set(gpu.SECTIONS) - {"ceilings"}


def test_a_broken_kernel_is_found_before_it_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = adbench_kernels.attention

    def off_by_one(q: Any, k: Any, v: Any, **more: Any) -> Any:
        return real(q, k, v.roll(1, 1), **more)

    attention._scene.cache_clear()
    monkeypatch.setattr(attention, "attention", off_by_one)
    with cpu() as card:
        store = Store(tmp_path / "attention.json", "attention", machine(card))
        cases = [c for c in attention.cases(smoke=True, on_gpu=False) if c.depends]
        ending = measure(cases, card, store, source=lambda d: d, until=1e9, clock=lambda: 0.0,
                         say=lambda line: None)  # fmt: skip
    assert len(ending.bad) == len(cases)
    assert {row["status"] for row in store.rows} == {"wrong"}


def test_a_caster_that_draws_another_frame_is_found_before_it_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mirrored(*given: Any, **options: Any) -> Any:
        frames = adbench_kernels.raycast(*given, **options)
        return frames if options["implementation"] == "reference" else frames.flip(2)

    monkeypatch.setattr(render, "raycast", mirrored)
    with cpu() as card:
        store = Store(tmp_path / "render.json", "render", machine(card))
        cases = render.cases(smoke=True, on_gpu=False)
        ending = measure(cases, card, store, source=lambda d: d, until=1e9, clock=lambda: 0.0,
                         say=lambda line: None)  # fmt: skip
    assert len(ending.bad) == len([case for case in cases if case.depends]) == 2
    assert [row["status"] for row in store.rows] == ["wrong", "ok"] * 2
    assert all(row["frames_per_s"] > 0 for row in store.rows if row["status"] == "ok")
