"""What is called slower, what is only noise, and what is said beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.cli import main
from adbench.perf.compare import compare, uncertainty
from adbench.perf.measured import read

Make = Callable[..., Any]
Told = pytest.CaptureFixture[str]


def names(found: list[Any]) -> list[str]:
    return [each["name"].rpartition("::")[2] for each in found]


def test_slower_is_beyond_the_threshold_and_beyond_the_noise(put: Make, bench: Make) -> None:
    # 25 rounds: a median with quartiles 10 ms apart is uncertain by 1.57 * 10 / 5 = 3.14 ms.
    old = [bench(name, 0.1) for name in ("far", "near", "noisy", "better")]
    new = [
        bench("far", 0.13),
        bench("near", 0.109),
        bench("noisy", 0.13, iqr=0.1),
        bench("better", 0.07),
    ]
    found = compare(read(put(*old, name="old.json")), read(put(*new, name="new.json")))
    assert names(found["slower"]) == ["far"] and names(found["faster"]) == ["better"]
    assert set(names(found["same"])) == {"near", "noisy"}
    (far,) = found["slower"]
    assert far["change"] == pytest.approx(0.3) and far["noise"] == 0.0


def test_a_median_is_uncertain_by_its_notch_or_of_few_rounds_by_half_their_range(
    put: Make, bench: Make
) -> None:
    path = put(bench("many", 0.1, iqr=0.01, rounds=25), bench("few", 0.1, iqr=0.01, rounds=3))
    many, few = read(path).rows
    assert uncertainty(many) == pytest.approx(1.57 * 0.01 / 5)
    assert uncertainty(few) == pytest.approx(0.01)


def test_the_threshold_decides_what_is_slower(put: Make, bench: Make) -> None:
    old, new = put(bench("t", 0.1), name="old.json"), put(bench("t", 0.13), name="new.json")
    assert compare(read(old), read(new), threshold=0.5)["slower"] == []
    assert names(compare(read(old), read(new), threshold=0.25)["slower"]) == ["t"]


def test_what_is_missing_new_or_changed_is_said_and_not_compared(
    put: Make, bench: Make, lost: Make
) -> None:
    old = put(bench("kept", 1.0), bench("gone", 1.0), bench("wrong", 1.0), bench("larger", 1.0),
              name="old.json")  # fmt: skip
    new = put(bench("kept", 1.0), bench("larger", 9.0, amount=9000), bench("fresh", 1.0),
              untimed=(lost("wrong", "wrong", "off by 0.3"),), name="new.json")  # fmt: skip
    found = compare(read(old), read(new))
    missing = {names([each])[0]: each["reason"] for each in found["missing"]}
    assert missing == {"gone": "it was not run", "wrong": "wrong: off by 0.3"}
    assert [name.rpartition("::")[2] for name in found["added"]] == ["fresh"]
    assert [name.rpartition("::")[2] for name in found["changed"]] == ["larger"]
    assert found["slower"] == []


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"processor": "Slide rule"}, "the processor differs (Abacus 9, now Slide rule)"),
        ({"torch_threads": 1}, "torch's threads differ (2, now 1)"),
        ({"gpus": [{"name": "H200"}]}, "the GPUs differ (none, now H200)"),
        ({"versions": {"torch": "2.11.0"}}, "versions differ (torch 2.13.0, now 2.11.0)"),
        ({"load_average_before": 3.0}, "not idle before the new measurement (load average 3.0)"),
        ({"commit": "abc+changes"}, "the new measurement is of files that differ"),
    ],
)
def test_whatever_else_differs_is_warned_of(
    put: Make, bench: Make, machine: dict[str, Any], said: str
) -> None:
    old, new = put(bench("t", 1.0), name="old.json"), put(bench("t", 1.0), name="new.json",
                                                          **machine)  # fmt: skip
    (warning,) = compare(read(old), read(new))["warnings"]
    assert said in warning


def test_equal_machines_need_no_warning(put: Make, bench: Make) -> None:
    path = put(bench("t", 1.0))
    assert compare(read(path), read(path))["warnings"] == []


def run(capsys: Told, *words: str | Path) -> tuple[int, str, str]:
    code = main(["perf", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_the_exit_code_is_1_when_something_got_slower_and_else_0(
    put: Make, bench: Make, capsys: Told
) -> None:
    old, new = put(bench("t", 0.1), name="old.json"), put(bench("t", 0.13), name="new.json")
    code, out, err = run(capsys, "compare", old, new)
    assert code == 1 and err == ""
    assert "slower" in out and "100 ms" in out and "130 ms" in out and "+30 %" in out
    assert "1 compared: 1 slower, 0 faster, 0 within 10 % or the noise." in out
    assert run(capsys, "compare", new, old)[0] == 0
    assert run(capsys, "compare", old, new, "--threshold", "0.5")[0] == 0


def test_a_program_gets_all_of_it(put: Make, bench: Make, capsys: Told) -> None:
    old, new = put(bench("t", 0.1), name="old.json"), put(bench("t", 0.13), name="new.json")
    code, out, _ = run(capsys, "compare", old, new, "--json")
    found = json.loads(out)
    assert code == 1 and found["threshold"] == 0.1 and found["old"]["commit"] == "abc123"
    assert found["slower"] == [
        {"name": "benchmarks/bench_x.py::t", "old_seconds": 0.1, "new_seconds": 0.13,
         "change": pytest.approx(0.3), "noise": 0.0}
    ]  # fmt: skip


def test_what_cannot_be_compared_is_refused_with_2(put: Make, bench: Make, capsys: Told) -> None:
    old, new = put(bench("t", 0.1), name="old.json"), put(bench("u", 0.1), name="new.json")
    code, out, err = run(capsys, "compare", old, new)
    assert (code, out) == (2, "") and "no benchmark in common" in err
    code, out, err = run(capsys, "compare", old, "nowhere.json")
    assert (code, out) == (2, "") and "nowhere.json does not exist" in err
    code, _, err = run(capsys, "compare", old, new, "--threshold", "-1")
    assert code == 2 and "wants a share from 0 on" in err


def test_a_wrong_word_is_answered_by_the_right_one(capsys: Told) -> None:
    code, _, err = run(capsys, "compair")
    assert code == 2 and "Did you mean 'compare'" in err
    code, _, err = run(capsys)
    assert code == 2 and "adbench perf report FILE" in err


@pytest.mark.parametrize("command", ["report", "compare"])
def test_each_command_explains_itself(command: str, capsys: Told) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and f"usage: adbench perf {command}" in out and "examples:" in out
