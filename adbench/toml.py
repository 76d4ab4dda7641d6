"""Configuration files: TOML that a person wrote, and TOML that a run writes about itself.

The standard library reads TOML and does not write it. A `Config` needs so little of it that a
writer fits here, and can put each field's docstring above the field.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adbench.config import Config
from adbench.errors import ConfigError

MAX_BYTES = 1 << 20
"""No configuration of ours comes near it; a file beyond it is something else."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def load(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        ConfigError: it is missing, unreadable, too big or not TOML; names the file and the line.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(
                f"{path}: more than {MAX_BYTES:,} bytes; that is no configuration file."
            )
        return tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}).") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        raise ConfigError(f"{path}: not TOML: {error}.") from None


def dumps(config: Config) -> str:
    """A configuration as TOML, each field under its docstring; fields that are none are left out.

    `load` and `Config.parse` give an equal configuration back.
    """
    return "\n".join(_table(config, ())).strip() + "\n"


def left_out(record: type[Config], path: Path) -> list[str]:
    """Fields of a record that a file does not name, though `dumps` names every one.

    A file that was cut between two lines is TOML still, and would be read with defaults.

    Args:
        record: what the file is of.
        path: a file that `load` and `Config.parse` take.

    Returns:
        dotted names, in order; of a table that is not there at all, its own.
    """
    said = {line.strip() for line in path.read_text("utf-8").splitlines()}
    return list(_left_out(record, load(path), said, ""))


def _left_out(
    record: type[Config], values: dict[str, Any], said: set[str], prefix: str
) -> Iterator[str]:
    for name, field in record.model_fields.items():
        if name not in values:
            if f"# {name} = none" not in said:
                yield f"{prefix}{name}"
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            yield from _left_out(field.annotation, values[name], said, f"{prefix}{name}.")


def _table(config: Config, path: tuple[str, ...]) -> list[str]:
    lines: list[str] = [""]
    tables: list[str] = []
    if path:
        lines += [*_comment(type(config).__doc__), f"[{'.'.join(path)}]"]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            tables += _table(value, (*path, name))
        elif isinstance(value, dict):
            tables += ["", *_comment(field.description), f"[{'.'.join((*path, name))}]"]
            tables += [f"{_key(key)} = {_value(item)}" for key, item in value.items()]
        else:
            lines += _comment(field.description)
            lines.append(f"# {name} = none" if value is None else f"{name} = {_value(value)}")
    return lines + tables


def _comment(text: str | None) -> list[str]:
    first_paragraph = " ".join((text or "").split("\n\n")[0].split())
    return [f"# {line}" for line in textwrap.wrap(first_paragraph, 98)]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"no TOML for {type(value).__name__}")
