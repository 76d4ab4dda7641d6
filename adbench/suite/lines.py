"""On which line of a TOML text something is said; the standard library's reader does not tell.

A text of whole statements is TOML at every cut between two of them. So the statement that says
something is what lies between the longest such beginning that lacks it and the shortest that has
it.
"""

from __future__ import annotations

import tomllib
from typing import Any

MOST_LINES = 1000
"""Beginnings of longer texts are not tried: their number times their length is too much work."""

Place = tuple[int | str, ...]
"""Keys and indices, from the outside in: ("environments", 1, "preset")."""


def line_of(text: str, *places: Place) -> int | None:
    """The line, from 1, that says what is at the first of some places that the text has.

    Args:
        text: TOML, as a file has it.
        places: where in its values.

    Returns:
        None: the text has none of them, or is too long.
    """
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        return None
    return next((line for place in places if (line := _statement(lines, place))), None)


def outwards(place: Place) -> tuple[Place, ...]:
    """A place, then what it lies within, from the inside out."""
    return tuple(place[:length] for length in range(len(place), 0, -1))


def _statement(lines: list[str], place: Place) -> int | None:
    before = 0  # lines of the longest beginning that lacks it
    for end in range(1, len(lines) + 1):
        try:
            values = tomllib.loads("\n".join(lines[:end]))
        except ValueError:  # cut within a value of several lines
            continue
        there, value = _at(values, place)
        if there:
            return before + 1 + _offset(lines[before:end], value)
        before = end
    return None


def _at(values: Any, place: Place) -> tuple[bool, Any]:
    for part in place:
        if isinstance(values, str):
            return False, None
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return False, None
    return True, values


def _offset(statement: list[str], value: Any) -> int:
    """Which line of a statement of several holds a text; the first for anything else."""
    if isinstance(value, str):
        for offset, line in enumerate(statement):
            if f'"{value}"' in line or f"'{value}'" in line:
                return offset
    return 0
