"""Plug-ins: the door by which environments, sources, presets and loggers come in, ours and
anybody's.

A distribution names them in entry-point groups. They are listed without importing anything and
loaded when asked for, so a broken one harms nobody else: it is named with its distribution, its
version, the cause and what to do.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from adbench import describe, env_settings
from adbench.errors import ConfigError, PluginError, UsageError, unknown_name

if TYPE_CHECKING:
    from adbench.config import RunConfig, Scalar
    from adbench.source.base import Source
    from adbench.task import TaskFamily

ENVS, SOURCES, PRESETS, LOGGERS = GROUPS = (
    "adbench.envs",
    "adbench.sources",
    "adbench.presets",
    "adbench.loggers",
)

OWN_DISTRIBUTION = "algorithm-distillation-bench"

DISABLE = "ADBENCH_DISABLE_PLUGINS"
"""Environment variable: `1` hides all other distributions' plug-ins, a list (a,b) those of some."""

_KINDS = {ENVS: "environment", SOURCES: "source", PRESETS: "preset", LOGGERS: "logger"}
_ALL = {"1", "true", "yes", "all"}
_NONE = {"", "0", "false", "no"}


@dataclass(frozen=True)
class PluginEntry:
    """One name that one distribution registers.

    Attributes:
        group: one of `GROUPS`.
        name: what users type.
        distribution: the package, as pip knows it.
        version: its version.
        value: "module:attribute".
        error: why it cannot be used, as far as one can tell without importing it; None: nothing
            speaks against it.
    """

    group: str
    name: str
    distribution: str
    version: str
    value: str
    error: str | None = None

    @property
    def own(self) -> bool:
        """Whether it ships with adbench itself."""
        return _canonical(self.distribution) == OWN_DISTRIBUTION

    def __str__(self) -> str:
        return f"{self.name!r} of {self.distribution} {self.version} ({self.value})"


def scan(group: str) -> tuple[PluginEntry, ...]:
    """Every entry of a group, by name, without importing any of them.

    Two distributions that claim one name are both listed, with an `error` that names the other.
    """
    claims: defaultdict[str, list[PluginEntry]] = defaultdict(list)
    for entry in _registered(group):
        if entry not in claims[entry.name]:  # a distribution may say the same thing twice
            claims[entry.name].append(entry)
    return tuple(entry for name in sorted(claims) for entry in _judge(claims[name]))


def names(group: str) -> tuple[str, ...]:
    """Names that a group offers, in order; clashing ones once."""
    return tuple(dict.fromkeys(entry.name for entry in scan(group) if entry.value))


def find(group: str, name: str) -> PluginEntry:
    """The one entry of that name.

    Raises:
        UnknownNameError: nobody registers it; the nearest names are offered.
        PluginError: two distributions claim it.
    """
    entries = scan(group)
    matches = [entry for entry in entries if entry.name == name]
    if not matches:
        hint = f"Other packages add names through the {group!r} entry-point group."
        if os.environ.get(DISABLE, "").strip().lower() not in _NONE:
            hint += f" {DISABLE} is set, which hides some."
        raise unknown_name(_KINDS.get(group, group), name, names(group), hint=hint)
    if matches[0].error:
        raise PluginError(matches[0].error)
    return matches[0]


def load(group: str, name: str) -> object:
    """Import what an entry points to.

    Raises:
        UnknownNameError: nobody registers that name.
        PluginError: it clashes, or importing it failed; the cause is chained.
    """
    return _import(find(group, name))


def family(name: str, settings: Mapping[str, Scalar] | None = None) -> TaskFamily:
    """The task family of that name: registered as such, as its class or as a callable returning it.

    Args:
        name: as registered.
        settings: arguments of the class or the callable; what is not named keeps its default.

    Raises:
        UnknownNameError: nobody registers that name, or the family has no such setting.
        ConfigError: a setting is of the wrong kind or out of its range.
        PluginError: it clashes, fails to load, or is no task family of that name.
    """
    from adbench.task import TaskFamily

    entry = find(ENVS, name)
    value = _import(entry)
    told = env_settings.checked(name, value, settings or {})
    if callable(value) and not isinstance(value, TaskFamily):
        try:
            value = _call(entry, partial(value, **told))
        except PluginError as error:
            if told and isinstance(error.__cause__, UsageError):
                raise ConfigError(f"env_settings of {name}: {error.__cause__}") from None
            raise
    if not isinstance(value, TaskFamily):
        raise _broken(
            entry, f"it gave {_describe(value)}, not a TaskFamily nor a callable that returns one"
        )
    given = getattr(value, "name", "")
    if not given:
        value.name = name
    elif given != name:
        raise _broken(entry, f"its family calls itself {given!r}; the two names must be equal")
    return value


def family_settings(name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """All settings of a family, those that are not given with their defaults.

    Raises:
        UnknownNameError: nobody registers that name, or the family has no such setting.
        ConfigError: a setting is of the wrong kind.
        PluginError: it clashes or fails to load.
    """
    return env_settings.resolved(name, load(ENVS, name), given)


def family_of(config: RunConfig) -> TaskFamily:
    """The task family of a run, as its settings make it; errors as `family`."""
    return family(config.env, config.env_settings)


def source(name: str) -> type[Source]:
    """The source algorithm registered under that name.

    Raises:
        UnknownNameError: nobody registers that name.
        PluginError: it clashes, fails to load, or is no `Source` subclass of that name.
    """
    from adbench.source.base import Source

    entry = find(SOURCES, name)
    value = _import(entry)
    if not (isinstance(value, type) and issubclass(value, Source)):
        raise _broken(
            entry, f"it gave {_describe(value)}, not a subclass of adbench.source.base.Source"
        )
    if getattr(value, "name", None) != name:
        raise _broken(
            entry,
            f"its class calls itself {getattr(value, 'name', None)!r}; the two names must be equal",
        )
    if not hasattr(value, "Settings"):
        raise _broken(entry, f"{value.__name__} has no Settings record")
    return value


def credit(env: str) -> str:
    """Who brought an environment, for messages: "some-worlds 1.2"; "" where that is not clear."""
    found = [entry for entry in scan(ENVS) if entry.name == env]
    return f"{found[0].distribution} {found[0].version}" if len(found) == 1 else ""


def blame(error: BaseException) -> PluginEntry | None:
    """The entry of another package in whose code an error arose; None if it arose in ours."""
    homes = [
        (entry, home)
        for group in GROUPS
        for entry in scan(group)
        if not entry.own and (home := describe.package_home(entry.value)) is not None
    ]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(Path(__file__).parent):
            return None
        for entry, home in homes:
            if path.is_relative_to(home):
                return entry
    return None


def preset_names(env: str) -> tuple[str, ...]:
    """Presets of an environment: the generic ones, then its own by name."""
    from adbench.presets import GENERIC

    registered = [
        name.removeprefix(f"{env}.") for name in names(PRESETS) if name.startswith(f"{env}.")
    ]
    return tuple(dict.fromkeys((*GENERIC, *registered)))


def preset(env: str, name: str) -> RunConfig:
    """A preset of an environment: registered as "ENV.NAME", or a generic one made from the family.

    Raises:
        UnknownNameError: no such environment, or no such preset of it.
        PluginError: the preset or the environment is broken.
    """
    from adbench.presets import GENERIC, generic

    full_name = f"{env}.{name}"
    if full_name in names(PRESETS):
        entry, owner = find(PRESETS, full_name), find(ENVS, env)
        if name in GENERIC and entry.distribution != owner.distribution:
            raise _broken(
                entry,
                f"{env!r} is {owner.distribution}'s, and only that package may change what "
                f"{name!r} means there; the preset needs a name of its own",
            )
        return registered_preset(full_name)
    known = preset_names(env)
    made_for = family(env)  # an unknown environment is said before an unknown preset of it
    if name not in GENERIC:
        raise unknown_name(f"preset of {env}", name, known)
    return generic(made_for, name)


def registered_preset(full_name: str) -> RunConfig:
    """The preset registered as "ENV.NAME".

    Raises:
        UnknownNameError: nobody registers it, or its environment.
        PluginError: it is broken, or made for another environment.
    """
    from adbench.config import RunConfig

    entry = find(PRESETS, full_name)
    env, _, name = full_name.partition(".")
    if not name:
        raise _broken(entry, "a preset's name is ENV.PRESET, as in 'dark-room.quick'")
    value = _import(entry)
    config = _call(entry, value) if callable(value) else value
    if not isinstance(config, RunConfig):
        raise _broken(
            entry, f"it gave {_describe(config)}, not a RunConfig nor a function that returns one"
        )
    if config.env != env:
        raise _broken(entry, f"its RunConfig is for the environment {config.env!r}")
    find(ENVS, env)
    return config.with_(preset=name)


def _registered(group: str) -> Iterator[PluginEntry]:
    names_seen = set()
    for found in metadata.distributions():
        # One small file tells whether to look closer; another package's garbled one harms nobody.
        if group not in (found.read_text("entry_points.txt") or ""):
            continue
        canonical = _canonical(found.name or "")
        if not canonical or canonical in names_seen:
            continue
        names_seen.add(canonical)
        # A stale copy (an old editable install, an .egg-info) may lie further down; the first wins.
        active = metadata.distribution(found.name)
        version = active.version or "unknown version"
        if _is_disabled(canonical):
            continue
        try:
            points = [point for point in active.entry_points if point.group == group]
        except (TypeError, ValueError) as error:
            damage = f"{found.name} {version} has a damaged entry_points.txt ({error})."
            damage = f"{damage} {_what_to_do(found.name)}"
            yield PluginEntry(group, "?", found.name, version, "", damage)
            continue
        for point in points:
            yield PluginEntry(group, point.name, active.name, version, point.value)


def _judge(claims: list[PluginEntry]) -> list[PluginEntry]:
    if len(claims) == 1:
        return claims
    claims = sorted(claims, key=lambda entry: entry.distribution)
    kind = _KINDS.get(claims[0].group, claims[0].group)
    who = " and ".join(f"{entry.distribution} {entry.version} ({entry.value})" for entry in claims)
    theirs = [entry.distribution for entry in claims if not entry.own]
    clash = f"the {kind} name {claims[0].name!r} is claimed by {who}. "
    clash += _what_to_do(theirs[-1] if theirs else "")
    return [replace(entry, error=clash) for entry in claims]


def _import(entry: PluginEntry) -> object:
    point = metadata.EntryPoint(entry.name, entry.value, entry.group)
    if point.pattern.match(entry.value) is None:
        raise _broken(entry, f"its entry point {entry.value!r} does not read module:attribute")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # ours is data
            return point.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module does, the others go on
        raise _broken(entry, _cause(error), error) from error


def _call(entry: PluginEntry, value: Callable[[], object]) -> object:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return value()
    except (Exception, SystemExit) as error:
        raise _broken(entry, _cause(error), error) from error


def _broken(entry: PluginEntry, cause: str, error: BaseException | None = None) -> PluginError:
    kind = _KINDS.get(entry.group, entry.group)
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    advice = _what_to_do(entry.distribution)
    if missing and missing.partition(".")[0] != entry.value.partition(":")[0].partition(".")[0]:
        advice = f"If {missing!r} is a package: pip install {missing.partition('.')[0]}. {advice}"
    return PluginError(f"the {kind} {entry} cannot be used: {cause}. {advice}")


def _cause(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    passed_through = (os.path.dirname(__file__), os.path.dirname(importlib.__file__), "<frozen")
    theirs = [frame for frame in frames if not frame.filename.startswith(passed_through)]
    where = f" (at {theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    said = str(error).rstrip(".")
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


def _what_to_do(distribution: str) -> str:
    if not distribution or _canonical(distribution) == OWN_DISTRIBUTION:
        return "This is adbench's own: reinstall it, and tell us if that does not help."
    return (
        f"Tell the authors of {distribution}, upgrade it (pip install -U {distribution}), "
        f"remove it (pip uninstall {distribution}), or hide it ({DISABLE}={distribution})."
    )


def _describe(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _is_disabled(canonical: str) -> bool:
    asked = os.environ.get(DISABLE, "").strip().lower()
    if canonical == OWN_DISTRIBUTION or asked in _NONE:
        return False
    return asked in _ALL or canonical in {_canonical(part.strip()) for part in asked.split(",")}


def _canonical(distribution: str) -> str:
    return distribution.lower().replace("_", "-").replace(".", "-")
