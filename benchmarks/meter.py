"""Times one benchmark: held against its reference first, warmed up, as often as its time allows.

    def test_attention(meter: Meter, way: str, length: int) -> None:
        meter.about("attention, causal", way, ours=way == "auto", context=length)
        ...
        meter.time(call, check=check, tokens=rows * length, flops=flops)

`about` comes before anything large is made, so that a size that finds no memory is on record with
what it was. `check` runs before the clock does: if it raises, there is no time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import memory

Call = Callable[[], object]

SECONDS, SECONDS_FULL = 0.5, 3.0
"""Spent on the rounds of one benchmark, by default and under `--full`."""
FEWEST, FEWEST_LONG, MOST = 5, 3, 100
"""Rounds: fewest for quartiles; fewest of calls that take so long; most."""
LONG = 4.0
"""Times the seconds there are: calls that take longer have the fewest rounds."""
SHORTEST_ROUND = 1e-3
"""Seconds that a round should last at least: shorter calls are repeated within it."""
WARM_UP_SECONDS = 0.05
MOST_OF_MEMORY = 0.8
"""Share of what is free that a size may ask for; Linux ends who asks for all."""


class Meter:
    """One benchmark's clock and record.

    Args:
        benchmark: pytest-benchmark's fixture.
        device: "cpu" or "cuda".
        full: take longer over it.
        tiny: only try the benchmark out, at its smallest.
    """

    def __init__(self, benchmark: BenchmarkFixture, *, device: str, full: bool, tiny: bool) -> None:
        self.benchmark, self.device, self.tiny = benchmark, device, tiny
        self.seconds = SECONDS_FULL if full else SECONDS

    def about(
        self, case: str, implementation: str, *, ours: bool, device: str | None = None,
        precision: str = "float32", **over: int,
    ) -> None:  # fmt: skip
        """Say what is measured.

        Args:
            case: in words; what differs in size and implementation alone has one case.
            implementation: who does it.
            ours: whether that is what adbench takes.
            device: where, if not on the session's device.
            precision: of the arithmetic.
            over: what the cost is held against, and its size: `context=840`; or nothing.
        """
        assert len(over) <= 1, "one size alone can be on the axis; say others in `case`"
        self.device = device or self.device
        for name, size in over.items():
            self.benchmark.extra_info.update(over=name, size=size)
        self.benchmark.extra_info.update(
            case=case,
            implementation=implementation,
            ours=ours,
            device=self.device,
            precision=precision,
            threads=torch.get_num_threads(),
        )

    def needs(self, num_bytes: float) -> None:
        """Give up, on record, where a size needs more memory than there is."""
        free = memory.available(self.device)
        if free is not None and num_bytes > MOST_OF_MEMORY * free:
            raise MemoryError(
                f"it needs about {num_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free"
            )

    def time(
        self, call: Call, *, check: Call, items: int = 1, flops: float | None = None,
        moved_bytes: float | None = None, setup: Call | None = None, rounds: int | None = None,
        warm: bool = True, **done: float,
    ) -> None:  # fmt: skip
        """Check, warm up, measure memory, then time.

        Args:
            call: does the work once.
            check: compares its result with the reference, and raises where it is wrong.
            items: things of the size on the axis that a call works on.
            flops: of a call, as the mathematics needs them.
            moved_bytes: of a call: everything read once, everything written once.
            setup: done before each round, not timed.
            rounds: how many; none: as many as there is time for.
            warm: call it before it is timed. Not where the first call is the point.
            done: unit and amount of what a call gets done: `tokens=1000`.
        """
        ((unit, amount),) = done.items()
        check()
        bench = self.benchmark
        if bench.disabled or self.tiny:
            bench.pedantic(call, setup=_nothing_returned(setup))  # type: ignore[no-untyped-call]
            return
        bench._timer = self.clock
        peak, took = self._try_out(call, setup, warm=warm)
        iterations = 1 if setup or took >= SHORTEST_ROUND else math.ceil(SHORTEST_ROUND / took)
        if rounds is None:
            fit = int(self.seconds / (took * iterations))
            rounds = min(max(fit, FEWEST if took < LONG * self.seconds else FEWEST_LONG), MOST)
        bench.pedantic(  # type: ignore[no-untyped-call]
            call,
            setup=_nothing_returned(setup),
            rounds=rounds,
            iterations=iterations,
            warmup_rounds=math.ceil(WARM_UP_SECONDS / (took * iterations)) if warm else 0,
        )
        assert bench.stats is not None
        self.benchmark.extra_info.update(
            unit=unit, amount=amount, items=items, flops=flops, bytes=moved_bytes, peak_bytes=peak,
        )  # fmt: skip
        self.benchmark.extra_info[f"{unit}_per_s"] = round(amount / bench.stats.stats.median)

    def tell(self, **facts: object) -> None:
        """Put more into the record."""
        self.benchmark.extra_info.update(facts)

    def clock(self) -> float:
        """Seconds, once the device has done what it was told to."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _try_out(self, call: Call, setup: Call | None, *, warm: bool) -> tuple[int | None, float]:
        """Memory that a call adds, and about how many seconds one takes."""
        if setup:
            setup()
        begin = self.clock()
        peak = memory.growth(call, self.device)
        took = self.clock() - begin
        if warm and took < self.seconds:  # else another call would only cost time
            if setup:
                setup()
            begin = self.clock()
            call()
            took = self.clock() - begin
        return peak, max(took, 1e-7)


def _nothing_returned(setup: Call | None) -> Callable[[], None] | None:
    """pytest-benchmark takes what a set-up returns for arguments."""
    if setup is None:
        return None

    def prepare() -> None:
        setup()

    return prepare


def scales(
    name: str, *sizes: Any, full: tuple[Any, ...] = (), gpu: tuple[Any, ...] = ()
) -> pytest.MarkDecorator:
    """Parametrise a benchmark by what it scales with.

    Args:
        name: of the argument.
        sizes: by default, the smallest first; under `--tiny` that one alone.
        full: more of them, under `--full`.
        gpu: instead of both on a GPU; none: both.
    """
    return pytest.mark.scales(name=name, sizes=sizes, full=full, gpu=gpu)
