"""What a task family can be told: the arguments of the callable that its entry point names.

A run's `env_settings` are handed to it by name. Settings are the arguments with a default that a
file can hold: a number, a text, true or false, or none.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adbench.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from adbench.config import Scalar


def defaults(value: object) -> dict[str, Scalar | None]:
    """Every setting of what an entry point names, with its default; empty: it takes none.

    Args:
        value: a task family, its class, or a callable that returns one.
    """
    if not callable(value):
        return {}
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # written in C, or a signature that makes no sense
        return {}
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind in named
        and (parameter.default is None or isinstance(parameter.default, bool | int | float | str))
    }


def checked(env: str, value: object, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Settings that are known and of the kind of their defaults.

    Their ranges are checked by the family itself, when it is made.

    Args:
        env: name of the family.
        value: what its entry point names.
        given: settings by name.

    Raises:
        UnknownNameError: the family has no such setting, or none at all.
        ConfigError: a setting is of another kind than its default.
    """
    known = defaults(value)
    for name, got in given.items():
        if not known:
            raise ConfigError(f"env_settings.{name}: {env} takes no settings. Leave it out.")
        if name not in known:
            raise unknown_name(f"setting of {env}", name, known, hint="They are env_settings.NAME.")
        default = known[name]
        if default is not None and not _alike(got, default):
            raise ConfigError(
                f"env_settings.{name}: {env} wants {_KINDS[type(default)]}, such as {default!r}; "
                f"got {got!r}."
            )
    return dict(given)


def resolved(env: str, value: object, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The same with nothing left open: defaults where nothing is given; none is left out.

    Raises:
        UnknownNameError: as `checked`.
        ConfigError: as `checked`.
    """
    known = defaults(value)
    told = checked(env, value, given)
    full = {name: told.get(name, default) for name, default in known.items()}
    return {name: setting for name, setting in full.items() if setting is not None}


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def _alike(got: Scalar, default: Scalar) -> bool:
    if isinstance(default, float):
        return isinstance(got, int | float) and not isinstance(got, bool)
    return type(got) is type(default)
