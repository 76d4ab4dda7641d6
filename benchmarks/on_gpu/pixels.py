"""The pixels section: from stored poses to an update, stage by stage and as a whole.

The water maze's `gpu` preset on a few of its goals: rows of 2,048 tokens, stored as poses.
"sample" gathers a batch from the files, "draw" moves its poses to the card and renders them,
"encode" is the encoder there and back, "update" all of an update on frames that are there, "whole"
all of it, as training does it. What "update" takes beyond "encode" is the transformer.

B rows, L tokens a row, V frames.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from benchmarks.on_gpu import gradients, models, plain, render, source_tree
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work
from benchmarks.on_gpu.exact import errors
from benchmarks.on_gpu.train import updates

if TYPE_CHECKING:
    from adbench.config import RunConfig
    from adbench.history.frames import RowFrames
    from adbench.history.sampler import WindowSampler
    from adbench.model import DistillationModel
    from adbench.tokens import Tokens
    from adbench_envs.worlds.family import WorldFamily

ABOUT = "the way of a frame: sampled, drawn, encoded, trained on"

SIZES = ((64, 64), (72, 96))
STAGES = ("whole", "sample", "draw", "encode", "update")
ROWS, GOALS, SMOKE_ROWS, SMOKE_GOALS = 32, 64, 2, 9
ASKED, SMOKE_ASKED = 256, 4
CHECKED = 256
"""Frames of the encoder's check."""


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Two frame sizes, five stages.

    Args:
        smoke: tiny ones.
        on_gpu: unused; everything takes what is best where it is.
    """
    found = []
    for height, width in ((16, 24),) if smoke else SIZES:
        for stage in STAGES:
            key: dict[str, str | int] = {
                "op": "pixels", "stage": stage, "frame": f"{height}x{width}",
                "implementation": "adbench",
            }  # fmt: skip
            found.append(Case(key, partial(prepare, size=(height, width), stage=stage), "pipeline"))
    return found


class Scene(NamedTuple):
    """Histories, and a batch of them as far as each stage takes it.

    Attributes:
        folder: of the histories; it goes with the scene.
        run: the configuration.
        family: what draws.
        rows: where batches come from.
        draw: from a batch with poses to one with frames.
        poses: a batch on the CPU.
        tokens: the same with frames, on the card.
        real: V, tokens that are real.
    """

    folder: tempfile.TemporaryDirectory[str]
    run: RunConfig
    family: WorldFamily
    rows: WindowSampler
    draw: RowFrames
    poses: Tokens
    tokens: Tokens
    real: int


def prepare(card: Card, size: tuple[int, int], stage: str) -> Work:
    """A stage, ready to be timed.

    Args:
        card: on which.
        size: of a frame: rows, columns.
        stage: one of `STAGES`.

    Raises:
        UnsupportedError: a package is missing.
    """
    models.require()
    scene = _scene(card, size)
    make = {"sample": _sample, "draw": _draw, "encode": _encode}.get(stage)
    call, check, flops = make(card, scene) if make else _update(card, scene, stage)
    return Work(
        [call], check, flops=flops, frames=float(scene.real),
        tokens=float(scene.real) if stage in ("update", "whole") else 0.0,
        memory=None if stage == "sample" else call, capture=False,
    )  # fmt: skip


Stage = tuple[Callable[[], object], Callable[[], Mapping[str, float]], float]


@lru_cache(maxsize=1)
def _scene(card: Card, size: tuple[int, int]) -> Scene:
    source_tree.register()
    from adbench import plugins
    from adbench.collect import collect
    from adbench.history.frames import RowFrames
    from adbench.history.reader import HistoryStore
    from adbench.history.sampler import WindowSampler

    run = _run(card, size)
    family = cast("WorldFamily", plugins.family_of(run))
    folder = tempfile.TemporaryDirectory(prefix="bench-gpu-")
    collect(run, seed=0, folder=Path(folder.name))
    store = HistoryStore.open(Path(folder.name))
    rows = WindowSampler(store, row_steps=run.train.row_steps, seed=0, label="bench")
    draw = RowFrames(family, store.tasks)
    poses = rows.batch(run.train.batch_sequences)
    tokens = draw(poses, card.device)
    return Scene(folder, run, family, rows, draw, poses, tokens, int(poses.valid.sum()))


def _run(card: Card, size: tuple[int, int]) -> RunConfig:
    """The preset, on few goals and with nothing random in training, so that it can be checked."""
    from adbench import plugins

    height, width = size
    preset = plugins.preset("watermaze", "gpu").with_(
        env_settings={"height": height, "width": width}, device="cpu"
    )
    tasks = preset.tasks.with_(train=SMOKE_GOALS if card.smoke else GOALS)
    if not card.smoke:
        train = preset.train.with_(token_mask=0.0, batch_sequences=ROWS)
        return preset.with_(tasks=tasks, train=train)
    return preset.with_(
        tasks=tasks,
        collect=preset.collect.with_(episodes=4, expert_episodes=1, max_episodes=8, shards=8),
        model=models.config(models.SMOKE["quick"]),
        train=preset.train.with_(token_mask=0.0, batch_sequences=SMOKE_ROWS, window_steps=8),
    )


def _sample(card: Card, scene: Scene) -> Stage:
    def call() -> object:
        return scene.rows.batch(scene.run.train.batch_sequences)

    def check() -> Mapping[str, float]:
        _must_be_drawn_alike(card, scene)
        return {}

    return call, check, 0.0


def _draw(card: Card, scene: Scene) -> Stage:
    return (
        lambda: scene.draw(scene.poses, card.device),
        lambda: _must_be_drawn_alike(card, scene),
        0.0,
    )


def _must_be_drawn_alike(card: Card, scene: Scene) -> Mapping[str, float]:
    """Hold the first and last frames of the batch to the definition's of their poses."""
    from adbench_envs.worlds.scene import scene as scene_of
    from adbench_kernels import raycast

    states, real = scene.poses.observation, scene.poses.valid
    assert isinstance(states, dict) and isinstance(scene.tokens.observation, Tensor)
    pose = states["pose"][real].double()
    half = render.CHECKED // 2
    some = torch.cat((pose[:half], pose[-half:])).to(card.device)
    x, z, yaw = some.unbind(1)
    eye = torch.full_like(x, scene.family.worlds[0].camera.height)
    height, width = scene.family.frame
    exact = raycast(
        scene_of(scene.family.worlds, card.device), torch.stack((x, eye, z, yaw), 1),
        height=height, width=width, samples=scene.family.samples, implementation="reference",
    )  # fmt: skip
    drawn = scene.tokens.observation[real.to(card.device)]
    return render.alike(torch.cat((drawn[:half], drawn[-half:])), exact)


def _encode(card: Card, scene: Scene) -> Stage:
    model, autocast = _model(card, scene), _autocast(card)
    frames = scene.tokens.observation
    assert isinstance(frames, Tensor)
    frames = frames.flatten(0, 1)[scene.tokens.valid.flatten()]
    encoder = model.embed.observation

    def call() -> None:
        encoder.zero_grad()
        with torch.autocast(card.device.type, autocast, enabled=autocast is not None):
            encoded = encoder(frames)
        encoded.sum().backward()

    @torch.no_grad()
    def check() -> Mapping[str, float]:
        some = frames[-CHECKED:]
        exact = plain.frames(copy.deepcopy(encoder).double(), some)
        with torch.autocast(card.device.type, autocast, enabled=autocast is not None):
            found, twin = encoder(some), plain.frames(encoder, some)
        return errors([found], [exact], [twin], ("encoded frames",))

    return call, check, 3.0 * encoder.flops * scene.real


def _update(card: Card, scene: Scene, stage: str) -> Stage:
    from adbench.model import training_flops

    run, autocast = scene.run, _autocast(card)
    model = _model(card, scene)
    update, ask = updates(model, run.train, how="eager", autocast=autocast)

    def whole() -> object:
        poses = scene.rows.batch(run.train.batch_sequences)
        return update(scene.draw(poses, card.device))

    def check() -> Mapping[str, float]:
        alike = _must_be_drawn_alike(card, scene)
        reach = run.model.layers * (run.train.window_steps - 1) + 1
        few = SMOKE_ASKED if card.smoke else ASKED
        asked = gradients.question(scene.tokens, reach=reach, asked=few)
        ask(asked.tokens)
        found = gradients.check(
            model, lambda m, t: plain.forward(cast("DistillationModel", m), t), asked, autocast
        )
        gradients.must_fall([float(update(scene.tokens)) for _ in range(3)])
        return {**alike, **found}

    space, actions = scene.family.observation_space, int(scene.family.action_space.n)
    flops = training_flops(run.model, run.train, actions, space) * scene.real
    return whole if stage == "whole" else partial(update, scene.tokens), check, flops


def _model(card: Card, scene: Scene) -> DistillationModel:
    space, actions = scene.family.observation_space, int(scene.family.action_space.n)
    return models.build(card, scene.run.model, scene.run.train, space, actions)


def _autocast(card: Card) -> torch.dtype | None:
    return torch.bfloat16 if card.on_gpu else None
