"""Lets a source tree that nobody installed be found by its own name.

Environments, sources and presets come in through entry points, which Python reads from an installed
distribution's metadata. On a machine without a network there may be nothing to install it with; the
few lines of metadata are then written from pyproject.toml, into a folder for PYTHONPATH.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.on_gpu.card import ROOT

PACKAGES = (ROOT, ROOT / "kernels", ROOT / "envs")
"""What has to be on PYTHONPATH beside the metadata."""


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)["project"]
    return found


def is_installed() -> bool:
    """Whether Python knows the distribution."""
    try:
        metadata.distribution(project()["name"])
    except metadata.PackageNotFoundError:
        return False
    return True


def write(folder: Path) -> Path:
    """Write the metadata into a folder; returns the dist-info folder in it.

    Args:
        folder: which is to go on PYTHONPATH; it is made if it is not there.
    """
    about = project()
    name = about["name"].replace("-", "_")
    target = folder / f"{name}-{about['version']}.dist-info"
    target.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    needs = "".join(f"Requires-Dist: {need}\n" for need in about["dependencies"])
    (target / "METADATA").write_text(head + needs, encoding="utf-8")
    groups = {"console_scripts": about.get("scripts", {}), **about.get("entry-points", {})}
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
    (target / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return target


def register() -> None:
    """Let this process find the distribution, if it does not yet."""
    if is_installed():
        return
    folder = _temporary()
    write(folder)
    sys.path.append(str(folder))
    importlib.invalidate_caches()


def environment() -> dict[str, str]:
    """Environment variables with which another process finds the packages, and the distribution."""
    folders = [str(folder) for folder in PACKAGES]
    if not is_installed():
        folder = _temporary()
        write(folder)
        folders.append(str(folder))
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, *([before] if before else [])])}


def _temporary() -> Path:
    """A folder that goes when this process does."""
    folder = Path(tempfile.mkdtemp(prefix="adbench-metadata-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
