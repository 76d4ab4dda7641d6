"""The runs that a suite is made of: one of each world, context length and seed, fully resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench import plugins
from adbench.config import Config, RunConfig
from adbench.errors import AdbenchError, ConfigError
from adbench.flags import filled, layered
from adbench.suite.definition import Definition, Entry
from adbench.suite.lines import Place, outwards

_SAID_OTHERWISE = {
    "env": "`name`",
    "preset": "`preset`",
    "seeds": "`seeds`",
    "methods": "`methods`",
    "device": "`--device`",
}
"""Fields of a run that a suite has a place of its own for."""


@dataclass(frozen=True, eq=False)  # settings are no key; it is itself alone
class Cell:
    """One run of a suite.

    Attributes:
        world: what the suite calls its environment.
        config: the run's, resolved, with one seed.
        env_version: of the environment; scores of another version are not comparable.
        context_steps: its context length, where the suite names several; none: its preset's.
        series: which of several studies of one world it belongs to; may be empty.
        any_device: whether a result from another device than `config.device` will do.
    """

    world: str
    config: RunConfig
    env_version: int
    context_steps: int | None = None
    series: str = ""
    any_device: bool = True

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.config.seeds[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """Where it lies in a suite's folder: WORLD[/SERIES][/context-N]/seed-S."""
        series = (self.series,) if self.series else ()
        context = () if self.context_steps is None else (f"context-{self.context_steps}",)
        return (self.world, *series, *context, f"seed-{self.seed}")

    @property
    def group(self) -> tuple[str, ...]:
        """What it shares with the other seeds of one world, series and context length."""
        return self.parts[:-1]

    @property
    def name(self) -> str:
        """What people call it: "dark-room, context 80, seed 0"."""
        series = (self.series,) if self.series else ()
        context = () if self.context_steps is None else (f"context {self.context_steps}",)
        return ", ".join((self.world, *series, *context, f"seed {self.seed}"))

    def folder(self, out: Path) -> Path:
        """The run's folder."""
        return out.joinpath(*self.parts)


def plan(found: Definition, *, device: str = "auto", check: bool = True) -> tuple[Cell, ...]:
    """Every run of a suite, in the order of its file.

    Args:
        found: the suite.
        device: "cpu", "cuda", or "auto": the best there is, and what was done elsewhere counts.
        check: also refuse now what a run would be refused for after minutes (one learner of each
            source is made for it).

    Raises:
        UsageError: a setting or a preset that is not there or of a wrong value, with the file and
            the line.
        PluginError: an environment that cannot be loaded.
    """
    return tuple(
        cell
        for i, entry in enumerate(found.suite.environments)
        for cell in _cells(found, i, entry, device, check)
    )


def _cells(found: Definition, i: int, entry: Entry, device: str, check: bool) -> Iterator[Cell]:
    suite = found.suite
    lengths = entry.context_steps or suite.context_steps
    for length in lengths or (None,):
        with_seed_0 = _config(found, i, entry, length, device)
        if check:
            from adbench import pipeline  # torch

            with _placed(found, i):
                pipeline.check(with_seed_0)
        version = plugins.family_of(with_seed_0).version
        for seed in entry.seeds or suite.seeds:
            yield Cell(
                world=entry.title,
                config=with_seed_0.with_(seeds=(seed,)),
                env_version=version,
                context_steps=length,
                any_device=device == "auto",
            )


def _config(found: Definition, i: int, entry: Entry, length: int | None, device: str) -> RunConfig:
    """One world's configuration at one context length, with seed 0."""
    suite = found.suite
    with _placed(found, i, "preset"):
        values = plugins.preset(entry.name, entry.preset or suite.preset).model_dump()
    for said, place in ((suite.settings, ()), (entry.settings, ("environments", i))):
        _refuse_misplaced(found, said, place)
        values = layered(values, said)
    values |= {"seeds": (0,), "device": device}
    if methods := entry.methods or suite.methods:
        values["methods"] = methods
    if length is not None:
        rows = {} if _says_row_length(suite.settings, entry.settings) else {"sequence_steps": None}
        values["train"] = {**values["train"], "window_steps": length, **rows}

    def where(place: Place) -> str:
        own: Place = ("environments", i)
        said = [
            (*group, *part)
            for part in outwards(place)
            for group in ((*own, "settings"), ("settings",))
        ]
        if place[:1] == ("methods",):
            said += [(*own, *place), place]
        if place[:2] == ("train", "window_steps"):
            said += [(*own, "context_steps"), ("context_steps",)]
        return found.where(*said, own)

    config = RunConfig.parse(values, where=where)
    with _placed(found, i, "settings"):
        return filled(config)


def _says_row_length(*settings: Mapping[str, Any]) -> bool:
    return any(
        isinstance(train := each.get("train"), dict) and "sequence_steps" in train
        for each in settings
    )


def _refuse_misplaced(found: Definition, settings: Mapping[str, Any], place: Place) -> None:
    """What would not be told by the run's own record: it is said elsewhere, or is no table."""
    for name, value in settings.items():
        where = found.where((*place, "settings", name))
        if name in _SAID_OTHERWISE:
            raise ConfigError(
                f"{where}: settings.{name}: in a suite it is said by {_SAID_OTHERWISE[name]}, not "
                "among the settings."
            )
        field = RunConfig.model_fields.get(name)
        kind = field.annotation if field else None
        table = isinstance(kind, type) and issubclass(kind, Config)
        if table and not isinstance(value, dict):
            raise ConfigError(
                f"{where}: settings.{name}: it is a table of settings; got {value!r}."
            )


@contextmanager
def _placed(found: Definition, entry: int, field: str = "") -> Iterator[None]:
    """Put the file and the line of a world before what is wrong with it."""
    try:
        yield
    except AdbenchError as error:
        own: Place = ("environments", entry)
        places: list[Place] = [(*own, field), (field,)] if field else []
        world = found.suite.environments[entry].title
        raise type(error)(f"{found.where(*places, own)}: {world}: {error}") from error.__cause__
