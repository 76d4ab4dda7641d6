"""Which sources a measurement is of: digests that change when what was measured changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmarks.on_gpu.card import ROOT

KERNELS = ROOT / "kernels" / "adbench_kernels"
SUITE, ENVS = ROOT / "adbench", ROOT / "envs" / "adbench_envs"
MODEL = (
    SUITE / "model", SUITE / "train", SUITE / "config.py", SUITE / "policy.py", SUITE / "tokens.py",
)  # fmt: skip
"""What training and acting are made of."""
KINDS = ("", "kernels", "choice", "model", "pipeline")
"""What a measurement may be of: torch alone; our kernels; those and the table of choices; those and
the model with its training; all of the suite."""
GPU_TESTS = ROOT / "tests" / "kernels"


def digest(files: Iterable[Path]) -> str:
    """Of names and contents, in any order of the files."""
    state = hashlib.blake2b(digest_size=8)
    for file in sorted(files):
        state.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return state.hexdigest()


def of_kernels() -> str:
    """Of everything in the package but the table of choices, which picks and computes nothing."""
    files = [f for f in KERNELS.rglob("*") if f.suffix in (".py", ".json")]
    return digest(f for f in files if f.name != "choice.json")


def of_code() -> str:
    """Of the package's code alone: what a tile is tuned for, which a new table leaves as it is."""
    return digest(KERNELS.rglob("*.py"))


def of_packages(places: Iterable[Path]) -> str:
    """Of files, and of all code and settings in folders."""
    found = [
        file
        for place in places
        for file in (place.rglob("*") if place.is_dir() else [place])
        if file.suffix in (".py", ".toml")
    ]
    return digest(found)


def of_tests(paths: Iterable[Path]) -> str:
    """Of test files and of what they share."""
    shared = [GPU_TESTS / "conftest.py", *(GPU_TESTS / "kernel_checks").rglob("*.py")]
    found = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return digest({file for file in (*shared, *found) if file.exists()})


def of_case(depends: str) -> str:
    """What the measurement of a case with this `depends` is bound to."""
    if not depends:
        return ""
    if depends == "kernels":
        return of_kernels()
    chosen = f"{of_kernels()}+{digest([KERNELS / 'choice.json'])}"
    if depends == "choice":
        return chosen
    return f"{chosen}+{of_packages(MODEL if depends == 'model' else (SUITE, ENVS))}"
