"""Presets for any task family, worked out from its sizes: `smoke`, `quick` and `paper`.

A family's own package may register better ones ("ENV.quick" in the group `adbench.presets`);
these make `adbench run NAME` work at once for every environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from adbench.config import (
    CollectConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    Scalar,
    SourceConfig,
    TasksConfig,
    TrainConfig,
    with_pixels,
)

if TYPE_CHECKING:
    from adbench.task import TaskFamily


def smoke(family: TaskFamily) -> RunConfig:
    """Every stage and every row in under a minute on two cores; too small to learn anything."""
    tokens = family.max_episode_steps + 1
    window = _between(16, 3 * tokens, 96)
    return RunConfig(
        env=family.name,
        env_settings=_frames(family, 32, 32),
        tasks=_tasks(family, train=8, validation=2, test=4),
        source=_source(family),
        collect=CollectConfig(
            learners_per_task=2,
            episodes=_between(2, 400 // tokens, 40),
            expert_episodes=_between(1, 100 // tokens, 5),
            max_episodes=_between(4, 600 // tokens, 60),
            expert_share=0.01,
        ),
        model=ModelConfig(width=32, layers=2, heads=2, feedforward=64),
        train=TrainConfig(
            window_steps=window,
            batch_sequences=8,
            updates=20,
            warmup_updates=5,
            checkpoint_updates=10,
        ),
        evaluate=EvaluateConfig(
            episodes=_between(2, 120 // tokens, 6),
            lanes_per_task=2,
            source_episodes=_between(1, 100 // tokens, 20),
        ),
    )


def quick(family: TaskFamily) -> RunConfig:
    """Minutes on two cores: a small transformer that sees about twenty episodes of each learner.

    How well it learns depends on the environment; it is a place to start tuning from.
    """
    tokens = family.max_episode_steps + 1
    window = _between(64, 20 * tokens, 512)
    shown = max(2, window // tokens)  # episodes that fit a query's sight
    episodes = 100 if family.num_tabular_states else 200
    # About three million environment steps: minutes for a plain gymnasium environment. Choosing
    # the settings of `source-best` takes as many: 13 settings of 64 learners each.
    learners = _between(16, 3_000_000 // (episodes * family.max_episode_steps), 2000)
    choosing = 3_000_000 // (13 * 64)
    # Half the tokens of an update; a token that holds an image costs about twice as much.
    tokens_read = 2_000 if _sees_images(family) else 13_440
    tasks = _tasks(family, train=min(200, learners), validation=16, test=32)
    return RunConfig(
        env=family.name,
        env_settings=_frames(family, 32, 32),
        tasks=tasks,
        source=_source(family),
        collect=CollectConfig(
            learners_per_task=max(1, learners // (tasks.train or learners)),
            episodes=episodes,
            expert_episodes=min(40, episodes // 4),
            max_episodes=4 * episodes,
        ),
        train=TrainConfig(
            window_steps=window,
            subsample=max(1, episodes // shown),
            batch_sequences=_between(4, tokens_read // window, 128),
        ),
        evaluate=EvaluateConfig(
            episodes=_between(10, 2 * shown, 50),
            lanes_per_task=4,
            source_episodes=_between(20, choosing // family.max_episode_steps, episodes),
        ),
    )


def paper(family: TaskFamily) -> RunConfig:
    """The paper's settings (Laskin et al. 2022, tables 1, 2 and 4; section 5). For a GPU.

    Three tokens a step, learned absolute positions, attention over the last four episodes alone,
    2,000 histories from A3C with 100 actors each, five seeds, 1,000 episodes of evaluation. What
    the paper does not state (updates, warm-up, the split) is ours.
    """
    tokens = family.max_episode_steps + 1
    tasks = _tasks(family, train=2000, validation=16, test=20)
    return RunConfig(
        env=family.name,
        env_settings=_frames(family, 72, 96),
        seeds=(0, 1, 2, 3, 4),
        tasks=tasks,
        source=SourceConfig(name="a2c", actors=100, kept_actors=1),
        collect=CollectConfig(
            learners_per_task=max(1, 2000 // (tasks.train or 2000)),
            episodes=400,
            expert_episodes=40,
            max_episodes=1600,
            shards=40,
        ),
        model=ModelConfig(
            layout="interleaved",
            width=64,
            layers=4,
            heads=4,
            feedforward=2048,
            encoder="paper",
            positions="learned",
            norm="post",
            dropout=0.1,
            attention_dropout=0.5,
        ),
        train=TrainConfig(
            context="exact",
            window_steps=4 * tokens,
            batch_sequences=128,
            updates=100_000,
            learning_rate=3e-4,
            warmup_updates=1000,
            beta2=0.99,
            weight_decay=0.0,
            token_mask=0.3,
            checkpoint_updates=1000,
        ),
        evaluate=EvaluateConfig(episodes=1000, lanes_per_task=4),
    )


GENERIC: dict[str, Callable[[TaskFamily], RunConfig]] = {
    "smoke": smoke,
    "quick": quick,
    "paper": paper,
}
"""The presets that every environment has."""


def generic(family: TaskFamily, name: str) -> RunConfig:
    """A generic preset of that name for a family; `name` is a key of `GENERIC`."""
    from adbench.spaces import image_keys  # torch, which the names of presets do without

    config = GENERIC[name](family).with_(preset=name)
    if not image_keys(family.observation_space):
        return config
    return config.with_(methods=with_pixels(config.methods))


def source_for(family: TaskFamily) -> str:
    """The source that suits a family: a rule for bandits, a table where there is one, else a2c."""
    if family.max_episode_steps == 1 and family.num_tabular_states == 1:
        return "ucb"
    if family.num_tabular_states:
        return "q-lambda"
    return "a2c"


def _source(family: TaskFamily) -> SourceConfig:
    """That source, with settings for one actor a learner."""
    name = source_for(family)
    # On CartPole these reach 88 in 150 episodes where the defaults, made for 100 actors, reach 23.
    one_actor: dict[str, Scalar] = {
        "hidden_width": 64,
        "hidden_layers": 1,
        "learning_rate": 3e-3,
        "discount": 0.95,
    }
    return SourceConfig(name=name, settings=one_actor if name == "a2c" else {})


def _frames(family: TaskFamily, height: int, width: int) -> dict[str, Scalar]:
    """Frames of a size, where a family draws them in any."""
    size: dict[str, Scalar] = {"height": height, "width": width}
    return size if size.keys() <= family.frame_settings else {}


def _sees_images(family: TaskFamily) -> bool:
    return len(family.observation_space.shape or ()) > 1


def _tasks(family: TaskFamily, *, train: int, validation: int, test: int) -> TasksConfig:
    """At most so many tasks of each split, and no more than the family has."""
    wanted = {"train": train, "validation": validation, "test": test}
    splits = {"train": "train", "validation": "validation", "test": family.test_sets[0]}
    split_seed = TasksConfig().split_seed
    return TasksConfig(
        **{
            field: min(count, len(family.tasks(splits[field], None, seed=split_seed)))
            for field, count in wanted.items()
        }
    )


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
