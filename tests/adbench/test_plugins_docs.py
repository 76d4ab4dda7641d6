"""docs/plugins.md is right: its files make a package, its commands work, its table is complete."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench import cli, plugins
from adbench.gym_adapter import gym_family

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()


def blocks(language: str) -> list[str]:
    """The guide's code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The guide's command lines, once each."""
    return list(dict.fromkeys(line for block in blocks("console") for line in block.splitlines()))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package that the guide's reader has at the end of it."""
    for text in blocks("python"):
        name = text.partition("\n")[0].removeprefix("# ")
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    points = re.sub(r'\[project\.entry-points\."(.*)"\]', r"[\1]", "\n".join(blocks("toml")))
    info = tmp_path / "my_worlds-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-worlds\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(points.replace('"', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for module in [name for name in sys.modules if name.split(".")[0] == "my_worlds"]:
        del sys.modules[module]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_guide_works(
    command: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(command)
    assert program == "adbench"
    if arguments[0] == "run":  # the same command, with less to do
        arguments += ["--methods", "ad,random", "--train.updates", "2", "--tasks.train", "4"]
        arguments += ["--collect.learners-per-task", "2", "--evaluate.episodes", "2"]
        arguments += ["--collect.episodes", "5", "--collect.max-episodes", "60"]
        arguments += ["--train.subsample", "1", "--train.batch-sequences", "2"]
    code = cli.main(arguments)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    if arguments[0] == "run":
        assert (package / arguments[arguments.index("--out") + 1] / "report.html").exists()
    elif arguments[0] != "plugins":
        assert "frozen-lakes" in captured.out


def test_the_guides_own_test_passes(package: Path) -> None:
    runpy.run_path(str(package / "tests" / "test_lakes.py"))[
        "test_frozen_lakes_keep_the_contract"
    ]()


@pytest.mark.usefixtures("package")
def test_the_guides_names_are_there() -> None:
    assert plugins.family("frozen-lakes").name == "frozen-lakes"
    assert plugins.source("guess").name == "guess"
    assert plugins.preset("frozen-lakes", "wide").model.width == 128


def test_the_guide_explains_every_argument_of_gym_family() -> None:
    explained = set(re.findall(r"^\| `(\w+)(?:\(task\))?` \|", GUIDE, flags=re.MULTILINE))
    assert explained == set(inspect.signature(gym_family).parameters)


def test_the_guide_names_the_variable_that_hides_plug_ins() -> None:
    assert f"{plugins.DISABLE}=1" in GUIDE
