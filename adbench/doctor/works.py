"""What of adbench would run here: kernels, environments with their presets and renderers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from adbench import env_settings, plugins
from adbench.doctor.attempt import tried
from adbench.plugins import PluginEntry

RENDERERS = ("raycast", "miniworld")
"""Who may draw an environment that has the setting `renderer`."""


def kernels(device: str) -> dict[str, Any]:
    """Implementations of every operation, `available` and `missing` with what they lack; `notes`.

    Args:
        device: where the inputs would be.
    """
    import torch

    from adbench_kernels import overview
    from adbench_kernels.choice import arch

    where = torch.device(device)
    return {
        "arch": arch(where),
        "operations": {
            op: {
                "available": list(overview.available(op, where)),
                "missing": overview.missing(op, where),
            }
            for op in overview.PROVIDED
        },
        "notes": overview.notes(where),
    }


def environments() -> list[dict[str, Any]]:
    """Every environment: whether it can be made, and what of it would start.

    Each has `name`, `distribution`, `error` (none: it can be made), `presets` and `renderers`: by
    name why it would not start here, none where it would.
    """
    return [_environment(entry) for entry in plugins.scan(plugins.ENVS)]


def broken_plugins() -> list[dict[str, Any]]:
    """Sources and loggers that cannot be loaded: `name`, `group`, `error`."""
    return [
        {"name": entry.name, "group": group, "error": error}
        for group in (plugins.SOURCES, plugins.LOGGERS)
        for entry in plugins.scan(group)
        if (error := _error(partial(plugins.load, group, entry.name)))
    ]


def _environment(entry: PluginEntry) -> dict[str, Any]:
    name = entry.name
    record: dict[str, Any] = {
        "name": name,
        "distribution": entry.distribution,
        "error": entry.error or _error(partial(plugins.family, name)),
        "presets": {},
        "renderers": {},
    }
    if record["error"]:
        return record
    record["presets"] = {
        preset: _error(partial(_resolved, name, preset)) for preset in plugins.preset_names(name)
    }
    if "renderer" in env_settings.defaults(plugins.load(plugins.ENVS, name)):
        record["renderers"] = {
            renderer: _error(partial(plugins.family, name, {"renderer": renderer}))
            for renderer in RENDERERS
        }
    return record


def _resolved(env: str, preset: str) -> None:
    from adbench import flags

    flags.filled(plugins.preset(env, preset))


def _error(what: Callable[[], object]) -> str | None:
    """Why a call fails; none: it does not."""
    told = tried(what)
    return told["error"] if isinstance(told, dict) and set(told) == {"error"} else None
