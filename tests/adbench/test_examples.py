"""The example plug-in package: built, installed into a scratch place, and used from the outside.

Everything runs as its author would: pip, then the command line, in processes of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "adbench-example-plugin"

Adbench = Callable[..., subprocess.CompletedProcess[str]]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command; what it printed is in the failure if it fails to start."""
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example is installed: a folder that only this test's processes look into."""
    pytest.importorskip("pip", reason="pip is not installed")
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")
    scratch = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, scratch / "source")  # building leaves nothing in the tree
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", *offline)
    done = run(*pip, "--target", str(scratch / "site"), str(source))
    assert done.returncode == 0, done.stderr
    return scratch / "site"


@pytest.fixture(scope="module")
def adbench(site: Path) -> Adbench:
    """Runs the command line where the example is installed."""

    def command(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        done = run(
            sys.executable, "-m", "adbench", *arguments, PYTHONPATH=path, OMP_WAIT_POLICY="passive"
        )
        assert done.returncode == expect, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    return command


def test_the_wheel_holds_its_package_and_nothing_else(site: Path) -> None:
    packages = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert packages == {"adbench_example_plugin"}


def test_the_list_names_what_the_package_brought(adbench: Adbench) -> None:
    listed = json.loads(adbench("list", "--json").stdout)
    brought = {
        group: {row["name"] for row in rows if row["distribution"] == "adbench-example-plugin"}
        for group, rows in listed.items()
        if group != "loggers"  # it has none
    }
    assert brought == {
        "envs": {"hot-cold", "lucky-ring"},
        "sources": {"hill-climb"},
        "presets": {"hot-cold.tiny"},
    }
    rows = {row["name"]: row for row in listed["envs"]}
    assert rows["hot-cold"]["error"] is None
    assert "tiny" in rows["hot-cold"]["presets"]
    assert rows["lucky-ring"]["description"].startswith("Lucky Ring: 12 cells in a ring")


@pytest.mark.parametrize("name", ["hot-cold", "lucky-ring"])
def test_both_worlds_keep_the_contract(adbench: Adbench, name: str) -> None:
    done = json.loads(adbench("check-env", name, "--json").stdout)
    assert done["distribution"] == "adbench-example-plugin"
    assert [c["findings"] for c in done["checks"] if c["status"] != "ok"] == []


def test_a_batched_world_of_theirs_is_collected_trained_and_evaluated(
    adbench: Adbench, tmp_path: Path
) -> None:
    folder = tmp_path / "hot-cold"
    fewer = ("--collect.learners-per-task", "4", "--train.updates", "6")
    adbench("collect", "hot-cold", "--preset", "tiny", *fewer, "--out", str(folder))
    manifest = (folder / "histories" / "seed-0" / "manifest.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in manifest]
    assert {line["env"] for line in lines} == {"hot-cold"}
    assert sum(line["learners"] for line in lines) == 15 * 4
    adbench("train", str(folder))
    assert any((folder / "checkpoints" / "seed-0" / "ad").rglob("model.safetensors"))
    adbench("evaluate", str(folder))
    found = {path.stem for path in (folder / "evaluations" / "seed-0" / "test").iterdir()}
    assert {"ad", "source"} <= found


def test_a_plain_gymnasium_world_of_theirs_runs_to_its_report(
    adbench: Adbench, tmp_path: Path
) -> None:
    folder = tmp_path / "lucky-ring"
    few = ("--methods", "ad,source,random", "--train.updates", "6")
    adbench("run", "lucky-ring", "--preset", "smoke", *few, "--out", str(folder))
    results = json.loads((folder / "results.json").read_text())
    assert results["env"] == "lucky-ring"
    assert results["optimal_estimated"] is True  # nobody told it the optimum
    assert set(results["curves"]) == {"ad", "source", "random"}
    assert len(results["task_ids"][0]) == len(results["per_task"]["ad"][0]) > 0
    assert (folder / "report.html").stat().st_size > 0
