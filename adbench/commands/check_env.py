"""`adbench check-env NAME`: hold an environment to the contract and say what is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from adbench.commands.arguments import Parser
from adbench.errors import UsageError

if TYPE_CHECKING:
    from adbench.contract import CheckResult

_MARKS = {"ok": "ok     ", "failed": "FAILED ", "note": "note   ", "skipped": "skipped"}


def main(arguments: list[str]) -> int:
    """Run the checks and print them; 1 if one failed."""
    parser = Parser(
        "check-env",
        "Hold a registered environment to the contract: spaces, tasks, steps, endings, "
        "determinism, returns. Says what is wrong and how to mend it.",
        examples=("adbench check-env dark-room", "adbench check-env dark-room --json"),
    )
    parser.add_argument("env", metavar="NAME", help="as `adbench list envs` shows it")
    parser.add_argument(
        "--device", default="cpu", help="where to make it (cpu, cuda); cpu if left out"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.read(arguments)

    from adbench import plugins

    entry = plugins.find(plugins.ENVS, asked.env)
    family = plugins.family(asked.env)

    from adbench.testing import env_checks

    _check_device(asked.device)
    results = env_checks(family, device=asked.device)
    failed = sum(result.status == "failed" for result in results)
    if asked.json:
        record = {
            "name": entry.name,
            "distribution": entry.distribution,
            "version": entry.version,
            "value": entry.value,
            "passed": not failed,
            "checks": [asdict(result) for result in results],
        }
        print(json.dumps(record, indent=2))
        return 1 if failed else 0
    print(f"{entry.name}, {entry.value} of {entry.distribution} {entry.version}")
    for result in results:
        _show(result)
    print(f"{len(results)} checks, {failed} failed.")
    return 1 if failed else 0


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"--device {name}: {reason}. Use cpu, or cuda where torch has it."
        ) from None


def _show(result: CheckResult) -> None:
    print(f"  {_MARKS[result.status]}  {result.name:13}  {result.title}")
    for finding in result.findings:
        first, *more = finding.splitlines() or [""]
        print(f"             - {first}")
        for line in more:
            print(f"               {line}")
    if result.findings and result.advice:
        print(f"             To mend it: {result.advice}")
