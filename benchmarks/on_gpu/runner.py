"""Measure the cases of a section, one after the other, within a time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.on_gpu.card import Card, is_lost, is_out_of_memory
from benchmarks.on_gpu.cases import Case, UnsupportedError, Work, WrongResultError
from benchmarks.on_gpu.store import Store

LONGEST_REASON = 300
UNITS = {
    "tflop_per_s": "TFLOP/s", "gb_per_s": "GB/s", "tokens_per_s": "tokens/s",
    "env_steps_per_s": "environment steps/s", "frames_per_s": "frames/s",
}  # fmt: skip
"""What is told of an outcome beside its time."""


@dataclass(frozen=True)
class Ending:
    """How a section ended.

    Attributes:
        measured: cases that were measured now.
        kept: cases whose measurement still held.
        left: cases that time did not suffice for.
        bad: names of cases of ours that computed something wrong or failed.
        lost: the device answers no more in this process; a new one can go on.
    """

    measured: int
    kept: int
    left: int
    bad: tuple[str, ...]
    lost: bool = False


def measure(
    cases: Sequence[Case],
    card: Card,
    store: Store,
    *,
    source: Callable[[str], str],
    until: float,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
) -> Ending:
    """Measure what was not measured yet, and store each outcome at once.

    Args:
        cases: in the order in which they matter.
        card: on which.
        store: where outcomes go and old ones lie.
        source: what a measurement is bound to, by `Case.depends`.
        until: when to stop, by `clock`; the case in hand is finished.
        clock: seconds.
        say: is told a line a case.
    """
    measured, bad, held = 0, list[str](), card.held_bytes()
    sources = {depends: source(depends) for depends in {case.depends for case in cases}}
    waiting = [case for case in cases if not store.has(case.key, sources[case.depends])]
    kept = len(cases) - len(waiting)
    for number, case in enumerate(waiting, start=1):
        if clock() >= until:
            return Ending(measured, kept, len(waiting) - number + 1, tuple(bad))
        begin = clock()
        found, lost = _outcome(case, card, held)
        found["seconds"] = round(clock() - begin, 2)
        store.put(case.key, sources[case.depends], found)
        measured += 1
        if found["status"] in ("wrong", "failed") and case.depends:
            bad.append(case.name)
        say(f"[{number}/{len(waiting)}] {case.name}: {told(found)}")
        if lost:
            return Ending(measured, kept, len(waiting) - number, tuple(bad), lost=True)
    return Ending(measured, kept, 0, tuple(bad))


def told(found: dict[str, Any]) -> str:
    """An outcome on one line."""
    if found["status"] != "ok":
        return f"{found['status']}: {found.get('reason', '')}".rstrip(": ")
    said = f"{found['median_ms']:.4g} ms ({found['p20_ms']:.4g} to {found['p80_ms']:.4g})"
    for name, unit in UNITS.items():
        if found.get(name):
            said += f", {found[name]:.4g} {unit}"
    return said


def _outcome(case: Case, card: Card, held: int) -> tuple[dict[str, Any], bool]:
    """What a case came to, and whether the device was lost over it.

    Args:
        case: which.
        card: on which.
        held: bytes that other sections hold there; they are none of the case's.
    """
    try:
        work = case.prepare(card)
        checked = dict(work.check())
        peak = None if work.memory is None else card.peak_bytes(work.memory)
        if peak is not None:
            checked["peak_bytes"] = peak - held
        samples = card.timer.samples(work.calls, capture=work.capture)
        return {"status": "ok", **samples.summary(), **_rates(work, samples.ms), **checked}, False
    except UnsupportedError as error:
        return _reason("unsupported", error), False
    except WrongResultError as error:
        return _reason("wrong", error), False
    except Exception as error:
        if is_out_of_memory(error):
            return {"status": "out of memory"}, False
        lost = is_lost(error)
        # What torch has is as it is: that it refuses a case is an outcome.
        return _reason("failed" if lost or case.depends else "unsupported", error), lost
    finally:
        card.clear()


def _reason(status: str, error: Exception) -> dict[str, Any]:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return {"status": status, "reason": first[:LONGEST_REASON]}


def _rates(work: Work, ms: Sequence[float]) -> dict[str, float]:
    from statistics import median

    seconds = median(ms) / 1000
    done = {"frames": work.frames, "tokens": work.tokens, "env_steps": work.steps}
    return {
        **{f"{name}_per_s": amount / seconds for name, amount in done.items() if amount},
        **{name: amount for name, amount in done.items() if amount},
        "flops": work.flops,
        "bytes": work.bytes,
        "elements": work.elements,
        "tflop_per_s": work.flops / seconds / 1e12,
        "gb_per_s": work.bytes / seconds / 1e9,
        "gelements_per_s": work.elements / seconds / 1e9,
    }
