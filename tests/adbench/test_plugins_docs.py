"""docs/plugins.md is right: its files make a package, and its table is complete.

Its commands are run by tests/docs.
"""

from __future__ import annotations

import inspect
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench import plugins
from adbench.gym_adapter import gym_family
from documented.files import install, write_files
from documented.pages import ROOT

PAGE = "docs/plugins.md"
GUIDE = (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package that the guide's reader has at the end of it."""
    write_files(PAGE, tmp_path)
    assert install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for module in [name for name in sys.modules if name.split(".")[0] == "my_worlds"]:
        del sys.modules[module]


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
