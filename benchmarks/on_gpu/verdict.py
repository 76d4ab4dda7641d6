"""The tests section: run the GPU tests, and let nothing be timed until all of them pass.

A verdict belongs to the sources it was reached with: change a kernel or a test, and it is due anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.on_gpu import sources
from benchmarks.on_gpu.card import ROOT, Card
from benchmarks.on_gpu.runner import Ending
from benchmarks.on_gpu.store import Store, read

ABOUT = "tests/kernels/gpu; the other sections refuse until they pass"

TESTS = ROOT / "tests" / "kernels" / "gpu"
SMOKE_TESTS = (ROOT / "tests" / "kernels" / "test_patch_embed.py",)
MOST_WORKERS = 6
"""Processes that compile kernels side by side; each holds a context of half a gigabyte."""

Run = Callable[[Path, float], dict[str, Any]]


def files(smoke: bool) -> list[Path]:
    """The test files, in order."""
    return list(SMOKE_TESTS) if smoke else sorted(TESTS.rglob("test_*.py"))


def bound_to(smoke: bool) -> str:
    """What a verdict is bound to: kernels and tests."""
    return f"{sources.of_kernels()}+{sources.of_tests(files(smoke))}"


def test(
    card: Card,
    store: Store,
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
    run: Run | None = None,
) -> Ending:
    """Run each test file that has no outcome yet, and store it.

    Args:
        card: what the tests may use.
        store: of the tests section.
        until: when to stop, by `clock`; a file that did not end by then is left.
        clock: seconds.
        say: is told a line a file.
        run: runs a file within some seconds; pytest unless given.
    """
    run = run or (lambda path, seconds: _pytest(path, seconds, on_gpu=card.on_gpu))
    source = bound_to(card.smoke)
    waiting = [f for f in files(card.smoke) if not store.has(_key(f), source)]
    kept = len(files(card.smoke)) - len(waiting)
    bad: list[str] = []
    for number, file in enumerate(waiting):
        left = until - clock()
        found = run(file, left) if left > 0 else {"status": "time is up"}
        if found["status"] == "time is up":
            return Ending(number, kept, len(waiting) - number, tuple(bad))
        store.put(_key(file), source, found)
        if found["status"] != "ok":
            bad.append(str(_key(file)["file"]))
        counts = ", ".join(f"{found[n]} {n}" for n in ("passed", "failed", "skipped"))
        say(f"[{number + 1}/{len(waiting)}] {file.name}: {counts}")
        for name in found["failures"]:
            say(f"    FAILED {name}")
    return Ending(len(waiting), kept, 0, tuple(bad))


def refusal(folder: Path, *, smoke: bool) -> str | None:
    """Why nothing may be timed or shown, none if every GPU test passed with these sources.

    Args:
        folder: of the result files.
        smoke: judge by the few tests of a trial.
    """
    again = "Run the tests section first: make bench-gpu SECTION=tests"
    document = read(folder / "tests.json")
    if document is None:
        return f"the GPU tests have not run. {again}"
    source, wanted = bound_to(smoke), {_key(file)["file"] for file in files(smoke)}
    rows = {row["case"]["file"]: row for row in document["rows"] if row["source"] == source}
    missing = sorted(wanted - rows.keys())
    if missing or not wanted:
        what = f"{len(missing)} of {len(wanted)} GPU test files have not run with these sources"
        return f"{what if wanted else 'there are no GPU tests'}. {again}"
    bad = [name for name in sorted(wanted) if rows[name]["status"] != "ok"]
    if bad:
        failures = sum(rows[name]["failed"] for name in bad)
        return (
            f"{failures} GPU tests fail or cannot run ({', '.join(bad)}): no speed is measured "
            "or shown until they pass."
        )
    if not sum(rows[name]["passed"] for name in wanted):
        return f"no GPU test ran: all were skipped. {again}"
    return None


def _key(file: Path) -> dict[str, str]:
    return {"file": str(file.relative_to(ROOT))}


def _pytest(path: Path, seconds: float, *, on_gpu: bool) -> dict[str, Any]:
    """Run one file in a process of its own; a lost device is lost there only."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:benchmark",
                   "-p", "no:cacheprovider", f"--junitxml={report}", str(path)]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        if on_gpu:
            # What should be here must not be skipped in silence.
            environment["ADBENCH_REQUIRE"] = "gpu,triton"
            command += _workers()
        begin = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=max(seconds, 1.0),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"status": "time is up"}
        if not report.exists():
            tail = done.stdout.strip().splitlines()[-5:]
            return _outcome(0, [f"pytest ended with {done.returncode}: {' | '.join(tail)}"], 0)
        found = judge(ElementTree.parse(report).getroot())
    return {**found, "seconds": round(time.monotonic() - begin, 1)}


def judge(report: ElementTree.Element) -> dict[str, Any]:
    """The outcome of a JUnit report."""
    failures, passed, skipped = [], 0, 0
    for case in report.iter("testcase"):
        wrong = next((case.find(tag) for tag in ("failure", "error") if case.find(tag) is not None),
                     None)  # fmt: skip
        if wrong is not None:
            said = (wrong.get("message") or "").partition("\n")[0][:200]
            failures.append(f"{case.get('name')}: {said}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return _outcome(passed, failures, skipped)


def _outcome(passed: int, failures: Sequence[str], skipped: int) -> dict[str, Any]:
    status = "failed" if failures else "ok"
    return {
        "status": status, "passed": passed, "failed": len(failures), "skipped": skipped,
        "failures": list(failures)[:20],
    }  # fmt: skip


def _workers() -> list[str]:
    """Options for several processes, where pytest can."""
    import importlib.util

    if importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", str(max(1, min(MOST_WORKERS, (os.cpu_count() or 2) // 2))), "--dist", "worksteal"]
