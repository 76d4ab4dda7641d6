"""results.json on disk: checked against the JSON Schema in this package on its way out and in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from adbench.errors import ResultsError
from adbench.rows import number

SCHEMA = 1

_SHORT = 8
"""Lists up to here are checked item by item; the schema demands a length of none that is longer."""


def plain(value: Any) -> Any:
    """The same value in JSON's own types; floats to 7 digits, which is what float32 returns carry.

    Raises:
        ResultsError: a number is not finite, or a value is of no JSON type.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        flat = [number(each) for each in value.ravel().tolist()]
        return np.array(flat, object).reshape(value.shape).tolist()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, int | float | np.number):
        return number(value)
    raise ResultsError(f"results hold a {type(value).__name__}, which JSON cannot: {value!r}.")


def write_results(path: Path, results: Mapping[str, Any]) -> Path:
    """Check results against the schema and put them in place in one move.

    Raises:
        ResultsError: they do not keep the schema; nothing is written.
    """
    validate(results, "these results")
    write = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    try:
        lines = [f"{write(key)}: {write(value)}" for key, value in results.items()]
    except ValueError as error:
        raise ResultsError(f"these results hold a number that JSON has not: {error}.") from None
    half_written = path.with_name(path.name + ".tmp")
    with open(half_written, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
        file.flush()
        os.fsync(file.fileno())
    half_written.replace(path)
    return path


def read_results(path: Path) -> dict[str, Any]:
    """The results of a run.

    Args:
        path: results.json, or the run's folder.

    Raises:
        ResultsError: there are none, or the file is damaged or of another schema.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        results = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise ResultsError(
            f"{path} does not exist. `adbench report DIR` makes it from a run."
        ) from None
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ResultsError(
            f"{path} is damaged: {error}. `adbench report DIR` makes it anew."
        ) from None
    validate(results, str(path))
    assert isinstance(results, dict)
    return results


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema that results.json keeps."""
    text = (files("adbench") / "results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(results: Any, where: str) -> None:
    """Check results against the schema, and lists that belong together for equal length.

    Args:
        results: parsed JSON.
        where: what to call them in an error.

    Raises:
        ResultsError: names the field.
    """
    from jsonschema import Draft202012Validator

    if not isinstance(results, Mapping) or "schema" not in results:
        raise ResultsError(f"{where} is not an adbench results file: it has no field 'schema'.")
    if results["schema"] != SCHEMA or isinstance(results["schema"], bool):
        raise ResultsError(
            f"{where} has schema {results['schema']!r}; this adbench reads schema {SCHEMA}. "
            "Use the version that wrote it ('versions' in the file), or run `adbench report DIR` "
            "with this one."
        )
    validator = Draft202012Validator(schema())
    if not validator.is_valid(_thinned(results)):
        error = next(validator.iter_errors(results))  # of the whole, so that it names the place
        message = error.message if len(error.message) < 300 else error.message[:300] + " ..."
        raise ResultsError(f"{where}: {error.json_path}: {message}.")
    for name, record in ({"": results} | results["test_sets"]).items():
        _check_lengths(
            record, f"{where}: {f'test_sets.{name}.' if name else ''}", len(results["seeds"])
        )


def _thinned(value: Any) -> Any:
    """The same with one item of each kind in every longer list.

    The schema says no more of such items than what they are made of, and a validator in Python
    takes seconds for the millions of numbers of a large run.
    """
    if isinstance(value, Mapping):
        return {key: _thinned(each) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    kinds = dict(zip(map(type, value), value, strict=True))
    if kinds.keys() & {list, dict}:
        value = [_thinned(item) for item in value]
        kinds = {_kind(item): item for item in value}
    return value if len(value) <= _SHORT else list(kinds.values())


def _kind(value: Any) -> Any:
    """What a value is made of, equal for values that the schema cannot tell apart."""
    if isinstance(value, Mapping):
        return tuple((key, _kind(each)) for key, each in value.items())
    if isinstance(value, list):
        return (list, *(_kind(each) for each in value))
    return type(value)


def _check_lengths(record: Mapping[str, Any], where: str, num_seeds: int) -> None:
    for kind in ("curves", "full_curves", "steps_to_goal"):
        for method, curve in record.get(kind, {}).items():
            lengths = {key: len(values) for key, values in curve.items()}
            if len(set(lengths.values())) != 1:
                raise ResultsError(f"{where}{kind}.{method}: lists of unequal length: {lengths}.")
    tasks = [len(each) for each in record["task_ids"]]
    for method, by_seed in record["per_task"].items():
        episodes = len(record["curves"][method]["episode"]) if method in record["curves"] else None
        shape = [len(each) for each in by_seed]
        if (
            len(by_seed) != num_seeds
            or shape != tasks
            or {len(t) for s in by_seed for t in s} != {episodes}
        ):
            raise ResultsError(
                f"{where}per_task.{method} is not [seeds][tasks][episodes], "
                f"{num_seeds} x {tasks} x {episodes}."
            )
