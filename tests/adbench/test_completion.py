"""Shells complete what is typed after adbench: verbs, options, settings, names."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench import plugins
from adbench.cli import VERBS, main
from adbench.commands.arguments import parser_of
from adbench.commands.completion import SCRIPTS
from adbench.completion import candidates

Told = pytest.CaptureFixture[str]
Publish = Callable[..., None]


def offered(typed: str) -> list[str]:
    """What is offered where the cursor stands at the end of a line after `adbench `."""
    return candidates(typed.split(" "))


def test_the_first_word_is_a_verb() -> None:
    assert set(offered("")) == {*VERBS, "help", "--help", "--version"}
    assert offered("ru") == ["run"]
    assert offered("help co") == ["collect", "compare", "completion"]
    assert offered("nonsense ") == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_its_options_without_doing_anything(verb: str) -> None:
    module = importlib.import_module(f"adbench.commands.{verb.replace('-', '_')}")
    assert "--help" in parser_of(module.main).options()
    assert "--help" in offered(f"{verb} --he")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("run water", ["watermaze", "watermaze-hard", "watermaze-small"]),
        ("check-env ban", ["bandit"]),
        ("run dark-room --pre", ["--preset"]),
        ("run dark-room --preset ", ["paper", "quick", "smoke"]),
        ("run --out x watermaze --preset g", ["gpu"]),
        ("run --preset=smoke --train.compile dark-room --preset=q", ["--preset=quick"]),
        ("run dark-room --preset = q", ["quick"]),
        ("run dark-room --preset =q", ["quick"]),
        ("run dark-room --device c", ["cpu", "cuda"]),
        ("run dark-room --train.window", ["--train.window-steps"]),
        ("run dark-room --train.no-c", ["--train.no-choose-best", "--train.no-compile"]),
        ("run dark-room --train.context ", ["banded", "exact"]),
        ("run dark-room --train.updates ", []),
        ("run dark-room --source.name q", ["q-lambda"]),
        ("run dark-room --log t", ["tensorboard"]),
        ("run dark-room --out ", []),
        ("collect dark-room --log", []),
        ("train --st", ["--stop-after"]),
        ("train ", []),
        ("list s", ["sources"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("suite ", ["list", "report", "run", "show"]),
        ("suite run smo", ["smoke"]),
        ("perf ", ["compare", "report"]),
        ("perf compare --thr", ["--threshold"]),
        ("suite run quick --ad", ["--adopt"]),
        ("suite run quick --device=cu", ["--device=cuda"]),
    ],
)
def test_what_may_follow_is_offered(typed: str, found: list[str]) -> None:
    assert offered(typed) == found


def test_another_packages_names_are_offered(publish: Publish) -> None:
    publish(
        "caves",
        "[adbench.envs]\ncave-of-ours = caves:Cave\n[adbench.presets]\n"
        "cave-of-ours.deep = caves:deep\n",
        caves="raise SystemExit('nobody asked for the module')",
    )
    assert offered("run cave") == ["cave-of-ours"]
    assert "deep" in offered("run cave-of-ours --preset ")


def test_asking_loads_nothing_heavy() -> None:
    code = (
        "import sys; from adbench.cli import main\n"
        "main(['completion', '--words', *sys.argv[1:]])\n"
        "heavy = {'torch', 'numpy', 'tyro', 'gymnasium', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for typed, one in (("r", "run"), ("run dark", "dark-room"), ("run bandit --see", "--seeds")):
        words = typed.split(" ")
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert one in done.stdout.splitlines()


def test_what_is_broken_is_not_told_to_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    def fails(group: str) -> tuple[str, ...]:
        raise RuntimeError(group)

    monkeypatch.setattr(plugins, "names", fails)
    assert main(["completion", "--words", "run", ""]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path, capsys: Told) -> str:
    """A shell's script; `adbench` is on the path of the folder it is in."""
    program = tmp_path / "adbench"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m adbench "$@"\n')
    program.chmod(0o755)
    assert main(["completion", request.param]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    return str(request.param)


def told_by(shell: str, line: str, folder: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-c", line],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_asks_and_offers(script: str, tmp_path: Path) -> None:
    line = (
        "source ./script; complete -p adbench >/dev/null\n"
        'COMP_WORDS=(adbench run dark-room --preset ""); COMP_CWORD=4; _adbench\n'
        'echo "${COMPREPLY[@]}"'
    )
    assert told_by(script, line, tmp_path) == ["paper", "quick", "smoke"]


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_asks_and_offers(script: str, tmp_path: Path) -> None:
    line = (
        "compdef() { :; }; compadd() { print -l $found; }; source ./script\n"
        'words=(adbench run dark-room --preset ""); CURRENT=5; _adbench'
    )
    assert told_by(script, line, tmp_path) == ["paper", "quick", "smoke"]


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_asks_and_offers(script: str, tmp_path: Path) -> None:
    line = "source ./script; complete --do-complete 'adbench run dark-room --preset '"
    assert told_by(script, line, tmp_path) == ["paper", "quick", "smoke"]


def test_there_is_a_script_for_each_shell_that_says_how_to_keep_it() -> None:
    for shell, text in SCRIPTS.items():
        assert f"adbench completion {shell}" in text and "completion --words" in text
