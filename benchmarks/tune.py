"""Search tiles for the kernels on this GPU, and write the tables that the package ships.

    make tune                                      search; type it again while it ends with code 3
    python -m benchmarks.tune --list               what would be tried
    python -m benchmarks.tune --apply FILE         tiles found elsewhere into configs.json
    python -m benchmarks.tune --choices FOLDER     what `make bench-gpu` measured into choice.json

Every tile is held against the definition before it is timed; one that spills registers, does not
compile or needs more than the chip has is passed over and recorded. When all were tried, the best
go into configs.json; the GPU tests are then due anew. Exit codes as those of benchmarks.gpu.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from benchmarks.gpu import ASKED_WRONGLY, DONE, TIME_IS_UP, WRONG
from benchmarks.on_gpu import sources, tables, tiles
from benchmarks.on_gpu.card import ROOT, Card, cpu, gpu, machine
from benchmarks.on_gpu.runner import measure
from benchmarks.on_gpu.store import OtherMachineError, Store, read

FILE = ROOT / "benchmarks" / "results" / "tiles.json"
CONFIGS, CHOICES = sources.KERNELS / "configs.json", sources.KERNELS / "choice.json"
CONFIG_KEY = ("kernel", "arch", "head_dim", "dtype_bytes", "length")
CHOICE_KEY = ("op", "arch", "mask", "head_dim", "length")
MINUTES = 8.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.choices:
        return choose(asked.choices, asked.into or CHOICES)
    if asked.apply:
        return apply(asked.apply, asked.into or CONFIGS)
    wanted = None if asked.kernel is None else asked.kernel.split(",")
    found = [
        problem
        for problem in tiles.problems(smoke=asked.smoke, on_gpu=asked.device == "cuda")
        if wanted is None or problem.kernel in wanted
    ]
    if not found:
        known = ", ".join(dict.fromkeys(p.kernel for p in tiles.problems(smoke=True, on_gpu=True)))
        return _wrong(f"--kernel: nothing to tune by the name {asked.kernel!r}; known: {known}")
    cases = tiles.cases(found, fewest=asked.smoke)
    if asked.list:
        print("\n".join(case.name for case in cases))
        print(f"{len(cases)} tiles", file=sys.stderr)
        return DONE
    if asked.device == "cpu" and not asked.smoke:
        return _wrong("--device cpu: only with --smoke, to try the program out; times mean nothing")
    if asked.smoke and (asked.out is None or asked.into is None):
        return _wrong("--smoke: name where a trial may write, with --out FILE and --into TABLE")
    if asked.device == "cuda" and not torch.cuda.is_available():
        return _wrong(
            "torch sees no GPU on this machine. Run `make tune` on one that has one; to see what "
            "it would try: python -m benchmarks.tune --list"
        )
    card: AbstractContextManager[Card] = cpu() if asked.device == "cpu" else gpu(asked.smoke)
    out = asked.out or FILE
    with card as there:
        try:
            store = Store(out, "tiles", machine(there))
            ending = measure(
                cases, there, store, source=lambda depends: sources.of_code(),
                until=time.monotonic() + 60 * asked.minutes,
                say=lambda line: print(line, flush=True),
            )  # fmt: skip
        except (OtherMachineError, ValueError) as error:
            return _wrong(str(error))
    print(f"{ending.measured} tiles tried, {ending.kept} were there, {ending.left} left")
    if ending.lost:
        print("the device failed over the last tile: type the same command again", file=sys.stderr)
        return TIME_IS_UP
    return TIME_IS_UP if ending.left else apply(out, asked.into or CONFIGS)


def apply(file: Path, table: Path) -> int:
    """Put the best tiles of a result file into a table of tiles."""
    document = read(file)
    if document is None or document.get("section") != "tiles":
        return _wrong(f"--apply: {file} holds no tiles; `make tune` writes such a file")
    rows = tables.tile_rows(document)
    print(f"{tables.merge(table, rows, CONFIG_KEY)} tiles into {table}: run the GPU tests again")
    return DONE if rows else WRONG


def choose(folder: Path, table: Path) -> int:
    """Put what `make bench-gpu` measured into a table of choices."""
    documents = {}
    for section in ("attention", "patch_embed"):
        document = read(folder / f"{section}.json")
        if document is not None:
            documents[section] = document
    if not documents:
        return _wrong(f"--choices: {folder} holds neither attention.json nor patch_embed.json")
    rows = tables.choice_rows(documents)
    print(f"{tables.merge(table, rows, CHOICE_KEY)} choices into {table}")
    return DONE if rows else WRONG


def _wrong(what: str) -> int:
    print(f"benchmarks.tune: {what}", file=sys.stderr)
    return ASKED_WRONGLY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.tune", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--kernel", help="comma-separated; all by default")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="at most; 8")
    parser.add_argument("--out", type=Path, help="result file; benchmarks/results/tiles.json")
    parser.add_argument("--into", type=Path, help="table to write; the package's own")
    parser.add_argument("--list", action="store_true", help="print what would be tried")
    parser.add_argument("--apply", type=Path, metavar="FILE", help="write its best tiles, no GPU")
    parser.add_argument("--choices", type=Path, metavar="FOLDER", help="write choices, no GPU")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to try it out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
