"""For your own tests: `check_env` holds a task family to the contract.

def test_my_world_keeps_the_contract() -> None:
    adbench.testing.check_env(MyWorld())
"""

from __future__ import annotations

from adbench.contract import CheckResult, Subject, run_checks
from adbench.errors import ContractError
from adbench.task import TaskFamily

__all__ = ["CheckResult", "check_env", "env_checks", "module_of"]


def check_env(family: TaskFamily | str, *, device: str = "cpu") -> None:
    """Hold a family to the contract, as `adbench check-env` does.

    Args:
        family: an instance, or the name under which one is registered.
        device: where its environments are made.

    Raises:
        ContractError: lists every violation and how to mend it.
        UnknownNameError: no family is registered under that name.
        PluginError: the family registered under that name does not load.
    """
    results = env_checks(family, device=device)
    failed = [result for result in results if result.status == "failed"]
    if failed:
        name = family if isinstance(family, str) else getattr(family, "name", "") or type(family)
        told = "\n".join(
            f"- {result.name}: {finding}\n  To mend it: {result.advice}"
            for result in failed
            for finding in result.findings
        )
        raise ContractError(f"{name} breaks the contract of adbench.TaskFamily:\n{told}")


def env_checks(
    family: TaskFamily | str, *, device: str = "cpu", only: tuple[str, ...] | None = None
) -> list[CheckResult]:
    """Every check and how it went.

    Args:
        family: an instance, or the name under which one is registered.
        device: where its environments are made.
        only: names of checks to run, with those that they need; None: all.
    """
    if isinstance(family, str):
        from adbench import plugins

        family = plugins.family(family)
    return run_checks(Subject(family, module_of(family), device), only=only)


def module_of(family: TaskFamily) -> str:
    """The module that somebody wrote for a family: of its class, or of `gym_family`'s `make`."""
    author = getattr(family, "make_env", None) or type(family)
    return str(getattr(author, "__module__", "") or "")
