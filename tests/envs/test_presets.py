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
