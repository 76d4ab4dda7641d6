"""Stage 2: a transformer learns to continue histories.

Each trained method is the same transformer, trained as often, on other parts of the same histories.
"""

from __future__ import annotations

import math
import warnings

import torch

from adbench import checkpoint, plugins, resources
from adbench.checkpoint import Checkpoint
from adbench.errors import HistoryError
from adbench.evaluate import rollout
from adbench.folder import CONFIG
from adbench.history.drift import drifts
from adbench.history.frames import RowFrames
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler
from adbench.history.schema import Renderer
from adbench.model import DistillationModel, build_model
from adbench.model.embed import TOKENS_PER_STEP
from adbench.model.flops import encoder_of
from adbench.noise import torch_generator
from adbench.policy import policy_of
from adbench.progress import Progress
from adbench.spaces import parts, torch_dtype
from adbench.stages.work import Step, Work
from adbench.task import TaskFamily
from adbench.train import identity, train

_CHECKPOINTS_AT_ONCE = 4
"""The last two, the best, and the one being written."""


def step(work: Work, seed: int, method: str) -> Step:
    """Train one method on the histories of one seed."""

    def validate(model: DistillationModel) -> float:
        return validation_score(work, seed, model)

    def do(progress: Progress) -> None:
        require(work, seed, method)
        model = new_model(work, seed)
        rows = sampler(work, seed, method)
        train(
            work.config,
            method=method,
            seed=seed,
            sampler=rows,
            bring=RowFrames(work.family, rows.store.tasks) if rows.holds_states else None,
            model=model.to(work.config.device),
            folder=work.folder.checkpoints(seed, method),
            metrics=work.folder.metrics,
            progress=progress,
            stop=work.stop,
            validate=validate if work.config.train.choose_best else None,
            listen=work.listen,
        )

    def done() -> bool:
        found = last_checkpoint(work, seed, method)
        return found is not None and found.update >= work.config.train.updates

    return Step("train", method, f"train {method}, seed {seed}", "updates", do, done)


def new_model(work: Work, seed: int) -> DistillationModel:
    """A model with the initial weights that every method of a seed begins from, on the CPU."""
    return build_model(
        work.config.model,
        work.config.train,
        work.family.observation_space,
        int(work.family.action_space.n),
        generator=torch_generator(seed, "model"),
    )


def last_checkpoint(work: Work, seed: int, method: str) -> Checkpoint | None:
    """The newest sound checkpoint of a training; none where there is none."""
    folder = work.folder.checkpoints(seed, method)
    return checkpoint.latest(folder, identity=identity(work.config, method=method, seed=seed))


def sampler(work: Work, seed: int, method: str) -> WindowSampler:
    """The rows that a method is trained on.

    Raises:
        HistoryError: histories are missing or damaged.
        TrainingError: none of them can be learnt from in this way.
    """
    config, folder = work.config, work.folder.histories(seed)
    store = HistoryStore.open(
        folder,
        env=work.family.name,
        env_version=work.family.version,
        verify=seed not in work.verified,
    )
    work.verified.add(seed)
    if store.damaged:
        # Training on what is left would quietly be another experiment.
        raise HistoryError(
            f"{folder}: {store.damaged[0]}. This makes it again: adbench collect {config.env} "
            f"--config {work.folder.path / CONFIG} --out {work.folder.path}"
        )
    if seed not in work.compared:
        compare_frames(work, store)
        work.compared.add(seed)
    expert = method == "ed"
    return WindowSampler(
        store,
        row_steps=config.train.row_steps,
        seed=seed,
        label=method,
        subsample=1 if expert else config.train.subsample,
        episodes="expert" if expert else "learning",
        learning_episodes=config.collect.episodes,
        expert_episodes=config.collect.expert_episodes,
        expert_share=config.collect.expert_share,
        optimal=work.family.optimal_return(store.tasks) if expert else None,
        shuffle_episodes=method == "ad-shuffled",
        kept_actors=config.source.kept_actors,
    )


def compare_frames(work: Work, store: HistoryStore) -> None:
    """Tell of histories that look otherwise now than when they were collected.

    Where they hold states, training and evaluation see the same new look, and it is a warning.
    Stored frames would be trained on and others evaluated on.

    Raises:
        HistoryError: such histories hold frames.
    """
    config, family = work.config, work.family

    def sized(drawn: Renderer) -> TaskFamily:
        size = {"height": drawn.height, "width": drawn.width, "samples": drawn.samples}
        known = {name: value for name, value in size.items() if name in family.frame_settings}
        told = {**config.env_settings, **known}
        return family if told == config.env_settings else plugins.family(config.env, told)

    if family.renderer is None:
        return
    told = [str(drift) for drift in drifts(store, device=torch.device(config.device), sized=sized)]
    if not told:
        return
    what = (
        f"{store.folder}: {family.name} (world version {family.world_version}, drawn by "
        f"{family.renderer}) does not look as it did when these histories were collected. "
        f"{'; '.join(told)}."
    )
    if "frame" in store.fields:
        raise HistoryError(
            f"{what} They hold frames of the old look, and evaluation would show the new one. "
            "Collect them again, or use the version of adbench that they were collected with."
        )
    warnings.warn(
        f"{what} They hold states, so what is trained on is drawn anew, in the new look.",
        RuntimeWarning,
        stacklevel=2,
    )


def validation_score(work: Work, seed: int, model: DistillationModel) -> float:
    """Mean return of a model on the validation tasks: what checkpoints are chosen by."""
    config = work.config
    tasks = work.family.tasks("validation", config.tasks.validation, seed=config.tasks.split_seed)
    played = rollout(
        policy_of(model),
        work.family,
        tasks,
        lanes_per_task=config.evaluate.lanes_per_task,
        episodes=config.evaluate.episodes,
        seed=seed,
        stage="validate",
        device=config.device,
        action=config.evaluate.action,
    )
    return float(played.curve().mean())


def require(work: Work, seed: int, method: str) -> None:
    """Refuse a training that the machine has no room for, before a model of that size is made."""
    config, model = work.config.train, work.config.model
    width, layers = model.width, model.layers
    # Attention and feed-forward network of every block; what embeds a token is small beside them.
    weights = layers * width * (4 * width + 2 * model.feedforward)
    if model.positions == "learned":
        weights += config.window_steps * TOKENS_PER_STEP[model.layout] * width
    tokens = config.batch_sequences * config.row_steps
    encoder = encoder_of(model, work.family.observation_space)
    per_token = 4 * (layers * (12 * width + 3 * model.feedforward) + encoder.kept_floats)
    per_token += observation_bytes(work)
    resources.require(
        f"train {method}, seed {seed}",
        work.folder.path,
        # Weights and AdamW's two moments, in float32.
        disk_bytes=_CHECKPOINTS_AT_ONCE * 3 * 4 * weights,
        # On a GPU the activations lie in its own memory, which torch reports itself.
        memory_bytes=4 * 4 * weights + (tokens * per_token if on_cpu(work) else 0),
    )


def observation_bytes(work: Work) -> int:
    """Memory that one observation takes, as a model is given it."""
    return sum(
        torch_dtype(space).itemsize * math.prod(space.shape or ())
        for space in parts(work.family.observation_space).values()
    )


def on_cpu(work: Work) -> bool:
    """Whether the run trains and evaluates in the machine's own memory."""
    return torch.device(work.config.device).type == "cpu"
