"""The worlds' own presets: they are found by name and fit their family."""

from __future__ import annotations

from importlib import metadata

import pytest

from adbench import plugins

OWN = [
    entry.name
    for entry in metadata.entry_points(group="adbench.presets")
    if entry.value.startswith("adbench_envs.")
]


@pytest.mark.parametrize("name", OWN)
def test_every_preset_asks_for_tasks_that_its_family_has(name: str) -> None:
    env, _, preset = name.rpartition(".")
    config = plugins.preset(env, preset)
    family = plugins.family(env)
    assert (config.env, config.preset) == (env, preset)
    wanted = {"train": config.tasks.train, "validation": config.tasks.validation}
    for split in (*wanted, *family.test_sets):
        count = wanted.get(split, config.tasks.test)
        tasks = family.tasks(split, count, seed=config.tasks.split_seed)
        assert count is None or len(tasks) == count


@pytest.mark.parametrize("env", ["bandit", "dark-room", "dark-room-hard", "key-to-door"])
def test_each_world_has_all_three_presets(env: str) -> None:
    assert {"smoke", "quick", "paper"} <= set(plugins.preset_names(env))


@pytest.mark.parametrize(
    "env", ["watermaze", "watermaze-small", "watermaze-hard", "dark-room-3d", "key-to-door-3d"]
)
def test_a_quick_run_on_pixels_shows_small_frames_and_scores_many_goals(env: str) -> None:
    config = plugins.preset(env, "quick")
    assert (config.env_settings["height"], config.env_settings["width"]) == (32, 32)
    family = plugins.family_of(config)
    assert len(family.tasks("test", config.tasks.test, seed=0)) >= 64
    # An early and a late episode of each learner lie within one row.
    kept = config.collect.episodes // config.train.subsample
    assert kept >= 16 and config.train.row_steps >= 2 * (family.max_episode_steps + 1)
    trained = config.train.updates * config.train.batch_sequences * config.train.row_steps
    assert trained <= 10_000_000


@pytest.mark.parametrize("env", ["radial-arm", "four-boxes"])
def test_where_tasks_are_few_a_quick_run_has_many_learners_on_each(env: str) -> None:
    config = plugins.preset(env, "quick")
    assert (config.env_settings["height"], config.env_settings["width"]) == (32, 32)
    tasks = plugins.family_of(config).tasks("train", config.tasks.train, seed=0)
    assert len(tasks) * config.collect.learners_per_task >= 1900
    assert config.evaluate.episodes >= 10
    trained = config.train.updates * config.train.batch_sequences * config.train.row_steps
    assert trained <= 10_000_000


def test_the_gpus_preset_is_the_papers_task_with_as_many_histories() -> None:
    config = plugins.preset("watermaze", "gpu")
    assert config.env_settings == {"height": 72, "width": 96}
    family = plugins.family_of(config)
    tasks = family.tasks("train", config.tasks.train, seed=0)
    assert len(tasks) * config.collect.learners_per_task == 4000
    assert config.source.name == "q-lambda" and config.model.encoder == "patch"
    assert config.evaluate.episodes == 160 and len(config.seeds) == 1
    assert {"ad", "ed"} <= set(config.methods)
    assert config.train.window_steps >= 16 * (family.max_episode_steps + 1)


def test_the_papers_watermaze_is_seen_and_learnt_from_as_it_states() -> None:
    config = plugins.preset("watermaze", "paper")
    assert config.env_settings == {"height": 72, "width": 96}
    assert (config.source.name, config.source.actors) == ("dqn", 16)
    assert (config.model.encoder, config.train.auxiliary) == ("paper", "none")
    assert config.tasks.train == 4000 and config.collect.learners_per_task == 1
    steps = config.collect.episodes * plugins.family("watermaze").max_episode_steps
    assert steps * config.source.actors == 100_000
    assert len(config.seeds) == 5 and config.evaluate.episodes == 160
    assert config.train.batch_sequences == 128 and config.model.feedforward == 2048


@pytest.mark.parametrize("env", ["dark-room", "dark-room-hard", "key-to-door"])
def test_the_papers_preset_is_the_papers_where_it_states_a_setting(env: str) -> None:
    config = plugins.preset(env, "paper")
    hard = env == "dark-room-hard"
    model, train = config.model, config.train
    assert (model.layout, model.positions, model.norm) == ("interleaved", "learned", "post")
    assert (model.width, model.layers, model.heads, model.feedforward) == (64, 4, 4, 2048)
    assert (model.dropout, model.attention_dropout) == (0.1, 0.0 if hard else 0.5)
    assert (train.token_mask, train.label_smoothing) == ((0.5, 0.2) if hard else (0.3, 0.0))
    assert (train.batch_sequences, train.learning_rate, train.beta2) == (128, 3e-4, 0.99)
    steps = {"key-to-door": 200}.get(env, 80)
    assert train.window_steps == steps + 4  # four episodes, each with its final observation
    assert (train.context, config.source.name, config.source.actors) == ("exact", "a2c", 100)
    assert len(config.seeds) == 5 and config.evaluate.episodes == 1000
