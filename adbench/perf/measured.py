"""Benchmark results on disk: the JSON that pytest-benchmark writes when adbench's suites ran."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from adbench.errors import PerfError

SCHEMA = 1
"""Of what adbench adds to pytest-benchmark's file; `benchmarks/conftest.py` writes it."""

AGAIN = "`pytest benchmarks --benchmark-json=FILE` writes one."

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Subject:
    """What a benchmark is about, measured or not.

    Attributes:
        fullname: pytest's name of it, by which two files are compared.
        stage: which part of the pipeline.
        case: what is done, in words. Benchmarks of one stage and case differ in size and in who
            does it.
        implementation: who does it.
        ours: whether that is what adbench takes.
        over: what the cost is held against ("context"); none: it has one size alone.
        size: of that.
        device: "cpu" or "cuda".
        threads: of torch on the CPU.
        precision: dtype of the arithmetic.
    """

    fullname: str
    stage: str
    case: str
    implementation: str
    ours: bool
    over: str | None
    size: float | None
    device: str
    threads: int
    precision: str


@dataclass(frozen=True)
class Row:
    """A benchmark that was timed. Times are seconds of one call.

    Attributes:
        subject: what it is about.
        unit: of what a call gets done ("tokens").
        amount: how many of them.
        items: how many things of the subject's size a call works on, one after or beside another.
        median: of the rounds, as are the quartiles.
        q1: first quartile.
        q3: third quartile.
        low: the fastest round.
        high: the slowest round.
        rounds: how many there were.
        flops: that the mathematics of a call needs; none: not counted.
        bytes: that a call must read and write at least; none: not counted.
        peak_bytes: by which memory grew in a call; none: not measured.
        facts: whatever else was recorded.
    """

    subject: Subject
    unit: str
    amount: float
    items: int
    median: float
    q1: float
    q3: float
    low: float
    high: float
    rounds: int
    flops: float | None
    bytes: float | None
    peak_bytes: float | None
    facts: Mapping[str, Any]

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.amount / self.median


@dataclass(frozen=True)
class Untimed:
    """A benchmark that has no time, and why.

    Attributes:
        fullname: pytest's name of it.
        status: "out of memory", "skipped", "wrong" (its check failed) or "failed".
        reason: in words.
        subject: what it is about, where it came far enough to say so.
    """

    fullname: str
    status: str
    reason: str
    subject: Subject | None


@dataclass(frozen=True)
class Measured:
    """One file.

    Attributes:
        path: where it was read.
        when: date and time of the measurement.
        commit: of the code; "+changes" where files differed.
        machine: what times depend on, as `benchmarks/machine.py` records it.
        rows: what was timed.
        untimed: what was not.
    """

    path: Path
    when: str
    commit: str | None
    machine: Mapping[str, Any]
    rows: tuple[Row, ...]
    untimed: tuple[Untimed, ...] = field(default=())


def read(path: Path) -> Measured:
    """Read a file of adbench's benchmarks.

    Args:
        path: JSON that `pytest --benchmark-json` wrote.

    Raises:
        PerfError: there is none, it is damaged, or it is of another schema or another suite.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise PerfError(f"{path} does not exist. {AGAIN}") from None
    except OSError as error:
        raise PerfError(f"{path} cannot be read: {error.strerror}. {AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise PerfError(f"{path} is damaged: {error}. {AGAIN}") from None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise PerfError(
            f"{path} is not a pytest-benchmark file: it has no list 'benchmarks'. {AGAIN}"
        )
    ours = content.get("adbench")
    if not isinstance(ours, dict) or "schema" not in ours:
        raise PerfError(
            f"{path} is a pytest-benchmark file, but not of adbench's benchmarks: it has no "
            f"'adbench.schema'. {AGAIN}"
        )
    if ours["schema"] != SCHEMA or isinstance(ours["schema"], bool):
        raise PerfError(
            f"{path} has benchmark schema {ours['schema']!r}; this adbench reads {SCHEMA}. Measure "
            "again, or read it with the version that wrote it."
        )
    whole = _Record(content, str(path))
    machine = whole.record("adbench").record("machine").values
    rows = tuple(_row(each) for each in whole.records("benchmarks"))
    untimed = tuple(_untimed(each) for each in whole.record("adbench").records("untimed"))
    names = [row.subject.fullname for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise PerfError(f"{path} holds {twice} twice; a file is of one session. {AGAIN}")
    commit = machine.get("commit")
    return Measured(
        path=path,
        when=whole.get("datetime", str),
        commit=None if commit is None else str(commit),
        machine=machine,
        rows=rows,
        untimed=untimed,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


class _Record:
    """A JSON object whose fields are checked as they are taken.

    Args:
        values: the object.
        where: what to call it in an error.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def get(self, name: str, kind: type[Kind]) -> Kind:
        """A field of a type."""
        value = self.values.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(name, kind.__name__)
        return value

    def number(self, name: str, *, least: float = 0.0) -> float:
        """A finite number of `least` or more."""
        value = self.values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value) and value >= least:
                return float(value)
        self.refuse(name, f"a number from {least:g} on")

    def maybe(self, name: str) -> float | None:
        """A number from 0 on, or none."""
        return None if self.values.get(name) is None else self.number(name)

    def record(self, name: str) -> _Record:
        """A field that is an object."""
        return _Record(self.get(name, dict), f"{self.where}: {name}")

    def records(self, name: str) -> list[_Record]:
        """A field that is a list of objects."""
        found = self.get(name, list)
        for number, each in enumerate(found):
            if not isinstance(each, dict):
                self.refuse(f"{name}[{number}]", "an object", each)
        return [_Record(each, f"{self.where}: {name}[{n}]") for n, each in enumerate(found)]

    def refuse(self, name: str, wanted: str, *got: object) -> NoReturn:
        """Say that a field is not what it should be."""
        found = got[0] if got else self.values.get(name)
        raise PerfError(
            f"{self.where}: {name}: got {_short(found)}, wanted {wanted}: the file is damaged. "
            + AGAIN
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


_SAID = {
    "case", "implementation", "ours", "over", "size", "device", "threads", "precision",
    "unit", "amount", "items", "flops", "bytes", "peak_bytes",
}  # fmt: skip


def _subject(record: _Record, told: _Record) -> Subject:
    over = None if told.values.get("over") is None else told.get("over", str)
    return Subject(
        fullname=record.get("fullname", str),
        stage=record.get("group", str),
        case=told.get("case", str),
        implementation=told.get("implementation", str),
        ours=told.get("ours", bool),
        over=over,
        size=None if over is None else told.number("size", least=1),
        device=told.get("device", str),
        threads=int(told.number("threads", least=1)),
        precision=told.get("precision", str),
    )


def _row(record: _Record) -> Row:
    told, stats = record.record("extra_info"), record.record("stats")
    row = Row(
        subject=_subject(record, told),
        unit=told.get("unit", str),
        amount=told.number("amount"),
        items=int(told.number("items", least=1)),
        median=stats.number("median"),
        q1=stats.number("q1"),
        q3=stats.number("q3"),
        low=stats.number("min"),
        high=stats.number("max"),
        rounds=int(stats.number("rounds", least=1)),
        flops=told.maybe("flops"),
        bytes=told.maybe("bytes"),
        peak_bytes=told.maybe("peak_bytes"),
        facts={name: value for name, value in told.values.items() if name not in _SAID},
    )
    if row.median == 0:
        stats.refuse("median", "a number above 0")
    if not row.low <= row.median <= row.high:
        stats.refuse("median", "a number between 'min' and 'max'")
    return row


def _untimed(record: _Record) -> Untimed:
    told = record.values.get("extra_info")
    knows = isinstance(told, dict) and "case" in told
    return Untimed(
        fullname=record.get("fullname", str),
        status=record.get("status", str),
        reason=record.get("reason", str),
        subject=_subject(record, record.record("extra_info")) if knows else None,
    )
