"""Presets: functions that return a `RunConfig`."""

from __future__ import annotations

from adbench.config import (
    CollectConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SourceConfig,
    TasksConfig,
    TrainConfig,
)


def hot_cold_tiny() -> RunConfig:
    """Hot and Cold, distilled from hill climbers, in half a minute on two cores."""
    return RunConfig(
        env="hot-cold",
        methods=("ad", "source", "random", "optimal"),
        tasks=TasksConfig(train=15, validation=2, test=4),
        source=SourceConfig(name="hill-climb"),
        collect=CollectConfig(
            learners_per_task=32, episodes=100, expert_episodes=0, max_episodes=100
        ),
        model=ModelConfig(width=32, layers=2, heads=2, feedforward=64),
        train=TrainConfig(
            window_steps=210, subsample=10, batch_sequences=8, updates=200, warmup_updates=20
        ),
        evaluate=EvaluateConfig(episodes=10, lanes_per_task=4),
    )
