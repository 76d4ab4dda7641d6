"""What a family can be told reaches it from flags and files, and nonsense is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench import cli, env_settings, flags, plugins
from adbench.config import RunConfig
from adbench.errors import ConfigError, UnknownNameError
from adbench.folder import RunFolder
from adbench.train.state import identity

FRAMES = {"height": 32, "width": 24}


def make(
    *,
    size: int = 9,
    wind: float = 0.5,
    name: str = "lake",
    slippery: bool = True,
    goal: int | None = None,
    shape: tuple[int, int] = (3, 3),
    **others: Any,
) -> None:
    """A family's function, by its arguments."""  # fmt: skip


def test_settings_are_the_arguments_with_a_default_that_a_file_can_hold() -> None:
    known = {"size": 9, "wind": 0.5, "name": "lake", "slippery": True, "goal": None}
    assert env_settings.defaults(make) == known
    assert env_settings.defaults(3) == env_settings.defaults(lambda: None) == {}


def test_what_is_not_named_keeps_its_default() -> None:
    full = env_settings.resolved("lake", make, {"size": 3, "wind": 1})
    assert full == {"size": 3, "wind": 1, "name": "lake", "slippery": True}
    assert env_settings.resolved("lake", make, {"goal": 4})["goal"] == 4


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"siez": 3}, "no setting of lake named 'siez'. Did you mean 'size' or"),
        ({"others": 3}, "no setting of lake named 'others'"),
        ({"size": 3.5}, "env_settings.size: lake wants a whole number, such as 9; got 3.5"),
        ({"size": True}, "env_settings.size: lake wants a whole number, such as 9; got True"),
        ({"wind": True}, "env_settings.wind: lake wants a number, such as 0.5; got True"),
        ({"slippery": 1}, "env_settings.slippery: lake wants true or false, such as True; got 1"),
        ({"name": 3}, "env_settings.name: lake wants a text, such as 'lake'; got 3"),
    ],
)
def test_what_a_family_does_not_know_is_refused_by_name(given: Any, says: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError)) as refused:
        env_settings.checked("lake", make, given)
    assert says in str(refused.value)


def test_a_family_is_made_as_its_settings_say() -> None:
    assert plugins.family("watermaze", FRAMES).observation_space.shape == (32, 24, 3)
    assert plugins.family("watermaze").observation_space.shape == (64, 64, 3)
    config = RunConfig(env="watermaze", env_settings=FRAMES)
    assert plugins.family_of(config).observation_space.shape == (32, 24, 3)


@pytest.mark.parametrize("path", ["flags", "file"])
def test_flags_and_files_set_them_and_the_run_says_all_of_them(path: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[env_settings]\nheight = 32\nwidth = 24\n")
    words = ["--env-settings.height", "32", "--env-settings.width=24"]
    values, rest = flags.take_flags(words if path == "flags" else [], ())
    assert rest == []
    config = flags.resolve("watermaze", "smoke", file if path == "file" else None, values)
    assert FRAMES.items() <= config.env_settings.items()
    assert config.env_settings["samples"] == 1
    run = RunFolder.open(tmp_path / "run", config)
    run.settle()
    assert RunFolder.read(run.path).config == config
    command = flags.command_of(config.with_(env_settings={**config.env_settings, "samples": 4}))
    assert "--env-settings.samples 4" in command


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("watermaze --env-settings.hight 32", "no setting of watermaze named 'hight'. Did you"),
        ("watermaze --env-settings.height 0", "a whole number of pixels from 1 to 4096; got 0"),
        ("watermaze --env-settings.samples 3", "of watermaze: a pixel has 1 or 4 samples; got 3"),
        ("watermaze --env-settings.width wide", "wants a whole number, such as 64; got 'wide'"),
        ("watermaze --env-settings.width inf", "env_settings.width: Input should be a finite"),
        ("bandit --env-settings.height 32", "env_settings.height: bandit takes no settings"),
        ("watermaze --env-settings 32", "--env-settings is a group of settings"),
    ],
)
def test_a_command_line_with_wrong_settings_is_refused_before_anything_is_made(
    words: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["run", *words.split(), "--preset", "smoke", "--out", str(out)]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_a_checkpoint_belongs_to_the_settings_that_it_was_trained_with() -> None:
    plain = RunConfig(env="dark-room")
    told = RunConfig(env="watermaze", env_settings=FRAMES)
    assert "env_settings" not in identity(plain, method="ad", seed=0)
    assert identity(told, method="ad", seed=0)["env_settings"] == FRAMES


def test_a_family_from_a_function_with_arguments_of_its_own(
    publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(
        "caves",
        "[adbench.envs]\ndeep = deep_caves:deep\n",
        deep_caves="from adbench.errors import UsageError\n"
        "from adbench_envs.dark_room import DarkRoom\n"
        "def deep(depth=3):\n"
        "    if depth > 9:\n"
        "        raise UsageError(f'depth: wants 0 to 9; got {depth}.')\n"
        "    made = DarkRoom()\n"
        "    made.name, made.depth = 'deep', depth\n"
        "    return made\n",
    )
    assert getattr(plugins.family("deep", {"depth": 5}), "depth") == 5  # noqa: B009
    with pytest.raises(ConfigError, match=r"env_settings of deep: depth: wants 0 to 9; got 10"):
        plugins.family("deep", {"depth": 10})
