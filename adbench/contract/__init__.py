"""The contract that every task family keeps, as checks that say what is wrong and how to mend it.

`adbench check-env NAME` and `adbench.testing.check_env` run them. `check` is what a check is,
`rollout` plays the environment that most of them look at, the others are the checks by subject.
"""

from __future__ import annotations

from adbench.contract.check import CHECKS, Check, CheckResult
from adbench.contract.subject import Subject

# Registration happens on import; the order here is the order in which they run.
from adbench.contract import (  # isort: skip
    family_checks,
    batch_checks,
    option_checks,
    episode_checks,
    return_checks,
)

__all__ = ["CHECKS", "Check", "CheckResult", "Subject", "run_checks"]

assert family_checks and batch_checks and option_checks and episode_checks and return_checks


def run_checks(subject: Subject, *, only: tuple[str, ...] | None = None) -> list[CheckResult]:
    """Run the checks in order; one whose ground another one found missing is skipped.

    Args:
        subject: the family and how to look at it.
        only: names of the checks to run, with what they need; None: all.
    """
    wanted = set(CHECKS) if only is None else _with_needs(only)
    results: dict[str, CheckResult] = {}
    for name, check in CHECKS.items():
        if name in wanted:
            results[name] = check.run(subject, results)
    return list(results.values())


def _with_needs(names: tuple[str, ...]) -> set[str]:
    wanted: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += CHECKS[name].needs
    return wanted
