"""What a training token costs that holds a frame: drawing it, encoding it, attending to it.

    pytest benchmarks/bench_pixels.py

Rows of `watermaze-small.quick`: 8 of 400 tokens, frames of 32 x 32, drawn from the poses that its
histories hold. `draw` gathers a batch and draws it, `encode` is the encoder forward and backward,
`update` all of an update but the drawing; what `update` takes beyond `encode` is attention and the
rest of the transformer. Microseconds a frame are those that the preset's docstring states.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
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

CPU = torch.device("cpu")
PAPER_ROWS = 1
"""The paper's encoder costs so much more that fewer rows are enough to time it."""


@pytest.fixture(scope="module")
def run() -> RunConfig:
    quick = plugins.preset("watermaze-small", "quick")
    return quick.with_(tasks=quick.tasks.with_(train=32), device="cpu")


@pytest.fixture(scope="module")
def rows(run: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> WindowSampler:
    folder: Path = tmp_path_factory.mktemp("poses")
    collect(run, seed=0, folder=folder)
    store = HistoryStore.open(folder)
    return WindowSampler(store, row_steps=run.train.row_steps, seed=0, label="bench")


@pytest.mark.parametrize("images", ["patch", "paper"])
@pytest.mark.parametrize("what", ["draw", "encode", "update"])
def test_a_frame(
    synchronised: BenchmarkFixture,
    tell: Callable[..., None],
    run: RunConfig,
    rows: WindowSampler,
    what: str,
    images: Images,
) -> None:
    if what == "draw" and images == "paper":
        pytest.skip("a frame is drawn the same for either encoder")
    config = run.with_(model=run.model.with_(encoder=images))
    family = plugins.family_of(config)
    draw = RowFrames(family, rows.store.tasks)
    batch = rows.batch(config.train.batch_sequences if images == "patch" else PAPER_ROWS)
    tokens = draw(batch, CPU)
    frames = int(tokens.valid.sum())
    with torch.random.fork_rng():
        model = build_model(
            config.model,
            config.train,
            family.observation_space,
            int(family.action_space.n),
            generator=torch_generator("bench"),
        )
    optimizer = make_optimizer(model, config.train)
    seen = tokens.observation
    assert isinstance(seen, Tensor)
    seen = seen[tokens.valid]
    keep_freed_memory()

    def encode() -> None:
        optimizer.zero_grad()
        model.embed.observation(seen).sum().backward()

    def update() -> None:
        set_gradients(model, optimizer, tokens, label_smoothing=0.0)
        apply_gradients(optimizer, rate=1e-4, clip=1.0)

    todo: dict[str, Callable[[], object]] = {
        "draw": lambda: draw(rows.batch(config.train.batch_sequences), CPU),
        "encode": encode,
        "update": update,
    }
    synchronised.pedantic(todo[what], rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert synchronised.stats is not None
    median = synchronised.stats.stats.median
    tell(frames, "frames", microseconds_a_frame=round(1e6 * median / frames, 1))
