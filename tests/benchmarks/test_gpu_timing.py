"""The timer of a GPU, held to a clock of our own: no GPU is needed to see what it divides by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.on_gpu import timing
from benchmarks.on_gpu.timing import CudaTimer, Samples, WallTimer, quantile


class Device:
    """A GPU whose time goes on when a call runs, and, unlike the calls', by its graph's replay."""

    def __init__(self, capture_fails: bool = False) -> None:
        self.ms = 0.0
        self.captured: list[float] | None = None
        self.capture_fails = capture_fails
        self.replays = 0

    def call(self, ms: float) -> Callable[[], None]:
        def run() -> None:
            if self.captured is not None:
                self.captured.append(ms)
            else:
                self.ms += ms

        return run


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: object) -> None:
            self.at = device.ms

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, later: Any) -> float:
            return float(later.at - self.at)

    class Graph:
        def capture_begin(self) -> None:
            if device.capture_fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            device.captured = []

        def capture_end(self) -> None:
            self.work, device.captured = sum(device.captured or ()), None

        def replay(self) -> None:
            device.replays += 1
            device.ms += self.work

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return device


def timed(device: Device, *ms: float) -> Samples:
    class Stream:
        def synchronize(self) -> None:
            pass

    stream: Any = Stream()
    return CudaTimer(stream).samples([device.call(each) for each in ms])


def test_a_long_call_is_timed_by_itself(device: Device) -> None:
    found = timed(device, 2.0, 2.0)
    assert found.how == "events" and device.replays == 0
    assert set(found.ms) == {2.0} and len(found.ms) == 75  # 150 ms of them


def test_a_very_long_call_is_timed_a_few_times_only(device: Device) -> None:
    assert len(timed(device, 400.0, 400.0).ms) == timing.FEWEST_LONG


def test_short_calls_are_timed_in_a_graph_and_divided_by_their_number(device: Device) -> None:
    found = timed(device, 0.01, 0.03)
    assert found.how == "graph" and device.replays > timing.FEWEST
    assert found.ms == pytest.approx([0.02] * len(found.ms))
    assert timing.FEWEST <= len(found.ms) <= timing.MOST


def test_what_cannot_be_captured_is_timed_in_batches(device: Device) -> None:
    device.capture_fails = True
    found = timed(device, 0.01, 0.03)
    assert found.how == "events"
    assert found.ms == pytest.approx([0.02] * len(found.ms))


def test_the_wall_timer_runs_every_call() -> None:
    seen: list[int] = []
    found = WallTimer().samples([lambda: seen.append(0), lambda: seen.append(1)])
    assert seen == [0, 1] * 4 and len(found.ms) == 6 and found.how == "wall"


def test_quantiles_lie_between_neighbours() -> None:
    assert [quantile([3.0, 1.0, 2.0], q) for q in (0.0, 0.25, 0.5, 1.0)] == [1.0, 1.5, 2.0, 3.0]
    assert quantile([7.0], 0.2) == 7.0
