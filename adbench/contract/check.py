"""What a check is: a title, a function that yields what is wrong, and advice on mending it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from adbench.errors import AdbenchError

if TYPE_CHECKING:
    from adbench.contract.subject import Subject

Status = Literal["ok", "failed", "note", "skipped"]
Body = Callable[["Subject"], Iterator[str]]

# A fault that shows in every lane and step need not be told a thousand times.
_MOST_FINDINGS = 5


@dataclass(frozen=True)
class CheckResult:
    """How one check went.

    Attributes:
        name: one word or two, joined by a hyphen.
        title: what holds where it passes, as a sentence.
        status: "note" is worth knowing and no breach; "skipped": what it needs failed.
        findings: what is wrong, one sentence each.
        advice: how to mend it.
    """

    name: str
    title: str
    status: Status
    findings: tuple[str, ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """One clause of the contract.

    Attributes:
        name: as in `CheckResult`, like `title` and `advice`.
        needs: checks that must have passed, or it would only repeat their findings.
        binding: a finding is a breach; else it is a note.
        body: yields what is wrong.
    """

    name: str
    title: str
    advice: str
    needs: tuple[str, ...]
    binding: bool
    body: Body

    def run(self, subject: Subject, earlier: Mapping[str, CheckResult]) -> CheckResult:
        """Carry it out, after the checks that it needs."""
        missing = [n for n in self.needs if n not in earlier or earlier[n].status in _UNSOUND]
        if missing:
            why = f"not looked at, because {' and '.join(map(repr, missing))} did not pass"
            return CheckResult(self.name, self.title, "skipped", (why,))
        findings: list[str] = []
        try:
            findings += islice(self.body(subject), _MOST_FINDINGS)
        except Exception as error:  # whatever a stranger's code does is a finding
            findings.append(_raised(error))
        if not findings:
            return CheckResult(self.name, self.title, "ok")
        status: Status = "failed" if self.binding else "note"
        return CheckResult(self.name, self.title, status, tuple(findings), self.advice)


_UNSOUND = ("failed", "skipped")

CHECKS: dict[str, Check] = {}
"""Every check by name, in the order in which they run."""


def check(
    name: str, title: str, *, advice: str, needs: tuple[str, ...] = (), binding: bool = True
) -> Callable[[Body], Body]:
    """Register a function as a check; the arguments are `Check`'s."""

    def register(body: Body) -> Body:
        CHECKS[name] = Check(name, title, advice, needs, binding, body)
        return body

    return register


def _raised(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    frame = frames[-1]
    here = os.path.dirname(__file__)
    theirs = [f for f in frames if not f.filename.startswith(here)]
    if theirs:
        frame = theirs[-1]
    said = f"{error}" if isinstance(error, AdbenchError) else f"{type(error).__name__}: {error}"
    return f"it raised {said.rstrip('.')} (at {frame.filename}:{frame.lineno})"
