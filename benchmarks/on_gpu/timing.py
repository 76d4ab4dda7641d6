"""Times of calls on a GPU, by its own clock, and on a CPU, by the wall's."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch

Call = Callable[[], object]

WARM_UP_S = 0.03
"""Time spent on calls before the first that counts; an idle H200 raises its clock from 345 MHz."""
MEASURE_S = 0.15
FEWEST, FEWEST_LONG, MOST = 7, 3, 100
"""Samples: fewest for a p20 that means something; fewest of long calls, which vary little; most."""
LONG_MS = 50.0
SHORT_MS = 0.3
"""Below this the launch of a call from Python may take longer than its work: use a graph."""
SAMPLE_MS = 1.0
"""The least time one sample should span: an event's clock ticks in half microseconds."""


class Samples(NamedTuple):
    """Milliseconds a call, sample by sample, and how they came about."""

    ms: tuple[float, ...]
    how: str

    def summary(self) -> dict[str, float | int | str]:
        """Median and spread, as the result files hold them."""
        p20, p80 = quantile(self.ms, 0.2), quantile(self.ms, 0.8)
        return {
            "median_ms": statistics.median(self.ms),
            "p20_ms": p20,
            "p80_ms": p80,
            "samples": len(self.ms),
            "how": self.how,
        }


class Timer(Protocol):
    """What the runner times with."""

    def samples(self, calls: Sequence[Call], *, capture: bool = True) -> Samples:
        """Time calls in turn; short ones in a CUDA graph, if they may be captured."""


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile of values, linearly between neighbours."""
    in_order = sorted(values)
    at = q * (len(in_order) - 1)
    low = math.floor(at)
    high = min(low + 1, len(in_order) - 1)
    return in_order[low] + (at - low) * (in_order[high] - in_order[low])


class WallTimer:
    """Times on the CPU by the wall clock; for trying the benchmark out."""

    def samples(self, calls: Sequence[Call], *, capture: bool = True) -> Samples:
        """Time three rounds of calls after one round of warm-up."""
        for call in calls:
            call()
        found = []
        for call in list(calls) * 3:
            begin = time.perf_counter()
            call()
            found.append(1000 * (time.perf_counter() - begin))
        return Samples(tuple(found), "wall")


class CudaTimer:
    """Times on a GPU by events; short calls are captured in a CUDA graph first.

    Args:
        stream: on which everything runs, also the preparation: a backward pass runs on the stream
            of its forward pass, and a capture sees its own stream only.
    """

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream

    def samples(self, calls: Sequence[Call], *, capture: bool = True) -> Samples:
        """Time calls in turn: medians of events around single calls, or around graphs of many."""
        for call in calls:
            call()
        rough_ms = max(self._events([*calls], 1)[0] / len(calls), 1e-4)
        if rough_ms >= SHORT_MS:
            return Samples(self._measure(calls, rough_ms, rounds=1), "events")
        rounds = max(1, round(SAMPLE_MS / rough_ms / len(calls)))
        try:
            replay = self._capture(calls, rounds) if capture else None
        except RuntimeError:
            torch.cuda.synchronize()
            replay = None
        if replay is None:
            return Samples(self._measure(calls, rough_ms, rounds=rounds), "events")
        in_graph = rounds * len(calls)
        graph_ms = max(self._events([replay], 1)[0], 1e-4)
        times = self._measure([replay], graph_ms, rounds=1)
        return Samples(tuple(ms / in_graph for ms in times), "graph")

    def _capture(self, calls: Sequence[Call], rounds: int) -> Call:
        graph = torch.cuda.CUDAGraph()
        self._stream.synchronize()
        graph.capture_begin()
        try:
            for _ in range(rounds):
                for call in calls:
                    call()
        finally:
            graph.capture_end()
        return graph.replay

    def _measure(self, calls: Sequence[Call], rough_ms: float, *, rounds: int) -> tuple[float, ...]:
        """Milliseconds a call; a sample is one call, or `rounds` rounds where that is above 1."""
        batch = list(calls) * rounds if rounds > 1 else None
        sample_ms = rough_ms * (len(batch) if batch else 1)
        self._events([calls[i % len(calls)] for i in range(self._count(WARM_UP_S, rough_ms))], 1)
        fewest = FEWEST_LONG if sample_ms > LONG_MS else FEWEST
        count = min(max(math.ceil(1000 * MEASURE_S / sample_ms), fewest), MOST)
        if batch:
            return tuple(ms / len(batch) for ms in self._events(batch * count, len(batch)))
        return self._events([calls[i % len(calls)] for i in range(count)], 1, each=True)

    @staticmethod
    def _count(seconds: float, rough_ms: float) -> int:
        return min(max(math.ceil(1000 * seconds / rough_ms), 1), 1000)

    def _events(
        self, calls: Sequence[Call], every: int, *, each: bool = False
    ) -> tuple[float, ...]:
        """Milliseconds of each run of `every` calls; of all calls together unless asked."""
        step = every if each or every > 1 else len(calls)
        marks = [_mark()]
        marks[0].record(self._stream)
        for number, call in enumerate(calls, start=1):
            call()
            if number % step == 0:
                marks.append(_mark())
                marks[-1].record(self._stream)
        marks[-1].synchronize()
        return tuple(a.elapsed_time(b) for a, b in itertools.pairwise(marks))


def _mark() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
