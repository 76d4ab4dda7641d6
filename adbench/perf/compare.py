"""What got slower between two measurements, beyond the noise of both.

A benchmark is slower when both hold:

- its median is more than `threshold` above the old one, and
- the two medians differ by more than their uncertainties added in quadrature. A median is
  uncertain by 1.57 IQR / sqrt(rounds), the notch of a box plot (McGill, Tukey and Larsen 1978,
  "Variations of box plots"); with fewer than five rounds, which have no quartiles worth the name,
  by half of their range.

Faster is the same with old and new exchanged. What rounds of one session cannot show is how one
session differs from the next (neighbours, clocks, memory layout): the threshold is for that, and a
machine that was not idle is said so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from adbench.errors import PerfError
from adbench.perf.measured import Measured, Row

THRESHOLD = 0.1
"""Share by which a median may grow without being called slower."""
FEWEST_ROUNDS = 5
NOTCH = 1.57
QUIET_LOAD = 0.5
"""Load a core above which times say more about the neighbours."""

Verdict = Literal["slower", "faster", "same"]


def uncertainty(row: Row) -> float:
    """By how much the median may be off, seconds."""
    if row.rounds < FEWEST_ROUNDS:
        return (row.high - row.low) / 2
    return NOTCH * (row.q3 - row.q1) / math.sqrt(row.rounds)


def judge(old: Row, new: Row, *, threshold: float) -> tuple[Verdict, float]:
    """Whether a benchmark got slower or faster, and the noise of both as a share of the old median.

    Args:
        old: its row before.
        new: its row now.
        threshold: share by which a median may grow.
    """
    noise = math.hypot(uncertainty(old), uncertainty(new))
    verdict: Verdict = "same"
    if abs(new.median - old.median) > noise:
        if new.median > (1 + threshold) * old.median:
            verdict = "slower"
        elif old.median > (1 + threshold) * new.median:
            verdict = "faster"
    return verdict, noise / old.median


def compare(old: Measured, new: Measured, *, threshold: float = THRESHOLD) -> dict[str, Any]:
    """Hold a measurement against an older one.

    Args:
        old: the older.
        new: the newer.
        threshold: share by which a median may grow without being called slower.

    Returns:
        `old` and `new`: path, when, commit, machine; `threshold`; `slower`, `faster` and `same`:
        lists of {name, old_seconds, new_seconds, change, noise}, the greatest change first;
        `changed`: names of benchmarks that do other work than they did; `missing`: {name, reason}
        of those that have a time in the old file alone; `added`: names of those that have one in
        the new file alone; `warnings`.

    Raises:
        PerfError: the two have no benchmark in common.
    """
    before = {row.subject.fullname: row for row in old.rows}
    now = {row.subject.fullname: row for row in new.rows}
    both = [name for name in before if name in now]
    if not both:
        raise PerfError(
            f"{old.path} and {new.path} have no benchmark in common: there is nothing to compare. "
            f"They hold {_some(before)} and {_some(now)}."
        )
    found: dict[str, list[Any]] = {"slower": [], "faster": [], "same": [], "changed": []}
    for name in both:
        if _work(before[name]) != _work(now[name]):
            found["changed"].append(name)
            continue
        verdict, noise = judge(before[name], now[name], threshold=threshold)
        change = now[name].median / before[name].median - 1
        found[verdict].append(
            {
                "name": name,
                "old_seconds": before[name].median,
                "new_seconds": now[name].median,
                "change": change,
                "noise": noise,
            }
        )
    for verdict in ("slower", "faster", "same"):
        found[verdict].sort(key=lambda each: -abs(math.log1p(each["change"])))
    reasons = {each.fullname: f"{each.status}: {each.reason}" for each in new.untimed}
    return {
        "old": _file(old),
        "new": _file(new),
        "threshold": threshold,
        **found,
        "missing": [
            {"name": name, "reason": reasons.get(name, "it was not run")}
            for name in before
            if name not in now
        ],
        "added": [name for name in now if name not in before],
        "warnings": list(_warnings(old, new)),
    }


def _file(measured: Measured) -> dict[str, Any]:
    return {
        "path": str(measured.path),
        "when": measured.when,
        "commit": measured.commit,
        "machine": dict(measured.machine),
    }


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "no times at all"
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _work(row: Row) -> tuple[object, ...]:
    """What a call does: times of other work are not to be compared."""
    subject = row.subject
    return (
        row.unit, row.amount, row.items, row.flops, subject.case, subject.implementation,
        subject.over, subject.size, subject.device, subject.precision,
    )  # fmt: skip


def _warnings(old: Measured, new: Measured) -> Iterable[str]:
    for name, what, so in (
        ("processor", "the processor", "times are of two machines"),
        ("cores", "the number of cores", "times are of two machines"),
        ("gpus", "the GPUs", "times are of two machines"),
        ("cpu_capability", "the processor's instructions", "torch takes other code"),
        ("system", "the system", "times are of two machines"),
        ("torch_threads", "torch's threads", "the work is spread differently"),
        ("omp_wait_policy", "OMP_WAIT_POLICY", "idle threads wait differently"),
    ):
        if old.machine.get(name) != new.machine.get(name):
            yield (
                f"{what} differ{'' if what.endswith('s') else 's'} "
                f"({_said(old.machine.get(name))}, now {_said(new.machine.get(name))}): {so}"
            )
    differing = _differing_versions(old.machine, new.machine)
    if differing:
        yield f"versions differ ({', '.join(differing)}): not all of a change is adbench's"
    for which, measured in (("old", old), ("new", new)):
        busy = busy_before(measured.machine)
        if busy is not None:
            yield (
                f"the machine was not idle before the {which} measurement (load average "
                f"{busy:.1f}): its times are high, and their spread does not show by how much"
            )
        if measured.commit is not None and measured.commit.endswith("+changes"):
            yield f"the {which} measurement is of files that differ from their commit"


def busy_before(machine: Mapping[str, Any]) -> float | None:
    """The load average before a measurement, where it was too high to trust times; else none."""
    load, cores = machine.get("load_average_before"), machine.get("cores")
    if not isinstance(load, int | float) or not isinstance(cores, int):
        return None
    return float(load) if load > QUIET_LOAD * cores else None


def _differing_versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, now = (
        versions if isinstance(versions := machine.get("versions"), Mapping) else {}
        for machine in (old, new)
    )
    return [
        f"{name} {_said(before.get(name))}, now {_said(now.get(name))}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]


def _said(value: object) -> str:
    if isinstance(value, list):
        names = [str(each.get("name", each)) if isinstance(each, dict) else str(each)
                 for each in value]  # fmt: skip
        return ", ".join(names) or "none"
    return "none" if value is None else str(value)
