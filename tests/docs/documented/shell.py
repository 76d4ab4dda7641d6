"""Running what a page types into a shell, in a time that a test has.

A command is run as it is written, after those above it on its page, in a folder that begins with
the files that the page says to write. What would take longer than half a minute is run smaller, by
these rules:

- `adbench run` and `adbench collect` take `--preset smoke`, unless they name a preset of somebody's
  own, and `TINY` after their own flags.
- `adbench suite run SUITE` takes a suite of that name with its first world alone, as small as
  `TINY` makes it (`suite show` reads the suite itself); `suite run context` a study of one length
  in each of its series, once a world.
- `make TARGET` becomes `make --dry-run TARGET`: the target has to be there. The `adbench` that it
  would call is run by these same rules.
- `python -m pytest FILE ...` gets `--collect-only`: what is named has to be there. Other modules of
  the repository run as they are written, in its folder.
- `adbench perf` reads `MEASURED` in the place of files that take minutes to measure.

Any other program is a mistake of the page, for nothing can be said of it here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from adbench.cli import main
from adbench.presets import GENERIC
from adbench.suite import definition
from documented.pages import ROOT, Block

TINY = {
    "seeds": "0",
    "methods": "ad,random",
    "tasks.train": "4",
    "collect.learners-per-task": "2",
    "collect.episodes": "5",
    "collect.expert-episodes": "1",
    "collect.max-episodes": "60",
    "train.updates": "2",
    "train.subsample": "1",
    "train.batch-sequences": "2",
    "evaluate.episodes": "2",
}
"""Settings of a run that ends in seconds."""

STUDY = """
preset = "smoke"
seeds = [0]
exact = [21]
banded = [21]
tokens_per_update = 42
updates = 2
"""
"""A context study that ends in seconds."""

LEARNS = ("run", "collect")

MEASURED = ROOT / "tests/adbench/perf/measured.json"
"""What a benchmark writes, small."""

_PYTHONS = ("python", "python3", sys.executable)


class CommandError(AssertionError):
    """A documented command that does not work, or that no rule says how to run."""


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a block, as words; comments, prompts and output are left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in lines:
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words
                words = []


class Shell:
    """Runs commands in the folder where one is, and remembers what it has run.

    Args:
        kept: where finished runs are kept for other pages that ask for the same.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._runs: dict[tuple[str, ...], Path] = {}
        self._studies: set[tuple[str, ...]] = set()
        self._printed: dict[tuple[str, ...], str] = {}

    def run(self, words: list[str]) -> None:
        """Run a command by the rules above.

        Raises:
            CommandError: it fails, or there is no rule for it.
        """
        program, *arguments = words
        program = program.removeprefix(".venv/bin/")
        if program == "adbench":
            self._adbench(shortened(arguments))
        elif program == "make":
            self._make(arguments)
        elif program in _PYTHONS and arguments[:2] == ["-m", "pytest"]:
            collect = ("--collect-only", "-q", "-p", "no:cacheprovider")
            self._succeed(sys.executable, "-m", "pytest", *collect, *arguments[2:])
        elif program in _PYTHONS and arguments[:1] == ["-m"]:
            self._succeed(sys.executable, *arguments)
        elif program == "pytest":
            self.run(["python", "-m", "pytest", *arguments])
        else:
            raise CommandError(
                f"{shlex.join(words)}: no rule says how a test runs {program!r}. Write the page "
                "without it, mark the block with `<!-- not run: why -->`, or add a rule."
            )

    def _adbench(self, arguments: list[str]) -> None:
        if arguments[:1] == ["perf"]:
            for file in (Path(name) for name in arguments if name.endswith(".json")):
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(MEASURED, file)
        if arguments[:2] == ["suite", "run"]:
            arguments = small_suite(arguments)
            if _without_place(arguments) in self._studies:
                return
            self._studies.add(_without_place(arguments))
        learns = arguments[:1] in ([verb] for verb in LEARNS)
        if not learns or "--out" not in arguments:
            self._main(arguments)
            return
        out = Path(arguments[arguments.index("--out") + 1])
        # Another folder for the same run, on another page: it need not be run again.
        same = (*_without_place(arguments), *_files(arguments))
        if same in self._runs and not out.exists():
            shutil.copytree(self._runs[same], out)
        self._main(arguments)
        if same not in self._runs:
            self._runs[same] = self._kept / str(len(self._runs))
            shutil.copytree(out, self._runs[same])

    def _main(self, arguments: list[str]) -> None:
        code = main(arguments)
        if code != 0:
            raise CommandError(f"adbench {shlex.join(arguments)}: exit code {code}")

    def _make(self, arguments: list[str]) -> None:
        for line in self._succeed("make", "--dry-run", *arguments).splitlines():
            if line.startswith(".venv/bin/adbench "):
                self.run(shlex.split(line))

    def _succeed(self, *command: str) -> str:
        """Run a program in the repository, once, and return what it printed.

        Raises:
            CommandError: it failed.
        """
        if command not in self._printed:
            environment = {
                name: set_to for name, set_to in os.environ.items() if name != "MAKEFLAGS"
            }
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True
            )
            if done.returncode != 0:
                told = f"{done.stdout}\n{done.stderr}"[-2000:]
                raise CommandError(f"{shlex.join(command)}: exit code {done.returncode}\n{told}")
            self._printed[command] = done.stdout
        return self._printed[command]


def shortened(arguments: list[str]) -> list[str]:
    """An adbench command's arguments by the rules above."""
    if arguments[:1] not in ([verb] for verb in LEARNS):
        return arguments
    arguments = list(arguments)
    if "--preset" not in arguments:
        arguments += ["--preset", "smoke"]
    elif arguments[place := arguments.index("--preset") + 1] in GENERIC:
        arguments = [*arguments[:place], "smoke", *arguments[place + 1 :]]
    for name, value in TINY.items():
        arguments += [f"--{name}", value]
    return arguments


def small_suite(arguments: list[str]) -> list[str]:
    """A suite's or a study's command, of a small one that is written for it."""
    suite, run, name, *others = arguments
    small = Path("small")
    small.mkdir(exist_ok=True)
    if name == "context":
        (small / "study.toml").write_text(STUDY, encoding="utf-8")
        if "--config" in others:
            others = others[: (place := others.index("--config"))] + others[place + 2 :]
        others = [word for word in others if word != "--full"]
        return [suite, run, name, *others, "--config", str(small / "study.toml")]
    world = definition.load(definition.find(name)).suite.environments[0].name
    written = small / f"{Path(name).stem}.toml"
    written.write_text(_tiny_suite(world), encoding="utf-8")
    return [suite, run, str(written), *others]


def _tiny_suite(world: str) -> str:
    """A suite of one world under the settings of `TINY`, in TOML."""
    rows = ", ".join(f'"{row}"' for row in TINY["methods"].split(","))
    lines = [
        'preset = "smoke"', f"seeds = [{TINY['seeds']}]", f"methods = [{rows}]",
        f'environments = ["{world}"]',
    ]  # fmt: skip
    for name, value in TINY.items():
        if "." in name:
            lines.append(f"settings.{name.replace('-', '_')} = {value}")
    return "\n".join(lines) + "\n"


def _without_place(arguments: list[str]) -> tuple[str, ...]:
    """A command without the folder that it writes into."""
    if "--out" not in arguments:
        return tuple(arguments)
    place = arguments.index("--out")
    return (*arguments[:place], *arguments[place + 2 :])


def _files(arguments: list[str]) -> Iterator[str]:
    """What the files hold that a command reads."""
    for argument in arguments:
        if argument.endswith(".toml"):
            yield Path(argument).read_text(encoding="utf-8")
