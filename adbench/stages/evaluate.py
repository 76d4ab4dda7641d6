"""Stage 3: held-out tasks. The only stage that reads the ids of test tasks.

Each method plays each test set in a file of its own, so that a run that was killed repeats one of
them at most.
"""

from __future__ import annotations

import json
import warnings

from torch import Tensor

from adbench import plugins, resources
from adbench.collect import choose_source_settings
from adbench.collect.score import source_rollout
from adbench.config import TRAINED_METHODS, Scalar
from adbench.errors import ConfigError, ResultsError
from adbench.evaluate import LANES_AT_ONCE, Rollout, rollout
from adbench.folder import write_text
from adbench.model.flops import encoder_of
from adbench.policy import policy_of
from adbench.progress import Progress
from adbench.stages import train
from adbench.stages.work import Step, Work
from adbench.train import load_model

_LANE_BYTES = 500
"""What a lane's task, number and keys take, a learner's table aside."""
_EPISODE_BYTES = 20
"""What is noted of an episode: its return and length, while it is played and afterwards."""

WEIGHTS = {method: method for method in TRAINED_METHODS} | {"ad-no-reward": "ad"}
"""Whose weights a method plays with."""


def steps(work: Work, seed: int, method: str) -> tuple[Step, ...]:
    """Roll one method out on every test set."""
    found = tuple(_step(work, seed, method, name) for name in work.test_sets)
    return (_choice(work, seed), *found) if method == "source-best" else found


def read(work: Work, seed: int, method: str, test_set: str) -> Rollout | None:
    """What one method did on one test set; none where it has not played.

    Raises:
        ResultsError: the file is damaged or of something else.
    """
    path = work.folder.evaluation(seed, test_set, method)
    if not path.exists():
        return None
    about = {"env": work.family.name, "seed": seed, "stage": _stage(method, test_set)}
    return Rollout.load(path, about=about)


def _step(work: Work, seed: int, method: str, test_set: str) -> Step:
    def do(progress: Progress) -> None:
        require(work, seed, method, test_set)
        tasks = work.held_out(test_set)
        play = _play_model if method in WEIGHTS else _play_source
        played = play(work, seed, method, _stage(method, test_set), tasks, progress)
        played.save(work.folder.evaluation(seed, test_set, method))

    def done() -> bool:
        try:
            return read(work, seed, method, test_set) is not None
        except ResultsError as error:
            warnings.warn(f"{error} It is played again.", RuntimeWarning, stacklevel=1)
            return False

    where = "" if work.test_sets == ("test",) else f" on {test_set}"
    what = f"evaluate {method}{where}, seed {seed}"
    return Step("evaluate", method, what, "episodes", do, done)


def require(work: Work, seed: int, method: str, test_set: str) -> None:
    """Refuse a roll-out that the machine has no memory for."""
    config = work.config
    lanes, episodes = (
        len(work.held_out(test_set)) * config.evaluate.lanes_per_task,
        config.evaluate.episodes,
    )
    memory = 0
    if method not in WEIGHTS:
        episodes = config.evaluate.source_episodes or config.collect.episodes
        memory += lanes * (config.source.actors - 1) * _LANE_BYTES
    elif train.on_cpu(work):
        # Keys and values of every layer, in float32; a GPU has its own memory.
        a_lane = config.train.window_steps * config.model.layers * 2 * config.model.width * 4
        # Where an episode ends there are two observations a lane, before and behind the encoder.
        encoder = encoder_of(config.model, work.family.observation_space)
        a_lane += 2 * (2 * train.observation_bytes(work) + 4 * encoder.kept_floats)
        memory += min(LANES_AT_ONCE, lanes) * a_lane
    resources.require(
        f"evaluate {method}, seed {seed}",
        work.folder.path,
        memory_bytes=memory + lanes * (episodes * _EPISODE_BYTES + _LANE_BYTES),
    )


def _stage(method: str, test_set: str) -> str:
    """What keys a roll-out's noise, and is written into its file."""
    return f"evaluate/{test_set}/{method}"


def _play_model(
    work: Work, seed: int, method: str, stage: str, tasks: Tensor, progress: Progress
) -> Rollout:
    config, weights = work.config, WEIGHTS[method]
    model = train.new_model(work, seed).to(config.device)
    folder = work.folder.checkpoints(seed, weights)
    load_model(model, folder, config, method=weights, seed=seed)
    return rollout(
        policy_of(model, zero_reward=method == "ad-no-reward"),
        work.family,
        tasks,
        lanes_per_task=config.evaluate.lanes_per_task,
        episodes=config.evaluate.episodes,
        seed=seed,
        stage=stage,
        device=config.device,
        action=config.evaluate.action,
        progress=progress,
        stop=work.stop,
    )


def _play_source(
    work: Work, seed: int, method: str, stage: str, tasks: Tensor, progress: Progress
) -> Rollout:
    config = work.config
    return source_rollout(
        config,
        work.family,
        tasks,
        seed=seed,
        stage=stage,
        lanes_per_task=config.evaluate.lanes_per_task,
        episodes=config.evaluate.source_episodes or config.collect.episodes,
        settings=_chosen(work, seed) if method == "source-best" else None,
        progress=progress,
        stop=work.stop,
    )


def _choice(work: Work, seed: int) -> Step:
    """Choose the source's best settings on validation tasks."""
    path = work.folder.source_choice(seed)

    def do(progress: Progress) -> None:
        settings = choose_source_settings(work.config, work.family, seed=seed, progress=progress)
        write_text(path, json.dumps({"settings": settings}) + "\n")

    return Step(
        "evaluate",
        "choose",
        f"choose settings of source-best, seed {seed}",
        "settings",
        do,
        lambda: _chosen(work, seed) is not None,
    )


def _chosen(work: Work, seed: int) -> dict[str, Scalar] | None:
    """The settings that were chosen; none: not yet, or the file is damaged and they are again."""
    try:
        told = json.loads(work.folder.source_choice(seed).read_text())["settings"]
        algorithm = plugins.source(work.config.source.name)
        return dict(algorithm.Settings.parse(told).model_dump())
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None
