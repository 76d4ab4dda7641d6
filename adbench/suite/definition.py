"""What a suite is: a TOML file that a person wrote, or one that ships with adbench.

    title = "Two worlds at two context lengths"
    preset = "quick"
    seeds = [0, 1, 2]
    context_steps = [80, 200]

    [[environments]]
    name = "dark-room"

    [[environments]]
    name = "watermaze-small"
    seeds = [0]
    [environments.settings.train]
    updates = 500

Every mistake is answered with its file and line before anything is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge
from pydantic import Field, field_validator, model_validator

from adbench import toml
from adbench.config import METHODS, Count, UserConfig
from adbench.errors import ConfigError, unknown_name
from adbench.flags import DEFAULT_PRESET
from adbench.suite.lines import Place, line_of, outwards

SHIPPED = Path(__file__).resolve().parent.parent / "suites"
"""Where the suites lie that come with adbench."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Seeds = Annotated[tuple[Annotated[int, Ge(0)], ...], Field(min_length=1)]
Methods = Annotated[tuple[str, ...], Field(min_length=1)]
ContextSteps = Annotated[tuple[Annotated[Count, Ge(2)], ...], Field(min_length=1)]


class Entry(UserConfig):
    """One world of a suite."""

    name: str
    """The environment, as `adbench list` has it."""
    label: str | None = None
    """What it is called in this suite, for folders and tables; none: its name. Two entries of one
    environment need two labels."""
    preset: str | None = None
    """Settings to start from; none: the suite's."""
    seeds: Seeds | None = None
    """Seeds, each a run of its own; none: the suite's."""
    methods: Methods | None = None
    """Rows to run; none: the suite's, or else the preset's."""
    context_steps: ContextSteps | None = None
    """Context lengths in transition tokens, each a run of its own (`train.window_steps`); none: the
    suite's, or else the preset's one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the run that differ from the preset, as in a file for `adbench run --config`."""

    @property
    def title(self) -> str:
        """What it is called in this suite."""
        return self.label or self.name

    @model_validator(mode="after")
    def _can_name_a_folder(self) -> Self:
        if not _FILE_NAME.fullmatch(self.title):
            raise ValueError(
                f"{self.title!r} cannot name a folder. Give the world a label of letters, "
                "digits, - and _."
            )
        return self


class Suite(UserConfig):
    """Environments x methods x seeds x context lengths."""

    title: str = ""
    """A line on what it is for."""
    preset: str = DEFAULT_PRESET
    """Settings to start from, of every world that names none."""
    seeds: Seeds = (0,)
    """Seeds of every world that names none."""
    methods: Methods | None = None
    """Rows of every world that names none; none: those of its preset."""
    context_steps: ContextSteps | None = None
    """Context lengths of every world that names none; none: the one of its preset."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of every run that differ from its preset."""
    environments: Annotated[tuple[Entry, ...], Field(min_length=1)]
    """Worlds; one with nothing to add is its name alone."""

    @field_validator("environments", mode="before")
    @classmethod
    def _a_name_alone_is_an_entry(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @model_validator(mode="after")
    def _no_two_are_called_the_same(self) -> Self:
        titles = [entry.title for entry in self.environments]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice:
            raise ValueError(f"two environments are called {twice!r}; give one of them a label")
        return self


@dataclass(frozen=True)
class Definition:
    """A suite and the text it was read from.

    Attributes:
        name: what it is called.
        path: its file.
        text: what is in it.
        suite: the same, checked.
    """

    name: str
    path: Path
    text: str
    suite: Suite

    def where(self, *places: Place) -> str:
        """The file, and the line of the first of some places that it says something of."""
        return _where(self.path, self.text, *places)


def shipped() -> dict[str, Path]:
    """The suites that come with adbench: name to file."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def find(name: str) -> Path:
    """The file of a suite.

    Args:
        name: of a shipped suite, or a file's path, which ends in .toml.

    Raises:
        UnknownNameError: there is no such suite.
        ConfigError: there is no such file.
    """
    if name in (known := shipped()):
        return known[name]
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise ConfigError(f"{path} is no file. A suite is a TOML file; see docs/suites.md.")
        return path
    hint = "A suite of your own is a file whose name ends in .toml (docs/suites.md)."
    raise unknown_name("suite", name, known, hint=hint)


def load(path: Path, *, name: str | None = None) -> Definition:
    """Read a suite and check all that can be checked without its environments' code.

    Args:
        path: its file.
        name: what to call it; none: the file's name.

    Raises:
        ConfigError: it is no TOML, or says something that a suite cannot; every mistake is named
            with its line, and the nearest name that would do.
    """
    values = toml.load(path)
    text = path.read_text("utf-8")
    suite = Suite.parse(values, where=lambda place: _where(path, text, *outwards(place)))
    found = Definition(name or path.stem, path, text, suite)
    wrong = [*_unknown_environments(found), *_unknown_methods(found)]
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def _where(path: Path, text: str, *places: Place) -> str:
    line = line_of(text, *places)
    return str(path) if line is None else f"{path}:{line}"


def _unknown_environments(found: Definition) -> list[str]:
    from adbench import plugins

    known = plugins.names(plugins.ENVS)
    hint = f"Other packages add names through the {plugins.ENVS!r} entry-point group."
    return [
        f"{found.where(('environments', i, 'name'), ('environments', i))}: "
        f"{unknown_name('environment', entry.name, known, hint=hint)}"
        for i, entry in enumerate(found.suite.environments)
        if entry.name not in known
    ]


def _unknown_methods(found: Definition) -> list[str]:
    lists: Mapping[Place, Methods | None] = {("methods",): found.suite.methods} | {
        ("environments", i, "methods"): entry.methods
        for i, entry in enumerate(found.suite.environments)
    }
    return [
        f"{found.where((*place, i))}: {unknown_name('method', method, METHODS)}"
        for place, methods in lists.items()
        for i, method in enumerate(methods or ())
        if method not in METHODS
    ]
