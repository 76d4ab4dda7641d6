"""`adbench doctor`: everything is told, nothing that is broken ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
import torch

from adbench import doctor, plugins
from adbench.cli import main
from adbench.doctor import ceilings, packages, words, works
from adbench.doctor.attempt import reason, tried
from adbench.errors import UsageError

Told = pytest.CaptureFixture[str]
Publish = Callable[..., None]

RATES: dict[str, Any] = {
    "device": "cpu",
    "threads": 2,
    "matmul": {"dtype": "float32", "size": 1024, "flops_per_s": 123.4e9},
    "copy": {"bytes": 2**27, "bytes_per_s": 9.87e9},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurements have a test of their own."""
    monkeypatch.setattr(doctor, "measure", lambda device, *, seconds: RATES)


@pytest.fixture
def few_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two environments stand for all, so that a test takes a second."""
    plain = plugins.scan

    def scan(group: str) -> tuple[plugins.PluginEntry, ...]:
        ours = ("bandit", "watermaze-small")
        return tuple(
            e for e in plain(group) if group != plugins.ENVS or not e.own or e.name in ours
        )

    monkeypatch.setattr(plugins, "scan", scan)


@pytest.mark.usefixtures("few_worlds")
def test_it_tells_of_the_machine_the_packages_the_kernels_and_the_worlds(capsys: Told) -> None:
    assert main(["doctor", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in (sys.version.split()[0], torch.__version__, "numpy ", "attention", "raycast"):
        assert word in out
    assert "bandit" in out and "smoke, quick, paper" in out and "drawn by raycast" in out
    assert "123 GFLOP/s" in out and "9.87 GB/s" in out
    assert "Nothing that adbench needs is missing or broken." in out


@pytest.mark.usefixtures("few_worlds")
def test_json_holds_the_same_for_programs(capsys: Told) -> None:
    assert main(["doctor", "--device", "cpu", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["problems"] == [] and record["ceilings"] == RATES
    names = {package["name"]: package for package in record["packages"]}
    assert names["torch"]["version"] == metadata.version("torch") and not names["torch"]["extra"]
    assert names["miniworld"]["extra"] == "miniworld"
    assert names["miniworld"]["install"] == "pip install 'algorithm-distillation-bench[miniworld]'"
    worlds = {env["name"]: env for env in record["environments"]}
    assert set(worlds["watermaze-small"]["renderers"]) == {"raycast", "miniworld"}
    assert worlds["bandit"]["presets"] == dict.fromkeys(("smoke", "quick", "paper"))
    assert record["kernels"]["operations"]["raycast"]["available"][0] == "reference"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom adbench.cli import main\nassert main(['doctor', '--help']) == 0\n"
        "sys.exit(bool({'torch', 'pydantic', 'numpy', 'tyro'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_torch_that_cannot_be_imported_is_a_line_and_exit_code_1() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom adbench.cli import main\n"
        "sys.exit(main(['doctor'] + sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert "torch cannot be used: ModuleNotFoundError" in done.stdout
    assert "What has to be mended" in done.stdout
    assert "Environments" in done.stdout and "numpy " in done.stdout


@pytest.mark.usefixtures("few_worlds")
def test_a_broken_world_is_named_and_the_others_are_told_of(publish: Publish, capsys: Told) -> None:
    publish("bad", "[adbench.envs]\nbad-world = bad_world:World\n", bad_world="raise SystemExit(3)")
    assert main(["doctor", "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "bad-world" in out and "BROKEN" in out and "pip uninstall bad" in out
    assert "watermaze-small" in out and "smoke, quick, paper" in out


@pytest.mark.usefixtures("few_worlds")
def test_a_broken_source_is_a_problem(publish: Publish) -> None:
    publish("odd", "[adbench.sources]\nodd = odd_source:S\n", odd_source="1 / 0")
    (problem,) = doctor.examine("cpu")["problems"]
    assert "'odd' of odd 1.0" in problem and "ZeroDivisionError" in problem


@pytest.mark.usefixtures("few_worlds")
def test_what_a_renderer_lacks_is_said_once_with_its_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = plugins.family

    def family(name: str, settings: Any = None) -> Any:
        if (settings or {}).get("renderer") == "miniworld":
            raise UsageError("no GL: apt-get install libgl1.")
        return plain(name, settings)

    monkeypatch.setattr(plugins, "family", family)
    record = doctor.examine("cpu")
    assert record["problems"] == []
    shown = list(words.lines(record))
    assert shown.count("  drawn by miniworld: no GL: apt-get install libgl1.") == 1


@pytest.mark.usefixtures("few_worlds")
def test_a_device_that_is_not_there_is_a_problem_and_the_cpu_is_looked_at() -> None:
    record = doctor.examine("cuda:77")
    assert record["torch"]["device"] == "cpu"
    assert any("--device cuda:77 cannot be used" in problem for problem in record["problems"])


@pytest.mark.usefixtures("few_worlds")
def test_a_measurement_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: str, *, seconds: float) -> dict[str, Any]:
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(doctor, "measure", fails)
    record = doctor.examine("cpu")
    assert record["problems"] == ["ceilings: RuntimeError: illegal instruction"]
    assert "  none: RuntimeError: illegal instruction" in list(words.lines(record))


def test_ceilings_are_positive_rates_of_what_was_measured() -> None:
    found = ceilings.measure("cpu", seconds=0.0)
    assert found["matmul"]["flops_per_s"] > 0 and found["copy"]["bytes_per_s"] > 0
    assert found["matmul"]["dtype"] == "float32" and found["threads"] == torch.get_num_threads()


def test_missing_and_outdated_packages_are_told_from_the_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"torch": "2.9.1+cpu", "rich": "13.10", "numpy": "1.26"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda _: [
            "torch>=2.11",
            "rich>=13.7",
            "numpy>=1.26",
            "h5py>=3.10",
            'ray[default]>=2.40; extra == "ray"',
            'elsewhere>=1; sys_platform == "amiga" and extra == "triton"',
            'mypy>=1.14; extra == "dev"',
        ],
    )
    found = packages.found()
    assert [package["name"] for package in found] == ["torch", "rich", "numpy", "h5py", "ray"]
    assert packages.problems(found) == [
        "torch 2.9.1+cpu is too old, 2.11 or later is needed: pip install -U torch",
        "h5py is missing: pip install h5py",
    ]


def test_outside_of_an_installation_the_doctor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "own_version", lambda: None)
    monkeypatch.setattr(metadata, "requires", nothing)
    monkeypatch.setattr(works, "environments", list)
    record = doctor.examine("cpu")
    assert "pip install -e ." in record["problems"][0]
    assert "(not installed)" in next(words.lines(record))


def test_what_fails_is_kept_as_a_reason_and_what_it_prints_stays_off_stdout(capsys: Told) -> None:
    def noisy() -> None:
        print("a banner")
        raise ImportError("libx.so:\n  no such file")

    assert tried(noisy) == {"error": "ImportError: libx.so: no such file"}
    out, err = capsys.readouterr()
    assert out == "" and err == "a banner\n"
    assert reason(UsageError("say it plainly.")) == "say it plainly."
    assert len(reason(ValueError("x" * 5000))) < 500
