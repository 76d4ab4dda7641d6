"""Reading benchmark files: what is in them, and what is refused and how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.errors import PerfError
from adbench.perf.measured import read

Make = Callable[..., Any]


def test_a_file_is_read_as_it_was_measured(put: Make, bench: Make, lost: Make) -> None:
    path = put(
        bench("t[128]", 0.5, amount=100, items=4, flops=1e9, note="fast", iqr=0.1),
        untimed=(
            lost("t[512]", "out of memory", "it needs 1 TB", size=512),
            lost("u", "skipped", "not here"),
        ),
    )
    found = read(path)
    (row,) = found.rows
    assert (row.median, row.q1, row.q3, row.low, row.high) == (0.5, 0.45, 0.55, 0.4, 0.6)
    assert row.rate == 200 and row.items == 4 and row.flops == 1e9 and row.bytes is None
    assert row.facts == {"note": "fast"}
    assert (row.subject.over, row.subject.size, row.subject.ours) == ("context", 128, True)
    assert found.commit == "abc123" and found.machine["cores"] == 2
    large, absent = found.untimed
    assert large.subject is not None and large.subject.size == 512
    assert absent.subject is None and (absent.status, absent.reason) == ("skipped", "not here")


def refused(path: Path) -> str:
    with pytest.raises(PerfError) as error:
        read(path)
    assert error.value.exit_code == 2
    return str(error.value)


def test_a_file_that_is_not_there_is_said_so_and_how_to_get_one(tmp_path: Path) -> None:
    message = refused(tmp_path / "none.json")
    assert "does not exist" in message and "pytest benchmarks --benchmark-json" in message
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"benchmarks": [NaN]}', "[" * 100_000, "\udcff"])
def test_a_broken_file_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "is damaged" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "not a pytest-benchmark file"),
        ({"runs": []}, "not a pytest-benchmark file"),
        ({"benchmarks": []}, "not of adbench's benchmarks"),
        ({"benchmarks": [], "adbench": {"schema": 2}}, "has benchmark schema 2; .* reads 1"),
        ({"benchmarks": [], "adbench": {"schema": True}}, "has benchmark schema True"),
        ({"benchmarks": [], "adbench": {"schema": 1}}, "machine: got None, wanted dict"),
    ],
)
def test_a_file_of_another_kind_or_schema_is_refused(
    tmp_path: Path, content: Any, said: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PerfError, match=said):
        read(path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("stats", "median"), "fast", r"benchmarks\[0\]: stats: median: got 'fast'"),
        (("stats", "median"), None, "median: got None, wanted a number from 0 on"),
        (("stats", "median"), -1.0, "median: got -1.0"),
        (("stats", "median"), True, "median: got True"),
        (("stats", "median"), 0.0, "median: got 0.0, wanted a number above 0"),
        (("stats", "min"), 9.0, "a number between 'min' and 'max'"),
        (("stats", "rounds"), 0, "rounds: got 0, wanted a number from 1 on"),
        (("extra_info", "case"), 7, "case: got 7, wanted str"),
        (("extra_info", "size"), None, "size: got None"),
        (("extra_info", "amount"), 1e400, "is damaged"),
        (("extra_info", "threads"), "two", "threads: got 'two'"),
        (("group",), None, "group: got None, wanted str"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    tmp_path: Path, doc: Make, bench: Make, place: tuple[str, ...], value: Any, said: str
) -> None:
    content = doc(bench("t", 0.5))
    record = content["benchmarks"][0]
    for name in place[:-1]:
        record = record[name]
    record[place[-1]] = value
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PerfError, match=said):
        read(path)


def test_one_name_twice_is_not_a_session(put: Make, bench: Make) -> None:
    assert "holds benchmarks/bench_x.py::t twice" in refused(put(bench("t", 1.0), bench("t", 2.0)))
