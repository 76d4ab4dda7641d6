"""The suite section: three minutes of `adbench suite run quick` as anybody would type it.

Nothing is checked here but that it runs: it must end well, or stop at its time with work begun.
What is recorded is what its runs say of themselves: seconds a stage, and throughput.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.on_gpu import models, source_tree, sources
from benchmarks.on_gpu.card import ROOT, Card
from benchmarks.on_gpu.cases import UnsupportedError
from benchmarks.on_gpu.runner import Ending
from benchmarks.on_gpu.store import Store

ABOUT = "three minutes of `adbench suite run quick --device cuda`: does it run, and how fast"

MINUTES, SMOKE_MINUTES = 3.0, 1.0
GRACE_SECONDS = 90.0
"""That it may take to stop after its time: a checkpoint, a unit of work, the leaderboard."""
ENDED, STOPPED = 0, 3
"""Exit codes that are no failure."""
LAST_LINES = 5

Run = Callable[[Sequence[str], float], tuple[int, str]]
"""Runs a command within some seconds; its exit code and the last it said."""


def command(folder: Path, *, smoke: bool) -> list[str]:
    """What is typed.

    Args:
        folder: where the runs go.
        smoke: the smallest suite on a CPU, for a minute.
    """
    name, device = ("smoke", "cpu") if smoke else ("quick", "cuda")
    minutes = SMOKE_MINUTES if smoke else MINUTES
    words = [sys.executable, "-m", "adbench", "suite", "run", name, "--device", device]
    return [*words, "--stop-after", f"{minutes:g}", "--out", str(folder)]


def key(smoke: bool) -> dict[str, str | int]:
    """The name of the one case."""
    return {"op": "suite", "suite": "smoke" if smoke else "quick"}


def measure(
    card: Card,
    store: Store,
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = print,
    run: Run | None = None,
) -> Ending:
    """Run the slice, if it has no outcome yet, and store it.

    Args:
        card: what it may use.
        store: of the section.
        until: when to stop, by `clock`; it is not begun where the slice would not end by then.
        clock: seconds.
        say: is told a line.
        run: runs a command; a process unless given.
    """
    source = sources.of_case("pipeline")
    if store.has(key(card.smoke), source):
        return Ending(0, 1, 0, ())
    seconds = 60 * (SMOKE_MINUTES if card.smoke else MINUTES) + GRACE_SECONDS
    if clock() + seconds > until:
        return Ending(0, 0, 1, ())
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
        words = command(Path(folder), smoke=card.smoke)
        found = _outcome(words, Path(folder), seconds, run or _run)
    store.put(key(card.smoke), source, found)
    say(f"[1/1] suite: {told(found)}")
    bad = ("suite",) if found["status"] == "failed" else ()
    return Ending(1, 0, 0, bad)


def told(found: Mapping[str, Any]) -> str:
    """An outcome on one line."""
    if "exit_code" not in found:
        return f"{found['status']}: {found['reason']}"
    finished = sum(run["finished"] for run in found["runs"])
    said = f"{found['status']}: exit code {found['exit_code']} after {found['seconds']:g} s, "
    return said + f"{finished} of {len(found['runs'])} runs begun are finished"


def _outcome(words: Sequence[str], folder: Path, seconds: float, run: Run) -> dict[str, Any]:
    try:
        models.require()
    except UnsupportedError as error:
        return {"status": "unsupported", "reason": str(error)}
    begin = time.monotonic()
    code, said = run(words, seconds)
    shown = [word.replace(str(folder), "DIR") for word in ("adbench", *words[3:])]
    begun = runs(folder)
    found: dict[str, Any] = {
        "status": "ok", "exit_code": code, "seconds": round(time.monotonic() - begin, 1),
        "command": shlex.join(shown), "runs": begun,
    }  # fmt: skip
    if code not in (ENDED, STOPPED):
        return {**found, "status": "failed", "reason": said}
    if not any(each["stage_seconds"] for each in begun):
        return {**found, "status": "failed", "reason": f"no stage of any run was begun: {said}"}
    return found


def _run(words: Sequence[str], seconds: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=source_tree.environment(), timeout=seconds, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, f"it went on for {seconds:.0f} s, and should have stopped before"
    return done.returncode, " | ".join(done.stdout.strip().splitlines()[-LAST_LINES:])


def runs(folder: Path) -> list[dict[str, Any]]:
    """What the runs in a folder say of themselves, in order: seconds a stage, throughput.

    A run that was stopped has no `results.json` yet; its seconds and the last line of its training
    are told then.
    """
    found = []
    for config in sorted(folder.rglob("config.toml")):
        run = config.parent
        told: dict[str, Any] = {"run": str(run.relative_to(folder)), "finished": False}
        results = _json(run / "results.json")
        if results:
            told |= {"finished": True, "stage_seconds": results.get("stage_seconds", {}),
                     "throughput": results.get("throughput", {})}  # fmt: skip
        else:
            told |= {"stage_seconds": _json(run / "seconds.json"), "throughput": _training(run)}
        found.append(told)
    return found


def _training(run: Path) -> dict[str, float]:
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {"train_tokens_per_s": float(json.loads(lines[-1])["tokens_per_second"])}
    except (OSError, ValueError, LookupError):
        return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
