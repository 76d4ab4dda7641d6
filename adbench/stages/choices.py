"""What is chosen before a row plays: the source's best settings, the best fixed actions.

Choices go by validation or training tasks, are made once a seed, and are written beside the
roll-outs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench import plugins
from adbench.collect import choose_source_settings
from adbench.config import Scalar
from adbench.errors import ConfigError
from adbench.folder import write_text
from adbench.progress import Progress
from adbench.stages.work import Step, Work
from adbench.sweep import choose_sweep


def before(work: Work, seed: int, method: str) -> tuple[Step, ...]:
    """The choice that a row needs, as a step; most need none."""
    if method == "source-best":
        return (_source_step(work, seed),)
    return (_sweep_step(work, seed),) if method == "sweep" else ()


def source_settings(work: Work, seed: int) -> dict[str, Scalar] | None:
    """The source's best settings; none: not chosen yet, or the file is damaged: they are again."""
    try:
        told = _read(work.folder.source_choice(seed))["settings"]
        algorithm = plugins.source(work.config.source.name)
        return dict(algorithm.Settings.parse(told).model_dump())
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def sweep_actions(work: Work, seed: int) -> Tensor | None:
    """The best fixed actions, int64 [steps]; none: as `source_settings`."""
    family = work.family
    try:
        told = _read(work.folder.sweep_choice(seed))["actions"]
        actions = torch.tensor(told, dtype=torch.int64)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None
    fits = tuple(actions.shape) == (family.max_episode_steps,)
    known = bool(((actions >= 0) & (actions < int(family.action_space.n))).all())
    return actions if fits and known else None


def _source_step(work: Work, seed: int) -> Step:
    """Choose the source's best settings on validation tasks."""

    def do(progress: Progress) -> None:
        settings = choose_source_settings(work.config, work.family, seed=seed, progress=progress)
        _write(work.folder.source_choice(seed), {"settings": settings})

    return Step(
        "evaluate",
        "choose",
        f"choose settings of source-best, seed {seed}",
        "settings",
        do,
        lambda: source_settings(work, seed) is not None,
    )


def _sweep_step(work: Work, seed: int) -> Step:
    """Choose the best fixed actions on training tasks."""

    def do(progress: Progress) -> None:
        tasks = work.config.tasks
        actions = choose_sweep(
            work.family,
            work.family.tasks("train", tasks.train, seed=tasks.split_seed),
            seed=seed,
            device=work.config.device,
            progress=progress,
            stop=work.stop,
        )
        _write(work.folder.sweep_choice(seed), {"actions": actions.tolist()})

    return Step(
        "evaluate",
        "choose-sweep",
        f"choose actions of sweep, seed {seed}",
        "episodes",
        do,
        lambda: sweep_actions(work, seed) is not None,
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _write(path: Path, told: dict[str, Any]) -> None:
    write_text(path, json.dumps(told) + "\n")
