"""What only a GPU can show, in one command: tests, ceilings, kernels, training, acting, pixels.

    make bench-gpu                          every section, 8 minutes each at most
    make bench-gpu SECTION=attention        one; type it again while it ends with code 3
    python -m benchmarks.gpu --list         what would be measured
    python -m benchmarks.gpu --render       tables and plots from what was measured

One card, no network. Torch, Triton and pytest are all that the kernels' sections need; those from
`train` on need what the suite needs and say what is missing (`python -m benchmarks.wheels`). Every
measurement is written at once, and the same command goes on from there. Exit codes: 0 done, 1
something is wrong (a test, a result) and nothing is timed, 2 there is no GPU or the question was
wrong, 3 time is up, with cases left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from adbench_kernels.choice import runs_triton
from benchmarks.on_gpu import (
    attention,
    ceilings,
    evaluate,
    patch_embed,
    pixels,
    render,
    ring,
    rotary,
    sources,
    suite,
    train,
    verdict,
)
from benchmarks.on_gpu.card import ROOT, Card, cpu, gpu, machine
from benchmarks.on_gpu.cases import Case
from benchmarks.on_gpu.runner import Ending, measure
from benchmarks.on_gpu.store import OtherMachineError, Store

TESTS, SUITE = "tests", "suite"


def _attention(*, smoke: bool, on_gpu: bool) -> list[Case]:
    rotated = rotary.cases(smoke=smoke, on_gpu=on_gpu)
    return [*attention.cases(smoke=smoke, on_gpu=on_gpu), *rotated]


SECTIONS: dict[str, tuple[str, Callable[..., list[Case]]]] = {
    "ceilings": (ceilings.ABOUT, ceilings.cases),
    "attention": (attention.ABOUT, _attention),
    "ring": (ring.ABOUT, ring.cases),
    "patch_embed": (patch_embed.ABOUT, patch_embed.cases),
    "render": (render.ABOUT, render.cases),
    "train": (train.ABOUT, train.cases),
    "evaluate": (evaluate.ABOUT, evaluate.cases),
    "pixels": (pixels.ABOUT, pixels.cases),
}
"""What is timed, by section: a line about it, and its cases. A new section is a new line here."""
EVERY = (TESTS, *SECTIONS, SUITE)
"""In the order in which they are run: nothing is timed before the tests pass."""

FOLDER = ROOT / "benchmarks" / "results" / "gpu"
MINUTES = 8.0
DONE, WRONG, ASKED_WRONGLY, TIME_IS_UP = 0, 1, 2, 3

NO_GPU = """\
benchmarks.gpu: torch sees no GPU on this machine.
On a machine with one:           make bench-gpu [SECTION={sections}]
To see what it would measure:    python -m benchmarks.gpu --list
To try the program out here:     python -m benchmarks.gpu --device cpu --smoke"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code."""
    asked = _parser().parse_args(arguments)
    names = [*EVERY] if asked.section is None else asked.section.split(",")
    unknown = [name for name in names if name not in EVERY]
    if unknown:
        known = ", ".join(EVERY)
        return _wrong(f"--section: no section named {unknown[0]!r}; known: {known}")
    if asked.list:
        _list(names, smoke=asked.smoke)
        return DONE
    if asked.render:
        from benchmarks.on_gpu.report import render

        return render(asked.out or FOLDER, smoke=asked.smoke)
    if asked.device == "cpu" and not asked.smoke:
        return _wrong("--device cpu: only with --smoke, to try the program out; times mean nothing")
    if asked.device == "cuda" and not torch.cuda.is_available():
        return _wrong(NO_GPU.format(sections="|".join(EVERY)), plain=True)
    card: AbstractContextManager[Card] = cpu() if asked.device == "cpu" else gpu(asked.smoke)
    folder = asked.out or FOLDER
    if asked.smoke and asked.out is None:
        folder = Path(tempfile.mkdtemp(prefix="bench-gpu-"))
    with card as there:
        return _run(names, there, folder, asked)


def _run(names: Sequence[str], card: Card, folder: Path, asked: argparse.Namespace) -> int:
    worst = DONE
    for name in names:
        refusal = None if name == TESTS else verdict.refusal(folder, smoke=card.smoke)
        if refusal:
            print(f"{name}: nothing is measured: {refusal}", file=sys.stderr)
            return WRONG
        until = time.monotonic() + 60 * asked.minutes
        print(f"{name}: up to {asked.minutes:g} minutes, into {folder / name}.json", flush=True)
        try:
            ending = _section(name, card, folder, until, fresh=asked.fresh)
        except (OtherMachineError, ValueError) as error:
            return _wrong(str(error))
        _tell(name, ending)
        if ending.lost:
            return _again(names[names.index(name) :], folder, asked, until)
        if ending.bad:
            worst = WRONG
        elif ending.left and worst == DONE:
            worst = TIME_IS_UP
    return worst


def _section(name: str, card: Card, folder: Path, until: float, *, fresh: bool) -> Ending:
    path = folder / f"{name}.json"
    if fresh:
        path.unlink(missing_ok=True)
    store = Store(path, name, machine(card))
    say = _Flushed()
    if name == TESTS:
        return verdict.test(card, store, until=until, say=say)
    if name == SUITE:
        return suite.measure(card, store, until=until, say=say)
    cases = SECTIONS[name][1](smoke=card.smoke, on_gpu=runs_triton(card.device))
    return measure(cases, card, store, source=sources.of_case, until=until, say=say)


class _Flushed:
    """Prints a line at once: what is piped into a file is read while the program runs."""

    def __call__(self, line: str) -> None:
        print(line, flush=True)


def _tell(name: str, ending: Ending) -> None:
    said = f"{name}: {ending.measured} measured, {ending.kept} were there, {ending.left} left"
    print(said, flush=True)
    for bad in ending.bad:
        print(f"{name}: WRONG {bad}", file=sys.stderr)


def _again(names: Sequence[str], folder: Path, asked: argparse.Namespace, until: float) -> int:
    """Go on in a new process: in this one the device is lost. The case at fault is not repeated."""
    print("the device failed; going on in a new process", file=sys.stderr, flush=True)
    minutes = max((until - time.monotonic()) / 60, 0.0)
    command = [sys.executable, "-m", "benchmarks.gpu", "--section", ",".join(names),
               "--minutes", f"{minutes:.2f}", "--out", str(folder)]  # fmt: skip
    return subprocess.call(command + (["--smoke"] if asked.smoke else []), cwd=ROOT) or WRONG


def _list(names: Sequence[str], *, smoke: bool) -> None:
    for name in names:
        if name == TESTS:
            print(f"{name}: {verdict.ABOUT}")
            for file in verdict.files(smoke):
                print(f"  {file.relative_to(ROOT)}")
            continue
        if name == SUITE:
            print(f"{name}: {suite.ABOUT}")
            print(f"  {' '.join(map(str, suite.key(smoke).values()))}")
            continue
        about, cases = SECTIONS[name]
        found = cases(smoke=smoke, on_gpu=True)
        print(f"{name}: {about}; {len(found)} cases")
        for case in found:
            print(f"  {case.name}")


def _wrong(what: str, *, plain: bool = False) -> int:
    print(what if plain else f"benchmarks.gpu: {what}", file=sys.stderr)
    return ASKED_WRONGLY


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}, wants minutes, 0 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--section", help=f"comma-separated, of {', '.join(EVERY)}; all by default")
    parser.add_argument("--minutes", type=_minutes, default=MINUTES, help="at most, a section; 8")
    parser.add_argument("--out", type=Path, help="folder of the result files; results/gpu")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--list", "--dry-run", action="store_true", help="print the cases")
    parser.add_argument("--render", action="store_true", help="tables and plots from the files")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to try it out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
