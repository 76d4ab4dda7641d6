"""What every benchmark records, and which sizes run.

    make bench                                      # into benchmarks/results/latest.json
    .venv/bin/pytest benchmarks/bench_envs.py       # one suite
    .venv/bin/pytest benchmarks --full              # every size
    .venv/bin/pytest benchmarks --device cuda       # on a GPU
    .venv/bin/pytest benchmarks --tiny --benchmark-disable      # do they still work?

A benchmark proves that what it times is right before it times it, and says how much of what a call
gets done (`meter.py`). One that is skipped, finds no memory or computes the wrong thing has no time
in the file, and a line under `adbench.untimed` that says why. docs/benchmarks.md has the method.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from adbench.perf.compare import QUIET_LOAD
from adbench.perf.measured import SCHEMA
from benchmarks import machine
from benchmarks.memory import is_out_of_memory
from benchmarks.meter import Meter

OUT_OF_MEMORY = "out of memory"
_LONGEST_REASON = 300
_LOAD = pytest.StashKey[float]()
_UNTIMED = pytest.StashKey[list[dict[str, Any]]]()
_FACTS_OF_CPU = ("arch", "bits", "brand_raw", "count", "hz_actual_friendly", "l3_cache_size")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("adbench benchmarks")
    group.addoption("--full", action="store_true", help="every size, and longer over each")
    group.addoption("--tiny", action="store_true", help="the smallest size alone, not timed")
    group.addoption(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="a GPU if there is one"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scales(name, sizes, full, gpu): see meter.scales")
    config.addinivalue_line("markers", "full: runs under --full alone")
    config.addinivalue_line("markers", "only(device): runs on that device alone")
    device_of(config)
    load = machine.load_average()
    config.stash[_LOAD], config.stash[_UNTIMED] = load, []
    idle = ("benchmark_disable", "tiny", "collectonly")
    measures = not any(config.getoption(name, False) for name in idle)
    if measures and load > QUIET_LOAD * (os.cpu_count() or 1):
        config.issue_config_time_warning(
            UserWarning(f"load average {load:.1f}: the machine is not idle, times will be high"), 2
        )


def device_of(config: pytest.Config) -> str:
    """Where this session measures.

    Raises:
        pytest.UsageError: a GPU was asked for and there is none.
    """
    asked = str(config.getoption("--device"))
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: torch sees no GPU here; use --device cpu")
    return asked


@pytest.hookimpl(trylast=True)  # after pytest's own, so that sizes stand last in a name
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    config = metafunc.config
    for mark in metafunc.definition.iter_markers("scales"):
        given = mark.kwargs
        sizes = given["sizes"]
        if config.getoption("--tiny"):
            sizes = sizes[:1]
        elif device_of(config) == "cuda" and given["gpu"]:
            sizes = given["gpu"]
        elif config.getoption("--full"):
            sizes = (*sizes, *given["full"])
        metafunc.parametrize(given["name"], sizes, ids=[_name(size) for size in sizes])


def _name(size: object) -> str:
    """64x64 of (64, 64)."""
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    device, full = device_of(config), config.getoption("--full")
    left_out = [
        item
        for item in items
        if (item.get_closest_marker("full") and not full)
        or any(mark.args != (device,) for mark in item.iter_markers("only"))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def meter(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Meter:
    """Times the benchmark."""
    config = request.config
    return Meter(
        benchmark,
        device=device_of(config),
        full=config.getoption("--full"),
        tiny=config.getoption("--tiny"),
    )


@pytest.fixture(scope="session")
def tiny(request: pytest.FixtureRequest) -> bool:
    """Whether benchmarks are only to be tried out."""
    return bool(request.config.getoption("--tiny"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Give torch one thread for a while."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    try:
        return (yield)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        pytest.xfail(f"{OUT_OF_MEMORY}: {str(error).partition(chr(10))[0]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if (
        not report.passed
        and report.when != "teardown"
        and "meter" in getattr(item, "fixturenames", ())
    ):
        status, reason = _outcome(report, call)
        item.config.stash[_UNTIMED].append(
            {
                "fullname": item.nodeid,
                "group": getattr(benchmark, "group", None),
                "status": status,
                "reason": reason[:_LONGEST_REASON],
                "extra_info": dict(getattr(benchmark, "extra_info", {})),
            }
        )
    return report


def _outcome(report: pytest.TestReport, call: pytest.CallInfo[None]) -> tuple[str, str]:
    """What became of a benchmark without a time, and why."""
    said = str(call.excinfo.value).strip() if call.excinfo is not None else ""
    said = said.partition("\n")[0]
    if report.skipped and said.startswith(f"{OUT_OF_MEMORY}: "):
        return OUT_OF_MEMORY, said.removeprefix(f"{OUT_OF_MEMORY}: ")
    if report.skipped:
        return "skipped", said
    wrong = call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
    return ("wrong" if wrong else "failed"), said or "it failed"


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Leave out the machine's name, and the flags of its processor, of which there are hundreds."""
    machine_info.pop("node", None)
    cpu = machine_info.get("cpu")
    if isinstance(cpu, dict):
        machine_info["cpu"] = {name: cpu[name] for name in _FACTS_OF_CPU if name in cpu}


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """Add the machine and what has no time; leave out single rounds, which nobody reads."""
    untimed = config.stash[_UNTIMED]
    lost = {each["fullname"] for each in untimed}
    output_json["benchmarks"] = [
        each for each in output_json["benchmarks"] if each["fullname"] not in lost
    ]
    for each in output_json["benchmarks"]:
        each["stats"].pop("data", None)
        each.pop("options", None)
    output_json["adbench"] = {
        "schema": SCHEMA,
        "machine": machine.describe(load_before=config.stash[_LOAD]),
        "untimed": untimed,
    }
