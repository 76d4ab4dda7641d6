"""What of adbench works on this machine: what `adbench doctor` tells, for people and bug reports.

Everything is looked at behind `tried`, so that whatever is broken becomes a line of the record and
never the end of it. Importing this package imports nothing heavy; torch, too, may be broken.
"""

from __future__ import annotations

from typing import Any

from adbench import plugins, provenance, resources
from adbench.doctor import devices, packages, works
from adbench.doctor.attempt import tried
from adbench.doctor.ceilings import measure

__all__ = ["examine"]


def examine(device: str = "auto", *, seconds: float = 0.8) -> dict[str, Any]:
    """Everything that is told, as JSON values.

    Args:
        device: "auto", "cpu", "cuda"; where kernels are looked up and ceilings measured.
        seconds: time spent in each of the two measurements.

    Returns:
        `adbench`, `machine`, `packages`, `torch`, `kernels`, `environments`, `plugins` (broken
        ones), `ceilings` and `problems`: what has to be mended before adbench works, in words;
        empty where it does. What could not be found out is `{"error": why}`.
    """
    found = packages.found()
    torch, where = devices.torch_record(device)
    record: dict[str, Any] = {
        "adbench": {
            "version": packages.own_version(),
            "commit": tried(provenance.commit),
            "python": provenance.versions()["python"],
        },
        "machine": tried(_machine),
        "packages": found,
        "torch": torch,
        "kernels": tried(lambda: works.kernels(where)),
        "environments": tried(works.environments),
        "plugins": tried(works.broken_plugins),
        "ceilings": tried(lambda: measure(where, seconds=seconds)),
    }
    return {**record, "problems": _problems(record)}


def _machine() -> dict[str, Any]:
    return {
        **provenance.machine(),
        "usable_cores": resources.usable_cores(),
        "free_memory_bytes": resources.free_memory_bytes(),
        "compiler": packages.compiler(),
    }


def _problems(record: dict[str, Any]) -> list[str]:
    """What keeps adbench from working, each with what to do."""
    wrong = packages.problems(record["packages"])
    if record["adbench"]["version"] is None:
        wrong.insert(
            0,
            f"{plugins.OWN_DISTRIBUTION} is not installed, so nothing is registered: no "
            "environment, source or preset. In the source tree: pip install -e .",
        )
    for part in ("torch", "kernels", "environments", "plugins", "ceilings"):
        told = record[part]
        if isinstance(told, dict) and told.get("error"):
            wrong.append(f"{part}: {told['error']}")
    if isinstance(record["environments"], list):
        wrong += [
            f"{env['name']}: {error}"
            for env in record["environments"]
            for error in (env["error"], *env["presets"].values())
            if error
        ]
    if isinstance(record["plugins"], list):
        wrong += [plugin["error"] for plugin in record["plugins"]]
    return list(dict.fromkeys(wrong))
