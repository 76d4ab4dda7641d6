"""What an update of training costs: our transformer, and PyTorch's own encoder of the same size.

    pytest benchmarks/bench_train.py
    pytest benchmarks/bench_train.py -k eager        # without a C++ compiler

The quick model (width 64, 4 layers, 4 heads, feed-forward 256) on 32 rows of 840 tokens, float32;
an update is forward, backward, clipping and AdamW, by the same code for both. The peer is
`nn.TransformerEncoder(norm_first, dropout 0, GELU)` under a causal mask, with the same embeddings
and head. Ours attends in a band of 420 tokens, as it will act; the peer knows no bands. Before
anything is timed, our predictions are held to those of the same weights in float64 through plain
torch, and both losses to that of guessing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import cast

import pytest
import torch
from gymnasium import spaces
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from adbench.allocator import keep_freed_memory
from adbench.config import ModelConfig, TrainConfig
from adbench.model import DistillationModel, build_model, training_flops
from adbench.noise import torch_generator
from adbench.tokens import NO_ACTION, TRUNCATED, Tokens
from adbench.train.optimise import apply_gradients, make_optimizer, set_gradients

ROWS, ACTIONS, EPISODE = 32, 5, 20
GRID = spaces.MultiDiscrete([9, 9])
MODEL, TRAIN = ModelConfig(), TrainConfig(window_steps=420)
FLOAT32_ERROR = 1e-4


class Peer(nn.Module):
    """PyTorch's encoder between our embeddings and a head."""

    def __init__(self, ours: DistillationModel) -> None:
        super().__init__()
        self.embed = copy.deepcopy(ours.embed)
        layer = nn.TransformerEncoderLayer(
            MODEL.width,
            MODEL.heads,
            MODEL.feedforward,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(MODEL.width)
        self.encoder = nn.TransformerEncoder(layer, MODEL.layers, norm, enable_nested_tensor=False)
        self.positions = nn.Parameter(torch.zeros(TRAIN.row_steps, MODEL.width))
        self.head = nn.Linear(MODEL.width, ACTIONS)
        mask = nn.Transformer.generate_square_subsequent_mask(TRAIN.row_steps)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tokens) -> Tensor:
        x = self.embed(tokens, tokens.valid).x + self.positions
        mask = cast(Tensor, self.mask)
        return cast(Tensor, self.head(self.encoder(x, mask=mask, is_causal=True)))


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    drawn = torch.Generator().manual_seed(0)
    shape = (ROWS, TRAIN.row_steps)
    at = (torch.arange(shape[1]) % (EPISODE + 1)).expand(shape)
    previous = torch.randint(ACTIONS, shape, generator=drawn).masked_fill(at == 0, NO_ACTION)
    return Tokens(
        observation=torch.randint(9, (*shape, 2), generator=drawn),
        previous_action=previous,
        previous_reward=torch.randint(2, shape, generator=drawn).float().masked_fill(at == 0, 0.0),
        ending=((at == EPISODE) * TRUNCATED).to(torch.uint8),
        action=torch.randint(ACTIONS, shape, generator=drawn).masked_fill(at == EPISODE, NO_ACTION),
        valid=torch.ones(shape, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def ours(tokens: Tokens) -> DistillationModel:
    model = build_model(MODEL, TRAIN, GRID, ACTIONS, generator=torch_generator("bench"))
    with torch.no_grad():
        two = tokens.map(lambda x: x[:2])
        found, exact = model(two), copy.deepcopy(model).double()(two)
        error = float((found - exact).abs().max() / exact.abs().max())
    assert error < FLOAT32_ERROR, f"predictions are off by {error:.1g}: do not time them"
    return model


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("who", ["ours", "peer"])
def test_update_of_the_quick_model(
    synchronised: BenchmarkFixture,
    tell: Callable[..., None],
    tokens: Tokens,
    ours: DistillationModel,
    who: str,
    how: str,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = copy.deepcopy(ours) if who == "ours" else Peer(ours)
    forward = torch.compile(model, dynamic=False) if how == "compiled" else model
    optimizer = make_optimizer(model, TRAIN)
    keep_freed_memory()  # as `train` does; it serves both

    def update() -> Tensor:
        losses = set_gradients(forward, optimizer, tokens, label_smoothing=0.0)
        apply_gradients(optimizer, rate=1e-3, clip=1.0)
        return losses.imitation

    first, chance = float(update()), math.log(ACTIONS)
    assert abs(first - chance) < 0.5 * chance, f"the first loss is {first:.2f}: do not time it"
    assert float(update()) < first, "the update does not descend: do not time it"
    synchronised.pedantic(update, rounds=7, warmup_rounds=1)  # type: ignore[no-untyped-call]
    facts: dict[str, object] = {"rows": ROWS, "row_tokens": TRAIN.row_steps}
    if who == "ours":
        count = math.prod(tokens.shape)
        facts["gflop"] = round(training_flops(MODEL, TRAIN, ACTIONS) * count / 1e9, 1)
    tell(math.prod(tokens.shape), "tokens", **facts)
