"""One job on one target: compiled, read, held to the rules."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
import triton

from adbench_kernels.choice import assume_arch
from compile_gate import binary, golden, rules
from compile_gate.capture import capture
from compile_gate.cases import LENGTHS, MATRIX, Job
from compile_gate.targets import Target


class Verdict(NamedTuple):
    """About one kernel of one job on one target.

    Attributes:
        target: its name.
        key: "job/kernel".
        facts: none: it did not compile.
        golden: what is committed; none: nothing is.
        problems: what is wrong; empty: it passes.
    """

    target: str
    key: str
    facts: binary.Facts | None
    golden: binary.Facts | None
    problems: list[str]

    def __str__(self) -> str:
        """One line, or one a problem: kernel, case, target, what, golden, limit."""
        where = f"{self.target} {self.key} (Triton {triton.__version__})"
        return "\n".join(f"{where}: {problem}" for problem in self.problems) or f"{where}: passes"


def check(job: Job, target: Target, *, compare: bool = True) -> list[Verdict]:
    """Compile what a job launches, and judge every kernel of it.

    Args:
        job: a case at a length.
        target: what to compile for.
        compare: also with the golden file of this Triton version, if there is one; a kernel that
            is not in it is a problem.
    """
    committed = golden.load(triton.__version__) if compare else None
    try:
        with assume_arch(target.name), capture(target) as compiled, warnings.catch_warnings():
            # What a kernel computes must not hang on a default that changes with Triton's version.
            warnings.filterwarnings("error", message="TRITON_DEFAULT_FP_FUSION")
            job.case.launch(LENGTHS[job.length])
    except Exception as error:  # whatever the compiler raises is the finding
        first = str(error).strip().partition("\n")[0][:300]
        problem = f"does not compile: {type(error).__name__}: {first}"
        return [Verdict(target.name, job.name, None, None, [problem])]
    if not compiled:
        return [Verdict(target.name, job.name, None, None, ["nothing was launched"])]
    verdicts: dict[str, Verdict] = {}
    for one in compiled:
        facts, key = binary.read(one.binary), f"{job.name}/{one.name}"
        before = None if committed is None else committed.get(target.name, {}).get(key)
        exact = job.case.dtype == torch.float32 and one.name.startswith("attention")
        matrix = None if exact else MATRIX.get(one.name)
        found = rules.problems(facts, target, matrix=matrix, golden=before)
        if committed is not None and before is None and target.matrix is not None:
            found.append("not in the golden file: python -m compile_gate --update")
        verdicts[key] = Verdict(target.name, key, facts, before, found)
    return list(verdicts.values())
