"""Whether results that are there answer what a cell of a suite asks, wherever they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from adbench.config import RunConfig
from adbench.errors import AdbenchError
from adbench.flags import filled
from adbench.folder import differences
from adbench.rows import CONSTANTS
from adbench.suite.cells import Cell

_NOT_COMPARED = ("preset", "seeds", "methods", "device")
"""What settings are called says nothing of what they are; the others are looked at apart."""


def why_not(results: Mapping[str, Any], cell: Cell) -> str | None:
    """Why results do not answer a cell; none: they do.

    A run of several seeds, one of them the cell's, does; so does one with more rows.

    Args:
        results: as `read_results` gives them.
        cell: what is asked.
    """
    wanted = cell.config
    if results["env"] != wanted.env:
        return f"it is of the environment {results['env']!r}, not {wanted.env!r}"
    if results["env_version"] != cell.env_version:
        return (
            f"it is of {wanted.env} version {results['env_version']}, and scores of version "
            f"{cell.env_version} are not comparable"
        )
    if cell.seed not in results["seeds"]:
        return f"it has no seed {cell.seed}"
    rows = [name for name in wanted.methods if name not in CONSTANTS]
    missing = [name for name in rows if name not in results["scores"]]
    if missing:
        return f"it lacks the rows {', '.join(missing)}"
    theirs = _as_of_today(json.dumps(results["config"]), wanted.device)
    if isinstance(theirs, str):
        return f"its configuration is of another time: {theirs}"
    different = [
        f"{name} is {old!r}, not {new!r}"
        for name, old, new in differences(theirs, wanted)
        if name not in _NOT_COMPARED
    ]
    made_on = str(results["device"]).partition(":")[0]
    if not cell.any_device and made_on != wanted.device:
        different.append(f"it was made on {made_on}, not {wanted.device}")
    return "; ".join(different) or None


@lru_cache(maxsize=256)
def _as_of_today(config: str, device: str) -> RunConfig | str:
    """A run's configuration, settings that came since with their defaults; or why it has none."""
    try:
        return filled(RunConfig.parse({**json.loads(config), "device": device}))
    except AdbenchError as error:
        return str(error)
