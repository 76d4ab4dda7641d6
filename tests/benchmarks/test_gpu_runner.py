"""Measuring a section: what is kept, what is refused, what happens when time or memory ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.on_gpu.card import Card, is_lost
from benchmarks.on_gpu.cases import Case, UnsupportedError, Work, WrongResultError
from benchmarks.on_gpu.runner import Ending, measure
from benchmarks.on_gpu.store import MOST_FILES, OtherMachineError, Store
from benchmarks.on_gpu.timing import Samples

HERE = {"device": "a card", "arch": "sm_90", "torch": "2", "triton": "3", "smoke": False}


class Counted:
    """A timer that runs every call once and says it took two milliseconds."""

    def __init__(self) -> None:
        self.timed = 0

    def samples(self, calls: Sequence[Callable[[], object]], *, capture: bool = True) -> Samples:
        for call in calls:
            call()
        self.timed += 1
        return Samples((2.0, 1.0, 3.0), "told")


@pytest.fixture
def timer() -> Counted:
    return Counted()


@pytest.fixture
def card(timer: Counted) -> Card:
    return Card(torch.device("cpu"), timer)


def store(tmp_path: Path, **changed: Any) -> Store:
    return Store(tmp_path / "attention.json", "attention", {**HERE, **changed})


def case(name: str = "a", *, error: Exception | None = None, check: Exception | None = None,
         depends: str = "kernels") -> Case:  # fmt: skip
    def prepare(card: Card) -> Work:
        def checked() -> Mapping[str, float]:
            if check:
                raise check
            return {"error": 0.1}

        if error:
            raise error
        return Work([lambda: None], checked, flops=4e9, bytes=2e6, elements=1e6)

    return Case({"op": name}, prepare, depends)


def run(cases: Sequence[Case], card: Card, store: Store, *, source: str = "s", until: float = 1e9,
        clock: Callable[[], float] = lambda: 0.0) -> Ending:  # fmt: skip
    return measure(cases, card, store, source=lambda depends: depends and source, until=until,
                   clock=clock, say=lambda line: None)  # fmt: skip


def test_a_measurement_holds_its_spread_rates_error_and_machine(card: Card, tmp_path: Path) -> None:
    assert run([case()], card, store(tmp_path)) == Ending(1, 0, 0, ())
    document = json.loads((tmp_path / "attention.json").read_text())
    assert document["sessions"] == [HERE]
    (row,) = document["rows"]
    assert (row["median_ms"], row["p20_ms"], row["p80_ms"]) == (2.0, 1.4, 2.6)
    assert (row["tflop_per_s"], row["gb_per_s"], row["gelements_per_s"]) == (2.0, 1.0, 0.5)
    assert (row["error"], row["case"], row["source"], row["session"]) == (0.1, {"op": "a"}, "s", 0)


def test_what_was_measured_is_kept_and_the_rest_goes_on(
    card: Card, timer: Counted, tmp_path: Path
) -> None:
    cases = [case("a"), case("b"), case("c")]
    clock = iter([0.0, 0.0, 0.0, 9.0]).__next__  # the second case begins too late
    assert run(cases, card, store(tmp_path), until=5.0, clock=clock) == Ending(1, 0, 2, ())
    assert run(cases, card, store(tmp_path)) == Ending(2, 1, 0, ())
    assert run(cases, card, store(tmp_path)) == Ending(0, 3, 0, ())
    assert timer.timed == 3
    assert [r["case"]["op"] for r in store(tmp_path).rows] == ["a", "b", "c"]


def test_every_measurement_is_on_disk_before_the_next_begins(card: Card, tmp_path: Path) -> None:
    found: list[int] = []

    def look(card: Card) -> Work:
        found.append(len(json.loads((tmp_path / "attention.json").read_text())["rows"]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([case("a"), Case({"op": "b"}, look)], card, store(tmp_path))
    assert found == [1] and not list(tmp_path.glob("*.tmp"))


def test_other_sources_are_measured_anew_and_torchs_own_are_not(card: Card, tmp_path: Path) -> None:
    cases = [case("ours"), case("torch", depends="")]
    run(cases, card, store(tmp_path), source="old")
    assert run(cases, card, store(tmp_path), source="new") == Ending(1, 1, 0, ())
    rows = {r["case"]["op"]: r["source"] for r in store(tmp_path).rows}
    assert rows == {"ours": "new", "torch": ""}


def test_a_wrong_result_is_never_timed(card: Card, timer: Counted, tmp_path: Path) -> None:
    wrong = case(check=WrongResultError("dk is off by 0.3"))
    assert run([wrong], card, store(tmp_path)) == Ending(1, 0, 0, ("a",))
    (row,) = store(tmp_path).rows
    assert (row["status"], row["reason"], timer.timed) == ("wrong", "dk is off by 0.3", 0)
    assert "median_ms" not in row


@pytest.mark.parametrize(
    ("error", "depends", "status", "bad"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "kernels", "out of memory", ()),
        (RuntimeError("CUBLAS: out of memory"), "kernels", "out of memory", ()),
        (UnsupportedError("no mask"), "kernels", "unsupported", ()),
        (RuntimeError("no such kernel"), "", "unsupported", ()),
        (RuntimeError("broken\nat length"), "kernels", "failed", ("a",)),
    ],
)
def test_what_cannot_be_measured_is_recorded_as_such_and_the_rest_goes_on(
    error: Exception, depends: str, status: str, bad: tuple[str, ...], card: Card, tmp_path: Path
) -> None:
    cases = [case("a", error=error, depends=depends), case("b")]
    assert run(cases, card, store(tmp_path)) == Ending(2, 0, 0, bad)
    first, second = store(tmp_path).rows
    assert (first["status"], second["status"]) == (status, "ok")
    assert "\n" not in first.get("reason", "") and "median_ms" not in first


def test_a_lost_device_ends_the_section_and_the_case_is_not_repeated(
    card: Card, tmp_path: Path
) -> None:
    fatal = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_lost(fatal) and not is_lost(RuntimeError("CUDA error: invalid argument"))
    cases = [case("a", error=fatal), case("b")]
    assert run(cases, card, store(tmp_path)) == Ending(1, 0, 1, ("a",), lost=True)
    assert run(cases, card, store(tmp_path)) == Ending(1, 1, 0, ())


@pytest.mark.parametrize("changed", [{"device": "another"}, {"torch": "3"}, {"smoke": True}])
def test_measurements_of_two_machines_do_not_mix(
    changed: dict[str, Any], card: Card, tmp_path: Path
) -> None:
    run([case()], card, store(tmp_path))
    with pytest.raises(OtherMachineError, match="--fresh"):
        store(tmp_path, **changed)
    run([case("b")], card, store(tmp_path, commit="later"))  # a commit is no machine
    assert len(store(tmp_path).document["sessions"]) == 2


def test_a_folder_holds_twelve_result_files_at_most(card: Card, tmp_path: Path) -> None:
    for number in range(MOST_FILES):
        (tmp_path / f"{number}.json").write_text("{}")
    with pytest.raises(ValueError, match="at most 12"):
        run([case()], card, store(tmp_path))


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "attention.json").write_text('{"schema": 9}')
    with pytest.raises(ValueError, match="schema 1"):
        store(tmp_path)


def test_inputs_rotate_through_more_than_the_cache(timer: Counted) -> None:
    card = Card(torch.device("cpu"), timer, l2_bytes=60_000_000)
    assert [card.sets(size) for size in (1e9, 60e6, 4e6, 1.0)] == [2, 3, 31, 32]
    assert Card(torch.device("cpu"), timer).sets(1.0) == 2


def test_random_numbers_are_equal_for_equal_seeds(card: Card) -> None:
    a, b, c = (card.normal(4, seed=seed, dtype=torch.float32) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and float(a.abs().min()) > 0
