"""What to run on the first-person worlds: `quick` on two cores, `gpu` on one GPU, `paper`.

Registered as "ENV.PRESET" in the entry-point group `adbench.presets`. Sources learn from poses
(privileged), so collecting draws nothing; what costs is training, frame by frame: drawing it,
encoding it, and attending. The docstrings of `quick` presets say how much, in microseconds of one
core a frame, forward and backward, as measured on an AMD EPYC (Zen 4) with one thread.
"""

from __future__ import annotations

from adbench.config import (
    METHODS,
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
from adbench_envs.presets import paper_histories, paper_run, paper_training, quick_training

_ROWS = (
    "ad", "ed", "ad-no-reward", "ad-blind", "sweep", "source", "source-best", "random", "optimal",
)  # fmt: skip
"""Every row that costs a second training is one more wait of minutes: ED is the one."""

_GOALS = TasksConfig(train=2048, validation=64, test=64)

_REACHED_ONCE: dict[str, Scalar] = {"discount": 0.9, "trace": 0.7, "initial_value": 0.01}
"""Of q-lambda where one reward ends an episode: a little optimism, straight ways while nothing is
known (`persistence` 1)."""


_TIES_AT_RANDOM: dict[str, Scalar] = {**_REACHED_ONCE, "persistence": 0.0}


def watermaze_small_quick() -> RunConfig:
    """Watermaze, small, on two cores: a row holds all that a learner lives through until it knows.

    Ties are broken at random (`persistence` 0), and most of the first choices are: learners begin
    like random play and learn within 20 episodes; 24 of them, ever shorter, are about 350 tokens.
    A frame of 32 x 32 costs 24 us to draw, 51 us to encode and 30 us to attend: 6.4 million of them
    are 11 minutes of one core for each of three trained rows.
    """
    return _quick(
        "watermaze-small",
        settings={**_TIES_AT_RANDOM, "epsilon_start": 0.7},
        collect=_collected(episodes=24, learners_per_task=2),
        train=quick_training(window_steps=200, subsample=1, updates=2000),
        evaluate=EvaluateConfig(episodes=20, lanes_per_task=4),
    ).with_(methods=METHODS)


def watermaze_quick() -> RunConfig:
    """Watermaze on two cores: it runs end to end; how much it learns there nobody has claimed.

    The source needs 30 episodes of up to 50 steps; every second one of 40 is kept. Costs as in
    `watermaze-small.quick`.
    """
    return _quick(
        "watermaze",
        collect=_collected(episodes=40, learners_per_task=2),
        train=quick_training(window_steps=300, subsample=2, updates=700),
        evaluate=EvaluateConfig(episodes=20, lanes_per_task=2),
    )


def watermaze_hard_quick() -> RunConfig:
    """Watermaze, hard, on two cores: as `watermaze.quick`, from every third of 60 episodes."""
    return _quick(
        "watermaze-hard",
        collect=_collected(episodes=60, learners_per_task=2),
        train=quick_training(window_steps=400, subsample=3, updates=600),
        evaluate=EvaluateConfig(episodes=20, lanes_per_task=2),
    )


def dark_room_3d_quick() -> RunConfig:
    """Dark Room 3D on two cores: ten episodes in the window, twenty in a row, every fourth kept.

    A reward at every step on the spot: optimism that outweighs it keeps the source looking.
    """
    return _quick(
        "dark-room-3d",
        settings={"discount": 0.7, "trace": 0.6, "initial_value": 1.5},
        collect=_collected(episodes=80, learners_per_task=2),
        train=quick_training(window_steps=10 * (30 + 1), subsample=4, updates=1500),
        evaluate=EvaluateConfig(episodes=30, lanes_per_task=2),
    )


def key_to_door_3d_quick() -> RunConfig:
    """Key-to-Door 3D on two cores: every second of 40 episodes, which shorten as it learns."""
    return _quick(
        "key-to-door-3d",
        collect=_collected(episodes=40, learners_per_task=2),
        train=quick_training(window_steps=300, subsample=2, updates=1500),
        evaluate=EvaluateConfig(episodes=20, lanes_per_task=2),
    )


def radial_arm_quick() -> RunConfig:
    """Radial arm maze on two cores: 38 training tasks, so fifty learners on each.

    The source chooses between going down the arm ahead and turning to the next. Every arm has to be
    tried once: with values that start at what a bait pays, it knows them after two or three
    episodes of up to 60 steps.
    """
    return _quick(
        "radial-arm",
        settings={"discount": 0.8, "trace": 0.0, "initial_value": 1.0, "persistence": 0.0},
        tasks=TasksConfig(),
        collect=_collected(episodes=10, learners_per_task=50),
        train=quick_training(window_steps=250, subsample=1, updates=1500),
        evaluate=EvaluateConfig(episodes=15, lanes_per_task=8),
    )


def four_boxes_quick() -> RunConfig:
    """Four boxes on two cores: 42 training tasks, so fifty learners on each.

    The source chooses a colour an episode, which is four or five steps; three sizes of four colours
    take it a dozen episodes.
    """
    return _quick(
        "four-boxes",
        settings=_TIES_AT_RANDOM,
        tasks=TasksConfig(),
        collect=_collected(episodes=24, learners_per_task=50),
        train=quick_training(window_steps=120, subsample=1, updates=4500),
        evaluate=EvaluateConfig(episodes=24, lanes_per_task=8),
    )


def watermaze_gpu() -> RunConfig:
    """Watermaze on one GPU, in the paper's frames: 4,000 histories of a source on poses, AD and ED.

    An update draws and reads 32 rows of 2,048 frames of 72 x 96 (1.4 GB); a query sees 1,024, some
    thirty episodes as they shorten. Every checkpoint is minutes apart at most, so it can be run in
    pieces (`--stop-after 8`).
    """
    return RunConfig(
        env="watermaze",
        preset="gpu",
        env_settings={"height": 72, "width": 96},
        methods=_ROWS,
        tasks=TasksConfig(train=4000, validation=64, test=100),
        source=SourceConfig(name="q-lambda", settings=_REACHED_ONCE),
        collect=_collected(episodes=125, learners_per_task=1).with_(max_episodes=400, shards=16),
        model=ModelConfig(width=128, layers=4, heads=4, feedforward=512),
        train=TrainConfig(
            window_steps=1024,
            batch_sequences=32,
            updates=4000,
            optimizer="muon",
            learning_rate=2e-3,
            warmup_updates=200,
            final_learning_rate_fraction=0.05,
            token_mask=0.1,
            checkpoint_updates=250,
        ),
        evaluate=EvaluateConfig(episodes=160, lanes_per_task=4),
    )


def watermaze_paper() -> RunConfig:
    """Watermaze as in the paper: DQN on 72 x 96 frames, its three-block encoder, five seeds.

    4,000 histories of 125 episodes, 6,250 steps of one of each learner's 16 actors (a total of
    100,000 steps a learner, figure 9); contexts of four episodes, as on Key-to-Door (not stated for
    this task); 160 episodes of evaluation. An update reads 26,112 frames, of which the encoder
    keeps 74 GB in 32 bits, half of it in 16: for a GPU of that size, or with fewer rows
    (`--train.batch-sequences`). It starts and steps; nobody has waited for its end.
    """
    base = paper_run(
        "watermaze",
        tasks=TasksConfig(train=4000, validation=20, test=20),
        collect=paper_histories(learners_per_task=1, episodes=125),
        train=paper_training(window_steps=4 * (50 + 1)),
    )
    return base.with_(
        env_settings={"height": 72, "width": 96},
        methods=with_pixels(base.methods),
        source=SourceConfig(name="dqn", actors=16, kept_actors=1),
        model=base.model.with_(encoder="paper"),
        evaluate=EvaluateConfig(episodes=160, lanes_per_task=4),
    )


def _quick(
    env: str,
    *,
    collect: CollectConfig,
    train: TrainConfig,
    evaluate: EvaluateConfig,
    settings: dict[str, Scalar] = _REACHED_ONCE,
    tasks: TasksConfig = _GOALS,
) -> RunConfig:
    return RunConfig(
        env=env,
        preset="quick",
        env_settings={"height": 32, "width": 32},
        methods=_ROWS,
        tasks=tasks,
        source=SourceConfig(name="q-lambda", settings=settings),
        collect=collect,
        train=train.with_(token_mask=0.1),
        evaluate=evaluate,
    )


def _collected(*, episodes: int, learners_per_task: int) -> CollectConfig:
    return CollectConfig(
        learners_per_task=learners_per_task,
        episodes=episodes,
        expert_episodes=20,
        max_episodes=4 * episodes,
    )
