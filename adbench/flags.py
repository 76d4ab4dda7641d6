"""From preset, file and flags to one configuration (preset < file < flags), and back to flags.

`--train.window-steps 400` sets `train.window_steps`. Values are read here and validated once, where
all three have come together, so that a mistake is told in the same words wherever it was made, and
fields that only agree together can come from different places. tyro writes the `--help`.
"""

from __future__ import annotations

import difflib
import shlex
import tomllib
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from adbench import toml
from adbench.config import Config, RunConfig
from adbench.errors import AdbenchError, ConfigError, UnknownNameError, UsageError
from adbench.folder import differences

DEFAULT_PRESET = "quick"
_POSITIONAL = ("env", "preset")
"""Fields that have a place of their own on the command line."""


def field_types(record: type[Config] = RunConfig, prefix: str = "") -> dict[str, Any]:
    """Every setting by its dotted name ("train.window_steps"), with its type."""
    found: dict[str, Any] = {}
    for name, field in record.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Config):
            found |= field_types(kind, f"{prefix}{name}.")
        elif prefix or name not in _POSITIONAL:
            found[prefix + name] = kind
    return found


def take_flags(
    arguments: list[str], known: tuple[str, ...], *, verb: str = "run"
) -> tuple[dict[str, Any], list[str]]:
    """Take the settings out of a command line.

    Args:
        arguments: what follows the verb.
        known: the verb's own options, which are left where they are.
        verb: named in errors.

    Returns:
        settings as nested dictionaries, and the arguments that are left.

    Raises:
        UnknownNameError: no such setting; the nearest are named.
        UsageError: a setting without a value.
    """
    kinds = field_types()
    values: dict[str, Any] = {}
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if not flag.startswith("--") or flag in known or flag in ("--", "--help"):
            rest.append(word)
            continue
        name, kind, negated = _field(flag, kinds, known, verb)
        if negated:
            if equals:
                raise UsageError(f"{flag} takes no value; it got {value!r}. Leave that out.")
            value = "false"
        elif not equals:
            value = _next_value(flag, kind, words)
        _place(values, name, _read(value, kind))
    return values, rest


def _field(
    flag: str, kinds: dict[str, Any], known: tuple[str, ...], verb: str
) -> tuple[str, Any, bool]:
    """The setting a flag names: its dotted name, its type, whether the flag switches it off."""
    name = flag[2:].replace("-", "_")
    if get_origin(kinds.get(name)) is dict:
        raise UsageError(f"{flag} is a group of settings; write {flag}.NAME VALUE.")
    if name in kinds:
        return name, kinds[name], False
    owner, _, last = name.rpartition(".")
    prefix = f"{owner}." if owner else ""
    if last.startswith("no_") and kinds.get(prefix + last[3:]) is bool:
        return prefix + last[3:], bool, True
    if owner in kinds and get_origin(kinds[owner]) is dict:
        return name, get_args(kinds[owner])[1], False
    inside = [f"--{_dashed(field)}" for field in kinds if field.startswith(f"{name}.")]
    if inside:
        raise UsageError(f"{flag} is a group of settings; one of them is {inside[0]}.")
    names = [*known, *(f"--{_dashed(field)}" for field in kinds)]
    near = difflib.get_close_matches(flag, names, n=3, cutoff=0.7)
    if not near:  # a setting's own name is often remembered, and its group forgotten
        near = [n for n in names if n.rpartition(".")[2] == _dashed(last)]
    offer = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UnknownNameError(f"no option {flag}.{offer} `adbench {verb} --help` lists them all.")


def _next_value(flag: str, kind: Any, words: list[str]) -> str:
    if kind is bool:
        return words.pop(0) if words and words[0] in ("true", "false") else "true"
    if not words or words[0].startswith("--"):
        raise UsageError(f"{flag} wants a value.")
    return words.pop(0)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _read(text: str, kind: Any) -> Any:
    """What a word on the command line means where a value of type `kind` is wanted."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _read(text, inner[0])
    if origin is tuple:
        return tuple(_read(part.strip(), inner[0]) for part in text.split(",") if part.strip())
    if origin in (Union, types.UnionType):
        if type(None) in inner and text.lower() == "none":
            return None
        inner = tuple(part for part in inner if part is not type(None))
        return _read(text, inner[0]) if len(inner) == 1 else _literal(text)
    return _literal(text) if kind in (int, float, bool) else text


def _literal(text: str) -> bool | int | float | str:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError, KeyError):
        return text  # not a number: pydantic says what was wanted instead
    return value if isinstance(value, bool | int | float) else text


def _place(values: dict[str, Any], name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[last] = value


def resolve(env: str, preset: str | None, file: Path | None, flags: dict[str, Any]) -> RunConfig:
    """The configuration that a command line asks for.

    Args:
        env: name of the family.
        preset: name of the preset; none: the file's, else `quick`.
        file: a TOML file that changes some of it.
        flags: nested settings that change some more.

    Raises:
        UnknownNameError: no such environment, preset, source or field.
        ConfigError: a value of the wrong type or out of its range, or a file that can't be read.
    """
    from adbench import plugins

    written = toml.load(file) if file else {}
    told = written.pop("env", env)
    if told != env:
        raise ConfigError(f"{file}: it is for env = {told!r}, you asked for {env!r}.")
    name = written.get("preset", DEFAULT_PRESET) if preset is None else preset
    written.pop("preset", None)
    base = plugins.preset(env, str(name))
    lower = layered(base.model_dump(), written)
    try:
        config = RunConfig.parse(layered(lower, flags))
    except ConfigError:
        if file:
            RunConfig.parse(lower, where=str(file))  # was it the file? then the error says so
        raise
    return filled(config)


def filled(config: RunConfig) -> RunConfig:
    """The same run with nothing left open: the family's and the source's settings in full, and the
    device.

    Raises:
        UnknownNameError: no such source, or it or the family has no such setting.
        ConfigError: a setting is out of its range, or the device isn't there.
    """
    import torch

    from adbench import plugins

    settings = plugins.source(config.source.name).Settings
    try:
        full = settings.parse(dict(config.source.settings)).model_dump(exclude_none=True)
    except ConfigError as error:
        raise ConfigError(f"source.settings of {config.source.name}: {error}") from None
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device: got 'cuda', but torch sees no GPU here. Use --device cpu or auto."
        )
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return config.with_(
        env_settings=plugins.family_settings(config.env, config.env_settings),
        source=config.source.with_(settings=full),
        device=best if config.device == "auto" else config.device,
    )


def layered(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """`lower` with `upper` laid over it; settings of a source that is replaced go with it."""
    source = upper.get("source")
    if (
        isinstance(source, dict)
        and source.get("name", lower["source"]["name"]) != lower["source"]["name"]
    ):
        lower = {**lower, "source": {**lower["source"], "settings": {}}}
    return _merged(lower, upper)


def _merged(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        merged[name] = (
            _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def help_text(config: RunConfig, *, prog: str) -> str:
    """Every setting with its docstring and what `config` has, as tyro prints it."""
    import contextlib
    import io

    import tyro
    from pydantic import create_model

    hidden = Annotated[str, tyro.conf.Suppress]
    places: dict[str, Any] = {name: (hidden, ...) for name in _POSITIONAL}
    settings = create_model("Settings", __base__=RunConfig, __doc__="", **places)
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        tyro.cli(settings, default=settings(**dict(config)), args=["--help"], prog=prog)
    return shown.getvalue()


def command_of(config: RunConfig) -> str:
    """The shortest `adbench run` that asks for a configuration, without its --out."""
    from adbench import plugins

    words = ["adbench", "run", config.env, "--preset", config.preset]
    try:
        base = filled(plugins.preset(config.env, config.preset))
    except AdbenchError:
        base = filled(RunConfig(env=config.env))  # a preset that isn't there any more
    for name, _, value in differences(base.with_(preset=config.preset), config):
        words += [f"--{_dashed(name)}", _said(value)]
    return shlex.join(words)


def _said(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
