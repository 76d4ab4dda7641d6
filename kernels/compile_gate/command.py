"""The command: compiles in two processes, says what it finds, exits 1 where something is wrong."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time

import torch
import triton

from compile_gate import golden
from compile_gate.cases import jobs
from compile_gate.gate import Verdict, check
from compile_gate.targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    """Run the gate; 0: everything passes, 1: something does not."""
    asked = _parser().parse_args(arguments)
    work = [
        (target, job.name)
        for target in asked.targets.split(",")
        for job in jobs(target)
        if asked.only in f"{target}/{job.name}"
    ]
    print(
        f"Triton {triton.__version__}, torch {torch.__version__}: {len(work)} launches to compile",
        file=sys.stderr,
    )
    began = time.perf_counter()
    verdicts: list[Verdict] = []
    context = multiprocessing.get_context("spawn")
    with context.Pool(asked.processes) as pool:
        for done in pool.imap(_run, [(*one, not asked.update) for one in work]):
            verdicts += done
            for verdict in done:
                print(_line(verdict), flush=True)
    failed = [verdict for verdict in verdicts if verdict.problems]
    if asked.json:
        rows = [
            {
                "target": verdict.target,
                "kernel": verdict.key,
                "facts": None if verdict.facts is None else verdict.facts._asdict(),
                "problems": verdict.problems,
            }
            for verdict in verdicts
        ]
        with open(asked.json, "w", encoding="utf-8") as file:
            json.dump({"triton": triton.__version__, "kernels": rows}, file, indent=1)
    if asked.update:
        _update(verdicts, whole=not asked.only)
    seconds = time.perf_counter() - began
    print(
        f"{len(verdicts) - len(failed)} of {len(verdicts)} kernels pass, in {seconds:.0f} s",
        file=sys.stderr,
    )
    for verdict in failed:
        print(verdict, file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compile_gate", description=main.__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS), help="comma-separated")
    parser.add_argument("--only", default="", help="part of TARGET/CASE")
    parser.add_argument("--json", default="", help="write what was measured to this file")
    parser.add_argument("--update", action="store_true", help="rewrite this Triton's golden file")
    parser.add_argument("--processes", type=int, default=2, help="that compile side by side")
    return parser


def _run(one: tuple[str, str, bool]) -> list[Verdict]:
    target, name, compare = one
    (job,) = (job for job in jobs(target) if job.name == name)
    return check(job, TARGETS[target], compare=compare)


def _line(verdict: Verdict) -> str:
    head = f"{'FAIL' if verdict.problems else 'ok  '} {verdict.target:7}{verdict.key:60}"
    if verdict.facts is None:
        return f"{head} {verdict.problems[0]}"
    facts = verdict.facts._asdict()
    return head + " ".join(f" {name} {value}" for name, value in facts.items() if value)


def _update(verdicts: list[Verdict], *, whole: bool) -> None:
    table = golden.load(triton.__version__) or {}
    for verdict in verdicts:
        if whole:
            table[verdict.target] = {}
    for verdict in verdicts:
        if verdict.facts is not None and TARGETS[verdict.target].matrix is not None:
            table.setdefault(verdict.target, {})[verdict.key] = verdict.facts
    golden.save(triton.__version__, {name: table[name] for name in TARGETS if table.get(name)})
    print(f"wrote {golden.path(triton.__version__)}", file=sys.stderr)
