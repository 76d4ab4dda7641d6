"""What to run on our worlds: `quick` is minutes on two cores, `paper` is the paper's settings.

Registered as "ENV.PRESET" in the entry-point group `adbench.presets`.

`paper` follows Laskin et al. 2022 (arXiv 2210.14215), tables 1, 2 and 4 and section 5. What the
paper does not state is ours: 100,000 updates, 1,000 of them warm-up; the context on the two dark
rooms (four episodes, as on Key-to-Door); one stream kept of each learner's 100; four lanes on each
of at most 20 test tasks.
"""

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

# An episode of n steps makes n + 1 tokens: its last one holds the final observation.
_DARK_ROOM_TOKENS = 20 + 1
_KEY_TO_DOOR_TOKENS = 50 + 1
_PULL_TOKENS = 1 + 1


def dark_room_quick() -> RunConfig:
    """Dark Room on two cores: five episodes in the window, ten in a row, every fourth kept.

    The source needs about 50 episodes, twelve kept ones; four layers see back over nineteen.
    Settings were chosen by returns on goals that are not for testing. Wider and with a shorter
    window costs as much as narrower and longer, and learns more (three seeds, validation goals).
    """
    return RunConfig(
        env="dark-room",
        preset="quick",
        tasks=TasksConfig(split_seed=1),
        source=SourceConfig(name="q-lambda"),
        collect=CollectConfig(
            learners_per_task=64, episodes=80, expert_episodes=40, max_episodes=200
        ),
        model=ModelConfig(width=128, feedforward=512),
        train=quick_training(window_steps=5 * _DARK_ROOM_TOKENS, subsample=4, updates=1600).with_(
            token_mask=0.2, weight_decay=0.3
        ),
        evaluate=EvaluateConfig(episodes=50, lanes_per_task=8),
    )


def quick_training(*, window_steps: int, subsample: int, updates: int) -> TrainConfig:
    """What trained best on two cores among batches of 8 to 32 rows, rates of 2e-3 to 1e-2, both
    optimisers."""
    return TrainConfig(
        window_steps=window_steps,
        subsample=subsample,
        batch_sequences=8,
        updates=updates,
        optimizer="muon",
        learning_rate=3e-3,
        warmup_updates=60,
        final_learning_rate_fraction=0.05,
    )


def dark_room_hard_quick() -> RunConfig:
    """Dark Room (Hard) on two cores: fifteen episodes in the window, thirty in a row, every third
    kept."""
    return RunConfig(
        env="dark-room-hard",
        preset="quick",
        source=SourceConfig(
            name="q-lambda", settings={"discount": 0.9, "trace": 0.7, "initial_value": 0.01}
        ),
        collect=CollectConfig(
            learners_per_task=16, episodes=90, expert_episodes=40, max_episodes=400
        ),
        train=quick_training(window_steps=15 * _DARK_ROOM_TOKENS, subsample=3, updates=2400),
        evaluate=EvaluateConfig(episodes=100, lanes_per_task=4),
    )


def key_to_door_quick() -> RunConfig:
    """Dark Key-to-Door on two cores: every episode of a source that needs about twenty.

    They shorten from 50 steps to about 12 as the source learns, so 320 tokens hold ten to twenty.
    """
    return RunConfig(
        env="key-to-door",
        preset="quick",
        tasks=TasksConfig(train=4000, validation=64, test=64),
        source=SourceConfig(
            name="q-lambda", settings={"discount": 0.95, "trace": 0.7, "initial_value": 0.01}
        ),
        collect=CollectConfig(
            learners_per_task=2, episodes=30, expert_episodes=60, max_episodes=200
        ),
        train=quick_training(window_steps=320, subsample=1, updates=2400),
        evaluate=EvaluateConfig(episodes=50, lanes_per_task=4),
    )


def bandit_quick() -> RunConfig:
    """The adversarial bandit on two cores: a window of 100 pulls."""
    return RunConfig(
        env="bandit",
        preset="quick",
        tasks=TasksConfig(train=2048, validation=64, test=128),
        source=SourceConfig(name="ucb"),
        # 200 pulls, so that training rows go past the window of 100.
        collect=CollectConfig(learners_per_task=2, episodes=200, expert_episodes=200),
        train=quick_training(window_steps=100 * _PULL_TOKENS, subsample=1, updates=700),
        evaluate=EvaluateConfig(episodes=100, lanes_per_task=8),
    )


def bandit_smoke() -> RunConfig:
    """Every stage and every row on the bandit in under a minute; too small to learn anything."""
    return RunConfig(
        env="bandit",
        preset="smoke",
        tasks=TasksConfig(train=16, validation=4, test=4),
        source=SourceConfig(name="ucb"),
        collect=CollectConfig(
            learners_per_task=2,
            episodes=60,
            expert_episodes=10,
            max_episodes=100,
            expert_share=0.01,
        ),
        model=ModelConfig(width=32, layers=2, heads=2, feedforward=64),
        train=TrainConfig(
            window_steps=20 * _PULL_TOKENS,
            batch_sequences=8,
            updates=20,
            warmup_updates=5,
            checkpoint_updates=10,
        ),
        evaluate=EvaluateConfig(episodes=30, lanes_per_task=2),
    )


def dark_room_paper() -> RunConfig:
    """Dark Room as in the paper: 2,000 histories of 400 episodes, contexts of four episodes."""
    return paper_run(
        "dark-room",
        tasks=TasksConfig(),
        # 57 training goals, 35 learners each.
        collect=paper_histories(learners_per_task=35, episodes=400),
        train=paper_training(window_steps=4 * _DARK_ROOM_TOKENS),
    )


def dark_room_hard_paper() -> RunConfig:
    """Dark Room (Hard) as in the paper: label smoothing and much masking, no attention dropout."""
    base = paper_run(
        "dark-room-hard",
        tasks=TasksConfig(validation=20, test=20),
        # 202 training goals, 10 learners each.
        collect=paper_histories(learners_per_task=10, episodes=500),
        train=paper_training(window_steps=4 * _DARK_ROOM_TOKENS).with_(
            label_smoothing=0.2, token_mask=0.5
        ),
    )
    return base.with_(model=base.model.with_(attention_dropout=0.0))


def key_to_door_paper() -> RunConfig:
    """Dark Key-to-Door as in the paper: 2,000 tasks, 2,000 episodes each, 200 transitions seen."""
    return paper_run(
        "key-to-door",
        tasks=TasksConfig(train=2000, validation=20, test=20),
        collect=paper_histories(learners_per_task=1, episodes=2000),
        train=paper_training(window_steps=4 * _KEY_TO_DOOR_TOKENS),
    )


def bandit_paper() -> RunConfig:
    """The adversarial bandit as in the paper: UCB, 100 trials, all of them in the context.

    The paper states neither the number of histories nor the transformer's settings for it; here
    they are those of the dark rooms.
    """
    return paper_run(
        "bandit",
        tasks=TasksConfig(train=2000, validation=64, test=100),
        collect=paper_histories(learners_per_task=1, episodes=100),
        train=paper_training(window_steps=100 * _PULL_TOKENS),
    ).with_(
        source=SourceConfig(name="ucb"),
        evaluate=EvaluateConfig(episodes=100, lanes_per_task=4),
    )


def paper_run(
    env: str, *, tasks: TasksConfig, collect: CollectConfig, train: TrainConfig
) -> RunConfig:
    """The paper's model, source of the dark rooms, seeds and evaluation, on some world."""
    return RunConfig(
        env=env,
        preset="paper",
        seeds=(0, 1, 2, 3, 4),
        tasks=tasks,
        # A2C's own defaults are the paper's A3C: three layers of 128, Adam at 1e-4.
        source=SourceConfig(name="a2c", actors=100, kept_actors=1),
        collect=collect,
        model=ModelConfig(
            layout="interleaved",
            width=64,
            layers=4,
            heads=4,
            feedforward=2048,
            positions="learned",
            norm="post",
            dropout=0.1,
            attention_dropout=0.5,
        ),
        train=train,
        evaluate=EvaluateConfig(episodes=1000, lanes_per_task=4),
    )


def paper_histories(*, learners_per_task: int, episodes: int) -> CollectConfig:
    """Histories of so many episodes, and 40 of a converged learner after them."""
    return CollectConfig(
        learners_per_task=learners_per_task,
        episodes=episodes,
        expert_episodes=40,
        max_episodes=4 * episodes,
        shards=40,
    )


def paper_training(*, window_steps: int) -> TrainConfig:
    """The paper's training, on contexts of so many tokens."""
    # AdamW without decay is the paper's Adam; it warms up from 2e-6, here from nothing.
    return TrainConfig(
        context="exact",
        window_steps=window_steps,
        batch_sequences=128,
        updates=100_000,
        learning_rate=3e-4,
        warmup_updates=1000,
        beta1=0.9,
        beta2=0.99,
        weight_decay=0.0,
        gradient_clip=1.0,
        token_mask=0.3,
        checkpoint_updates=1000,
    )
