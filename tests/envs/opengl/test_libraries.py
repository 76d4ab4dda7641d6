"""What is said where MiniWorld cannot run. Nothing here needs OpenGL, but where it says so."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import gymnasium
import pytest

import adbench_envs  # noqa: F401  (registers the ids)
from adbench.errors import UnknownNameError, UsageError
from adbench_envs.watermaze import Watermaze
from adbench_envs.worlds.opengl import libraries


def test_a_missing_miniworld_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(libraries, "_opens", lambda name: True)
    with pytest.raises(
        UsageError, match=r"pip install 'algorithm-distillation-bench\[miniworld\]'"
    ):
        Watermaze(renderer="miniworld")


@pytest.mark.skipif(sys.platform != "linux", reason="the libraries are named for Linux")
def test_a_missing_library_is_named_with_the_package_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name, package in libraries.LIBRARIES.items():
        monkeypatch.setattr(libraries, "_opens", lambda other, name=name: other != name)
        with pytest.raises(UsageError) as refused:
            gymnasium.make("adbench/WatermazeMiniWorld-v0")
        said = str(refused.value)
        assert name in said and f"recommends {package}." in said and "renderer='raycast'" in said
        assert not any(other in said for other in libraries.LIBRARIES if other != name)


def test_a_library_that_is_not_there_cannot_be_opened() -> None:
    assert not libraries._opens("libnobody-has-this.so.1")


def test_the_ray_caster_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "missing", lambda: ["Everything is missing."])
    assert Watermaze().renderer == "raycast"
    with pytest.raises(UsageError, match="Everything is missing"):
        Watermaze(renderer="miniworld")


def test_an_unknown_renderer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'miniworld'"):
        Watermaze(renderer="minworld")


def test_settings_of_the_users_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LP_NUM_THREADS", "3")
    monkeypatch.delenv("PYGLET_DEBUG_GL", raising=False)
    assert libraries.settings()["LP_NUM_THREADS"] == "3"
    assert libraries.settings()["PYGLET_DEBUG_GL"] == "False"


@pytest.mark.requires("gl")
@pytest.mark.parametrize(
    ("lack", "how"),
    [
        # The library is there, and finds no driver.
        ({"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent.json"}, "headless through EGL"),
        ({"PYGLET_HEADLESS": "False", "DISPLAY": ":99"}, "on a display"),
    ],
)
def test_a_machine_without_egl_or_display_is_told_what_to_install(
    lack: dict[str, str], how: str
) -> None:
    script = (
        "from adbench.errors import UsageError\n"
        "from adbench_envs.worlds.opengl.libraries import load\n"
        "try:\n"
        "    load()\n"
        "except UsageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | lack
    )
    assert f"no OpenGL context could be had {how}" in done.stdout, done.stderr
    assert "apt-get install" in done.stdout and "renderer='raycast'" in done.stdout
