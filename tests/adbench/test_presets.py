"""Generic presets fit any family: they ask for what it has, and for no more work than they say."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench import plugins
from adbench.config import METHODS, PIXEL_METHODS, RunConfig
from adbench.errors import UnknownNameError
from adbench.presets import GENERIC, generic, source_for
from adbench.spaces import image_keys
from adbench.task import BatchedEnv, TaskFamily, split_indices

SETTINGS_OF_SOURCE_BEST, LEARNERS_OF_SOURCE_BEST = 13, 64


class Sized(TaskFamily):
    """A family that has sizes and nothing else."""

    name = "sized"
    observation_space: Any = spaces.Discrete(5)
    action_space = spaces.Discrete(3)

    def __init__(self, steps: int, tasks: int = 400, table: int = 0) -> None:
        self.max_episode_steps, self.num_tasks, self.num_tabular_states = steps, tasks, table

    def tasks(self, split: str, count: int | None, *, seed: int) -> Tensor:
        eighth = max(1, self.num_tasks // 8)
        part = split_indices(
            self.num_tasks, split, count, seed=seed, validation=eighth, test=eighth
        )
        return torch.from_numpy(part.copy())

    def make(self, *_: Any, **__: Any) -> BatchedEnv:
        raise NotImplementedError

    def random_return(self, tasks: Tensor) -> Tensor:
        return torch.zeros(len(tasks))

    def optimal_return(self, tasks: Tensor) -> Tensor | None:
        return None


def work(config: RunConfig, family: TaskFamily) -> dict[str, int]:
    """Upper bounds of what a run does: environment steps and tokens."""
    steps, train = family.max_episode_steps, config.train
    tasks = config.tasks
    lanes = cast(int, tasks.test) * config.evaluate.lanes_per_task
    learners = cast(int, tasks.train) * config.collect.learners_per_task
    source_episodes = config.evaluate.source_episodes or config.collect.episodes
    return {
        "collected": learners * config.collect.max_episodes * steps,
        "learned from": learners * config.collect.episodes * steps,
        "choosing": SETTINGS_OF_SOURCE_BEST * LEARNERS_OF_SOURCE_BEST * source_episodes * steps,
        "trained tokens": train.updates * train.batch_sequences * train.row_steps,
        "evaluated": lanes * config.evaluate.episodes * steps,
    }


@pytest.mark.parametrize("steps", [1, 7, 20, 50, 200, 1000])
@pytest.mark.parametrize("tasks", [3, 12, 81, 3000])
@pytest.mark.parametrize("name", GENERIC)
def test_a_preset_fits_every_size(name: str, steps: int, tasks: int) -> None:
    family = Sized(steps, tasks)
    config = generic(family, name)
    assert (config.env, config.preset) == ("sized", name)
    for split in ("train", "validation", "test"):
        count = getattr(config.tasks, split)
        assert len(family.tasks(split, count, seed=config.tasks.split_seed)) == count
    assert RunConfig.parse(config.model_dump()) == config


@pytest.mark.parametrize("steps", [1, 7, 20, 50, 100])
def test_smoke_is_small(steps: int) -> None:
    family = Sized(steps)
    config = generic(family, "smoke")
    done = work(config, family)
    assert done["collected"] <= 20_000
    assert done["choosing"] <= 100_000
    assert done["trained tokens"] <= 40_000
    assert done["evaluated"] <= 2_000
    assert config.seeds == (0,)
    assert set(config.methods) == set(RunConfig(env="any").methods)  # every row is there


@pytest.mark.parametrize("steps", [5, 20, 50, 200])
def test_quick_is_minutes(steps: int) -> None:
    family = Sized(steps)
    config = generic(family, "quick")
    done = work(config, family)
    assert done["learned from"] <= 4_000_000
    assert done["choosing"] <= 3_500_000
    assert done["trained tokens"] <= 30_000_000
    shown = config.train.window_steps // (steps + 1)
    assert shown >= 2  # an in-context learner must see more than one episode
    assert config.collect.episodes // config.train.subsample >= min(shown, 20)


class Seen(Sized):
    """The same, with images, which it draws in any size."""

    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    frame_settings = frozenset({"height", "width"})


@pytest.mark.parametrize("steps", [20, 50, 200])
def test_images_are_small_and_fewer_of_them_are_read(steps: int) -> None:
    family = Seen(steps, table=9)
    smoke, quick, paper = (generic(family, name) for name in ("smoke", "quick", "paper"))
    assert smoke.env_settings == quick.env_settings == {"height": 32, "width": 32}
    assert work(quick, family)["trained tokens"] <= 5_000_000
    assert paper.env_settings == {"height": 72, "width": 96}
    assert (paper.model.encoder, quick.model.encoder) == ("paper", "patch")
    assert generic(Sized(steps), "quick").env_settings == {}


@pytest.mark.parametrize("env", plugins.names(plugins.ENVS))
def test_every_preset_on_pixels_has_the_rows_that_need_neither_sight_nor_learning(env: str) -> None:
    seen = bool(image_keys(plugins.family(env).observation_space))
    for name in plugins.preset_names(env):
        methods = plugins.preset(env, name).methods
        assert (set(PIXEL_METHODS) <= set(methods)) == seen, name
        assert methods == tuple(method for method in METHODS if method in methods), name


def test_paper_is_the_papers() -> None:
    config = generic(Sized(20, 3000), "paper")
    assert (config.model.layout, config.model.positions) == ("interleaved", "learned")
    assert (config.train.context, config.train.window_steps) == ("exact", 4 * 21)
    assert (config.source.name, config.source.actors, len(config.seeds)) == ("a2c", 100, 5)


@pytest.mark.parametrize(
    ("family", "source"),
    [
        (Sized(20, table=81), "q-lambda"),
        (Sized(20), "a2c"),
        (Sized(1, table=1), "ucb"),
        (Sized(1, table=9), "q-lambda"),
        (Sized(1), "a2c"),
    ],
)
def test_the_source_suits_the_family(family: TaskFamily, source: str) -> None:
    assert source_for(family) == source
    config = generic(family, "quick")
    assert config.source.name == source
    plugins.source(source).Settings.parse(dict(config.source.settings))


@pytest.mark.parametrize("env", plugins.names(plugins.ENVS))
@pytest.mark.parametrize("name", ["smoke", "quick", "paper"])
def test_every_registered_environment_has_every_generic_preset(env: str, name: str) -> None:
    config = plugins.preset(env, name)
    assert (config.env, config.preset) == (env, name)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no preset of dark-room named 'smok'.*'smoke'"):
        plugins.preset("dark-room", "smok")
