"""Which packages there are, which are missing or too old, and the line that installs them.

What adbench needs is read from its own metadata, which `pyproject.toml` became.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from adbench.plugins import OWN_DISTRIBUTION

_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?\s*(?P<wanted>[^;]*)(;(?P<when>.*))?"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NOT_SHOWN = ("dev", "all")
"""Extras of whoever works on adbench, and the sum of the others."""

_SERVES = {
    "triton": "kernels on GPUs",
    "miniworld": "first-person worlds drawn by OpenGL",
    "zstd": "histories that store frames",
    "bench": "the benchmarks",
    "tensorboard": "--log tensorboard",
    "wandb": "--log wandb",
}
"""What an extra is there for, where its name does not say it."""


def own_version() -> str | None:
    """Version of adbench as installed; none: it is not."""
    try:
        return metadata.version(OWN_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None


def found() -> list[dict[str, Any]]:
    """Every package that adbench needs or can use, in the order of its metadata.

    Each has `name`, `version` (none: missing), `least` (oldest version that will do), `too_old`,
    `extra` (none: adbench needs it), `serves` (what the extra is for) and `install` (the line that
    brings it).
    """
    try:
        lines = metadata.requires(OWN_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return list(_found(lines))


def problems(packages: list[dict[str, Any]]) -> list[str]:
    """What is wrong with them: needed and missing, or there and too old."""
    wrong = []
    for package in packages:
        name, version = package["name"], package["version"]
        if version is None and package["extra"] is None:
            wrong.append(f"{name} is missing: {package['install']}")
        elif package["too_old"]:
            wrong.append(
                f"{name} {version} is too old, {package['least']} or later is needed: "
                f"pip install -U {name}"
            )
    return wrong


def compiler() -> str | None:
    """The C++ compiler that `train.compile` would use; none: there is none."""
    return next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)


def _found(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        parts = _REQUIREMENT.match(line)
        if parts is None:
            continue
        when = parts["when"] or ""
        named = _EXTRA.search(when)
        extra = named[1] if named else None
        elsewhere = re.search(r"sys_platform\s*==\s*['\"](\w+)['\"]", when)
        if extra in _NOT_SHOWN or (elsewhere and elsewhere[1] != sys.platform):
            continue
        name = parts["name"]
        if name == OWN_DISTRIBUTION:
            continue
        least = re.search(r">=\s*([0-9.]+)", parts["wanted"])
        version = _version(name)
        yield {
            "name": name,
            "version": version,
            "least": least[1] if least else None,
            "too_old": bool(version and least and _numbers(version) < _numbers(least[1])),
            "extra": extra,
            "serves": _SERVES.get(extra or ""),
            "install": f"pip install '{OWN_DISTRIBUTION}[{extra}]'"
            if extra
            else f"pip install {name}",
        }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.13.0+cpu is (2, 13, 0)."""
    leading = re.match(r"[0-9.]*", version)
    parts = leading[0].strip(".").split(".") if leading else []
    return tuple(int(part) for part in parts if part)
