"""The wheel holds our three packages with all their data, and nothing generic."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "adbench": ROOT / "adbench",
    "adbench_envs": ROOT / "envs/adbench_envs",
    "adbench_kernels": ROOT / "kernels/adbench_kernels",
}
MOST_BYTES = 2_000_000
"""All of ours with its data; far above what it is, far below a stray run folder."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install '.[dev]'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_holds_the_three_packages_and_nothing_generic(wheel: Path) -> None:
    assert wheel.name.startswith("algorithm_distillation_bench-")
    assert wheel.name.endswith("-py3-none-any.whl")
    top = {name.split("/")[0] for name in names_in(wheel)}
    metadata = {name for name in top if name.endswith(".dist-info")}
    assert len(metadata) == 1
    assert top - metadata == set(PACKAGES)
    assert wheel.stat().st_size < MOST_BYTES


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    expected = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names_in(wheel)
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected


def test_its_metadata_is_the_projects(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        points = configparser.ConfigParser()
        points.optionxform = str  # type: ignore[assignment,method-assign]
        points.read_string(archive.read(name).decode())
        licence = archive.read(name.replace("entry_points.txt", "licenses/LICENSE")).decode()
    assert dict(points["console_scripts"]) == {"adbench": "adbench.cli:main"}
    for group, entries in project["entry-points"].items():
        assert dict(points[group]) == entries
    assert "Apache License" in licence and "Version 2.0" in licence


def test_unpacked_elsewhere_it_finds_itself_and_its_data(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import importlib.resources as resources, json, adbench\n"
        "assert adbench.__file__.startswith(sys.argv[1]), adbench.__file__\n"
        "schema = resources.files('adbench') / 'results.schema.json'\n"
        "print(json.loads(schema.read_text())['$schema'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "json-schema.org" in done.stdout


def test_the_version_is_written_once_more_and_the_same() -> None:
    import adbench

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert adbench.__version__ == project["version"]


def test_all_brings_every_extra_but_the_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.split("[")[1].rstrip("]").split(","))
    assert named == set(extras) - {"all", "dev", "docs"}
