"""The kernel tests that need Triton, in an environment of their own for each version of it.

    make test-kernels          or: .venv/bin/python tests/kernels/environments.py

An environment holds Triton (and numpy, where that version needs another) and finds everything else
in the one that this runs from, so it is small and quick to make. Each has two processes: one
interprets the kernels on the CPU, one compiles them for GPUs that are not there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Environment(NamedTuple):
    """One version of Triton.

    Attributes:
        name: for people.
        packages: what is installed; the first is Triton.
        share: of the interpreter's cases one in so many runs.
    """

    name: str
    packages: tuple[str, ...]
    share: int

    @property
    def folder(self) -> Path:
        """Where it is."""
        return Path(sys.prefix) / "kernels" / self.packages[0].replace("==", "-")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"


# The one place that names versions, but for the golden files of kernels/compile_gate.
ENVIRONMENTS = (
    Environment("newest", ("triton==3.9.0",), share=1),
    # Its interpreter breaks with numpy 2.4, where an array of one element is no number any more.
    Environment("oldest supported", ("triton==3.6.0", "numpy<2.4"), share=3),
)

LEGS: tuple[tuple[str, dict[str, str]], ...] = (
    ("interpreted", {"TRITON_INTERPRET": "1"}),
    ("compiled", {}),
)
FOLDERS = {
    "interpreted": ("tests/kernels/interpreted", "tests/envs/interpreted"),
    "compiled": ("tests/kernels/compiled",),
}
"""The tests of a leg."""
LIMIT_SECONDS = 900
"""Of one leg: past it, something hangs."""


def main() -> int:
    """Run every leg, whatever became of those before; 0: all passed."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        print(f"test-kernels: NOTICE: Triton has no build for {sys.platform} on "
              f"{platform.machine()}; nothing was tested")  # fmt: skip
        return int("triton" in os.environ.get("ADBENCH_REQUIRE", ""))
    for environment in ENVIRONMENTS:
        prepare(environment)
    results = []
    for number, environment in enumerate(ENVIRONMENTS):
        for count, (leg, variables) in enumerate(LEGS, start=1):
            place = f"{number * len(LEGS) + count}/{len(ENVIRONMENTS) * len(LEGS)}"
            what = f"{environment.packages[0]} ({environment.name}), {leg}"
            print(f"\ntest-kernels {place}: {what}", flush=True)
            began = time.monotonic()
            passed = run(environment, leg, variables)
            results.append((what, passed, time.monotonic() - began))
    print("\ntest-kernels:")
    for what, passed, seconds in results:
        print(f"  {'passed' if passed else 'FAILED'} {seconds:5.0f} s  {what}")
    print(f"         {sum(seconds for *_, seconds in results):5.0f} s  in all")
    return int(not all(passed for _, passed, _ in results))


def prepare(environment: Environment) -> None:
    """Make the environment, unless it is there as it should be."""
    stamp = environment.folder / "installed"
    wanted = "\n".join((*environment.packages, sys.version))
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"set-up: {', '.join(environment.packages)} in {environment.folder}", flush=True)
    shutil.rmtree(environment.folder, ignore_errors=True)
    _call(sys.executable, "-m", "venv", "--without-pip", str(environment.folder))
    # Before the packages of the other environment come into view: pip must not count them.
    _call(
        sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-qq",
        "--disable-pip-version-check", "--no-deps", *environment.packages,
    )  # fmt: skip
    (packages,) = environment.folder.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in shared]
    (packages / "shared.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _call(str(environment.python), "-c", "import adbench_kernels, numpy, pytest, triton")
    stamp.write_text(wanted, encoding="utf-8")


def run(environment: Environment, leg: str, variables: dict[str, str]) -> bool:
    """One leg in one environment; whether all its tests passed."""
    command = [
        str(environment.python), "-m", "pytest", *FOLDERS[leg], "-q",
        "-p", "no:benchmark", "-p", "no:cacheprovider", "--durations", "8", "--disable-warnings",
        "--numprocesses", "auto", "--maxprocesses", "8", "--dist", "worksteal",
    ]  # fmt: skip
    settings = {
        # One thread a process: two would take turns on each core.
        "OMP_NUM_THREADS": "1",
        "ADBENCH_REQUIRE": "triton",
        "ADBENCH_KERNEL_SHARE": str(environment.share),
        "TRITON_CACHE_DIR": str(environment.folder / "cache"),
    }
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**inherited, **settings, **variables}, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"test-kernels: stopped after {LIMIT_SECONDS} s")
        return False
    return done.returncode == 0


def _call(*command: str) -> None:
    done = subprocess.run(command)
    if done.returncode:
        raise SystemExit(f"test-kernels: this failed: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
