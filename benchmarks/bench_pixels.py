"""What a training token costs that holds a frame: drawing it, encoding it, attending to it.

    pytest benchmarks/bench_pixels.py

One stage of the pipeline beside the next, where `bench_render` and `bench_train` have each over
its sizes. Rows of `watermaze-small.quick`: 8 of 400 tokens, frames of 32 x 32, drawn from the poses
that its histories hold. `draw` gathers a batch and draws it, `encode` is the encoder forward and
backward, `update` all of an update but the drawing; what `update` takes beyond `encode` is
attention and the rest of the transformer. Microseconds a frame are those that the preset's
docstring states.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adbench import plugins
from adbench.allocator import keep_freed_memory
from adbench.collect import collect
from adbench.config import RunConfig
from adbench.history.frames import RowFrames
from adbench.history.reader import HistoryStore
from adbench.history.sampler import WindowSampler
from adbench.model import build_model
from adbench.model.encoders import Images
from adbench.noise import torch_generator
from adbench.train.optimise import apply_gradients, make_optimizer, set_gradients
from benchmarks.meter import Meter

PAPER_ROWS = 1
"""The paper's encoder costs so much more that fewer rows are enough to time it."""
FLOAT32_ERROR = 1e-4
CHECKED = 16
"""Frames whose codes are made alone, too."""

pytestmark = pytest.mark.benchmark(group="pixels")


@pytest.fixture(scope="module")
def run(tiny: bool) -> RunConfig:
    quick = plugins.preset("watermaze-small", "quick")
    found = quick.with_(tasks=quick.tasks.with_(train=32), device="cpu")
    if not tiny:
        return found
    return found.with_(
        tasks=quick.tasks.with_(train=4),
        train=quick.train.with_(batch_sequences=1),
        collect=quick.collect.with_(
            learners_per_task=1, episodes=20, expert_episodes=0, max_episodes=20
        ),
    )


@pytest.fixture(scope="module")
def rows(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> WindowSampler:
    folder: Path = tmp_path_factory.mktemp("poses")
    collect(run, seed=0, folder=folder)
    store = HistoryStore.open(folder)
    return WindowSampler(store, row_steps=run.train.row_steps, seed=0, label="bench")


@pytest.mark.parametrize(
    ("what", "images"),
    [
        ("draw", "patch"),
        ("encode", "patch"),
        ("encode", "paper"),
        ("update", "patch"),
        ("update", "paper"),
    ],
)
def test_a_frame(
    meter: Meter, run: RunConfig, rows: WindowSampler, what: str, images: Images
) -> None:
    case = {"draw": "drawing a batch", "encode": "encoding it, forward and backward",
            "update": "an update"}[what]  # fmt: skip
    who = f"adbench, encoder {images}" if what != "draw" else "adbench"
    meter.about(f"watermaze-small: {case}", who, ours=images == "patch")
    device = torch.device(meter.device)
    config = run.with_(model=run.model.with_(encoder=images))
    family = plugins.family_of(config)
    draw = RowFrames(family, rows.store.tasks)
    batch = rows.batch(config.train.batch_sequences if images == "patch" else PAPER_ROWS)
    tokens = draw(batch, device)
    frames = int(tokens.valid.sum())
    with torch.random.fork_rng():
        model = build_model(
            config.model,
            config.train,
            family.observation_space,
            int(family.action_space.n),
            generator=torch_generator("bench"),
        ).to(device)
    optimizer = make_optimizer(model, config.train)
    assert isinstance(tokens.observation, Tensor)
    seen = tokens.observation[tokens.valid]
    keep_freed_memory()

    def encode() -> None:
        optimizer.zero_grad()
        model.embed.observation(seen).sum().backward()

    def update() -> None:
        set_gradients(model, optimizer, tokens, label_smoothing=0.0)
        apply_gradients(optimizer, rate=1e-4, clip=1.0)

    def loss() -> float:
        model.eval()  # the paper's encoder drops codes while it learns
        found = float(set_gradients(model, optimizer, tokens, label_smoothing=0.0).imitation)
        model.train()
        return found

    def check_encoding() -> None:
        few = seen[:CHECKED]
        model.eval()
        with torch.no_grad():
            alone = model.embed.observation(few)
            among = model.embed.observation(seen)[: len(few)]
        model.train()
        error = float((alone - among).abs().max() / alone.abs().max())
        assert error < FLOAT32_ERROR, (
            f"a frame's code is off by {error:.1g} among others: not timed"
        )

    def check_update() -> None:
        before = loss()
        update()
        assert loss() < before, "the update does not descend: not timed"

    def check_drawing() -> None:
        again = draw(batch, device).observation
        assert isinstance(again, Tensor) and isinstance(tokens.observation, Tensor)
        assert torch.equal(again, tokens.observation), "drawn anew it is another picture: not timed"

    todo: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "draw": (lambda: draw(rows.batch(config.train.batch_sequences), device), check_drawing),
        "encode": (encode, check_encoding),
        "update": (update, check_update),
    }
    call, check = todo[what]
    meter.time(call, check=check, frames=frames)
    if meter.benchmark.stats is not None:
        median = meter.benchmark.stats.stats.median
        meter.tell(microseconds_a_frame=round(1e6 * median / frames, 1))
