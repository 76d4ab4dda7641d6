"""The context-length study: which trainings it is made of, and what all of them share.

Two series over one world. *exact*: attention over the last c steps alone, recomputed at each step,
as in the paper. *banded*: a ring cache of W steps in each layer, so that information comes from
further back. Every training reads the same histories, subsampled alike, in rows that hold equally
many tokens an update, for equally many updates.

How long `dark-room` takes on two cores, estimated from short pieces (15 updates, two episodes of
64 lanes; processor time of one thread on a busy AMD EPYC, torch 2.13): an update of 1,600 tokens
takes 57 to 66 ms exact and 63 to 77 ms banded, whatever the length; an episode of all lanes takes
0.2, 0.3, 0.6, 1.4 and 2.2 s at c = 10, 20, 40, 80 and 200 once the window is full, and 0.1 s
banded. So 3,000 updates are 3 to 4 minutes, the 50 episodes of c = 200 two, and the 24 runs, two at
a time, 46 minutes; starting processes, collecting and reports add less than ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge
from pydantic import Field, model_validator

from adbench import plugins, toml
from adbench.config import Count, RunConfig, UserConfig
from adbench.errors import ConfigError
from adbench.flags import filled, layered
from adbench.suite.cells import Cell
from adbench.suite.definition import SHIPPED, Seeds

EXACT, BANDED = SERIES = ("exact", "banded")

ROWS = ("ad", "source", "random", "optimal")
"""Rows of each run: what the study compares needs no others."""

LEAST_TOKENS = 3_000_000
"""That every training reads, unless somebody's own study or the preset `smoke` says otherwise."""

_STUDIES = SHIPPED / "context"

Length = Annotated[Count, Ge(2)]


class Study(UserConfig):
    """Context lengths to compare, and what every one of their trainings shares."""

    preset: str = "quick"
    """Settings to start from."""
    seeds: Seeds = (0, 1, 2)
    """Seeds; each trains every length on histories of its own."""
    exact: tuple[Length, ...] = ()
    """Context lengths c, in transition tokens: attention over the last c alone."""
    banded: tuple[Length, ...] = ()
    """Windows W of the ring cache, in transition tokens."""
    tokens_per_update: Count
    """Transition tokens in an update, at every length: rows of more tokens, fewer rows."""
    updates: Count
    """Gradient updates, at every length."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of every run that differ from the preset."""

    @model_validator(mode="after")
    def _every_length_fills_whole_rows(self) -> Self:
        if not self.exact + self.banded:
            raise ValueError("name at least one length, in exact or in banded")
        for name in SERIES:
            lengths = self.lengths(name)
            if len(set(lengths)) != len(lengths):
                raise ValueError(f"{name} has a length twice: {', '.join(map(str, lengths))}")
        for length in self.exact:
            if self.tokens_per_update % length:
                raise ValueError(
                    f"exact: rows of {length} do not fill tokens_per_update = "
                    f"{self.tokens_per_update}, so trainings would not read equally many; take a "
                    f"multiple of {math.lcm(*self.exact)}"
                )
        for length in self.banded:
            if 2 * length > self.tokens_per_update:
                raise ValueError(
                    f"banded: a window of {length} is trained on rows of {2 * length} or more, and "
                    f"tokens_per_update is {self.tokens_per_update}"
                )
        return self

    @property
    def trained_tokens(self) -> int:
        """Transition tokens that each training reads, padding included."""
        return self.updates * self.tokens_per_update

    def lengths(self, series: str) -> tuple[int, ...]:
        """Of one of the two series."""
        return self.exact if series == EXACT else self.banded

    def row_steps(self, series: str, length: int) -> int:
        """Tokens of a training row: c, or the shortest of at least 2 W that fills an update."""
        if series == EXACT:
            return length
        total = self.tokens_per_update
        return next(n for n in range(2 * length, total + 1) if total % n == 0)


@dataclass(frozen=True)
class Planned:
    """A study of one world.

    Attributes:
        env: the world.
        study: its lengths.
        cells: a run for each series, length and seed, those of one seed after one another, the
            longest first.
        origin: where the study comes from, in words.
    """

    env: str
    study: Study
    cells: tuple[Cell, ...]
    origin: str


def plan(
    env: str,
    *,
    full: bool = False,
    file: Path | None = None,
    preset: str | None = None,
    seeds: tuple[int, ...] | None = None,
    device: str = "auto",
) -> Planned:
    """The runs of a study.

    Args:
        env: the world.
        full: the longer lengths.
        file: a study of one's own, in TOML; none: the one that ships with adbench for this world,
            else one made from its preset.
        preset: start from this preset, with lengths made from it; none: the study's.
        seeds: in place of the study's.
        device: "cpu", "cuda" or "auto".

    Raises:
        UnknownNameError: no such environment or preset.
        ConfigError: a study that says something it cannot, or a device that isn't there.
        PluginError: the environment cannot be loaded.
    """
    plugins.find(plugins.ENVS, env)
    study, origin = _study(env, full, file, preset)
    if seeds is not None:
        study = study.with_(seeds=seeds)
    version = plugins.family(env).version
    base = layered(plugins.preset(env, study.preset).model_dump(), study.settings)
    base |= {"seeds": study.seeds[:1], "device": device, "methods": ROWS}
    configs = {pair: _config(env, study, base, *pair) for pair in _longest_first(study)}
    cells = tuple(
        Cell(
            world=env,
            config=config.with_(seeds=(seed,)),
            env_version=version,
            context_steps=length,
            series=series,
            any_device=device == "auto",
        )
        for seed in study.seeds
        for (series, length), config in configs.items()
    )
    return Planned(env, study, cells, origin)


def _longest_first(study: Study) -> Iterable[tuple[str, int]]:
    """Recomputing a long window at every step takes longest by far."""
    pairs = [(series, length) for series in SERIES for length in study.lengths(series)]
    return sorted(pairs, key=lambda pair: (pair[0] != EXACT, -pair[1]))


def _study(env: str, full: bool, file: Path | None, preset: str | None) -> tuple[Study, str]:
    if file is not None:
        return _read(file), str(file)
    shipped = _STUDIES / f"{env}{'.full' if full else ''}.toml"
    if preset is None and shipped.is_file():
        return _read(shipped), f"adbench/suites/context/{shipped.name}"
    name = preset or "quick"
    return from_preset(plugins.preset(env, name), full=full), f"{env}'s preset {name!r}"


def _read(file: Path) -> Study:
    return Study.parse(toml.load(file), where=str(file))


def from_preset(config: RunConfig, *, full: bool = False) -> Study:
    """A study of a world that has none: half an episode to eight, at a preset's sizes.

    Args:
        config: the preset's.
        full: up to thirty-two episodes.
    """
    smoke = config.preset == "smoke"
    half = max(2, (plugins.family_of(config).max_episode_steps + 2) // 2)
    exact: tuple[int, ...] = (half, 2 * half, 4 * half, 8 * half)
    banded: tuple[int, ...] = (2 * half, 8 * half)
    if full:
        exact, banded = (*exact, 16 * half), (*banded, 32 * half, 64 * half)
    if smoke:
        exact, banded = exact[:2], banded[:1]
    longest = max((*exact, *(2 * window for window in banded)))
    rows = round(config.train.batch_sequences * config.train.row_steps / longest)
    tokens = longest * max(1, rows)
    return Study(
        preset=config.preset,
        exact=exact,
        banded=banded,
        tokens_per_update=tokens,
        updates=config.train.updates if smoke else -(-LEAST_TOKENS // tokens),
    )


def _config(env: str, study: Study, base: dict[str, Any], series: str, length: int) -> RunConfig:
    """One length's configuration, with the first seed."""
    row_steps = study.row_steps(series, length)
    train = {
        **base["train"],
        "context": series,
        "window_steps": length,
        "sequence_steps": row_steps if series == BANDED else None,
        "batch_sequences": study.tokens_per_update // row_steps,
        "updates": study.updates,
    }
    # Where the preset trains for longer, its warm-up would be most of the training.
    train["warmup_updates"] = min(train["warmup_updates"], study.updates // 10)
    try:
        return filled(RunConfig.parse({**base, "train": train}))
    except ConfigError as error:
        raise ConfigError(f"the context study of {env}, {series} {length}: {error}") from None
