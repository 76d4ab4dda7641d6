"""What an update of training costs: our transformer, and PyTorch's own encoder of the same size.

    pytest benchmarks/bench_train.py

The quick model (width 64, 4 layers, 4 heads, feed-forward 256); an update is forward, backward,
clipping and AdamW, by the same code for both. The peer is `nn.TransformerEncoder(norm_first,
dropout 0, GELU)` under a causal mask, with the same embeddings and head; it knows no bands. Before
anything is timed, our predictions are held to those of the same weights in float64, both losses to
that of guessing, and an update must descend.

Over context, an update has 8,192 tokens on a CPU in float32 and 65,536 on a GPU in bfloat16, in
rows of the length on the axis: ours with a window of 64 tokens, as it acts, and, like the peer,
with all of the row in view. Compiling takes a minute each, and a C++ compiler: `--full`.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from adbench.allocator import keep_freed_memory
from adbench.config import ModelConfig, TrainConfig
from adbench.model import DistillationModel, build_model, training_flops
from adbench.noise import torch_generator
from adbench.tokens import NO_ACTION, TRUNCATED, Tokens
from adbench.train.optimise import apply_gradients, make_optimizer, set_gradients
from benchmarks.meter import Meter, scales

ROWS, ACTIONS, EPISODE = 32, 5, 20
GRID = spaces.MultiDiscrete([9, 9])
MODEL, QUICK = ModelConfig(), TrainConfig(window_steps=420)
TOKENS = {"cpu": 8192, "cuda": 65_536}
WINDOW = 64
CHECKED = 256
"""First tokens of a row that are held to float64: what comes later does not reach them."""
ERROR = {"float32": 1e-4, "bfloat16": 0.05}
OURS, PEER = "adbench", "nn.TransformerEncoder"

pytestmark = pytest.mark.benchmark(group="training")


class Peer(nn.Module):
    """PyTorch's encoder between our embeddings and a head."""

    def __init__(self, ours: DistillationModel, length: int) -> None:
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
        self.positions = nn.Parameter(torch.zeros(length, MODEL.width))
        self.head = nn.Linear(MODEL.width, ACTIONS)
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tokens) -> Tensor:
        x = self.embed(tokens, tokens.valid).x + self.positions
        mask = cast(Tensor, self.mask)
        return cast(Tensor, self.head(self.encoder(x, mask=mask, is_causal=True)))


def tokens_of(rows: int, length: int) -> Tokens:
    """Random walks in episodes of 20 steps."""
    drawn = torch.Generator().manual_seed(0)
    shape = (rows, length)
    at = (torch.arange(length) % (EPISODE + 1)).expand(shape)
    previous = torch.randint(ACTIONS, shape, generator=drawn).masked_fill(at == 0, NO_ACTION)
    return Tokens(
        observation=torch.randint(9, (*shape, 2), generator=drawn),
        previous_action=previous,
        previous_reward=torch.randint(2, shape, generator=drawn).float().masked_fill(at == 0, 0.0),
        ending=((at == EPISODE) * TRUNCATED).to(torch.uint8),
        action=torch.randint(ACTIONS, shape, generator=drawn).masked_fill(at == EPISODE, NO_ACTION),
        valid=torch.ones(shape, dtype=torch.bool),
    )


def check_predictions(model: DistillationModel, tokens: Tokens, precision: str) -> None:
    """Hold the first tokens of one row to the same weights in float64."""
    one = tokens.map(lambda x: x[:1])
    start = one.map(lambda x: x[:, :CHECKED])
    device = tokens.valid.device.type
    with torch.no_grad():
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            found = model(one)[:, :CHECKED]
        exact = copy.deepcopy(model).double()(start)
    error = float((found - exact).abs().max() / exact.abs().max())
    assert error < ERROR[precision], f"predictions are off by {error:.1g}: not timed"


def time_update(
    meter: Meter, train: TrainConfig, *, rows: int, peer: bool, compiled: bool = False
) -> None:
    """Time updates of our model, or of the peer that sees whole rows."""
    length = train.row_steps
    tokens = tokens_of(rows, length).to(meter.device)
    generator = torch_generator("bench")
    ours = build_model(MODEL, train, GRID, ACTIONS, generator=generator).to(meter.device)
    precision = precision_of(meter)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = Peer(ours, length).to(meter.device) if peer else ours
    forward = torch.compile(model, dynamic=False) if compiled else model
    optimizer = make_optimizer(model, train)
    autocast = torch.bfloat16 if precision == "bfloat16" else None
    keep_freed_memory()  # as `train` does; it serves both

    def update() -> Tensor:
        losses = set_gradients(forward, optimizer, tokens, label_smoothing=0.0, autocast=autocast)
        apply_gradients(optimizer, rate=1e-3, clip=1.0)
        return losses.imitation

    def check() -> None:
        if not peer:
            check_predictions(ours, tokens, precision)
        first, chance = float(update()), math.log(ACTIONS)
        assert abs(first - chance) < 0.5 * chance, f"the first loss is {first:.2f}: not timed"
        assert float(update()) < first, "the update does not descend: not timed"

    flops = training_flops(MODEL, train, ACTIONS) * math.prod(tokens.shape)
    meter.time(update, check=check, items=rows, tokens=math.prod(tokens.shape), flops=flops)


def precision_of(meter: Meter) -> str:
    return "bfloat16" if meter.device == "cuda" else "float32"


@pytest.mark.parametrize("how", ["eager", pytest.param("compiled", marks=pytest.mark.full)])
@pytest.mark.parametrize("who", ["ours", "peer"])
def test_update_of_the_quick_model(meter: Meter, who: str, how: str) -> None:
    name = (OURS if who == "ours" else PEER) + (", compiled" if how == "compiled" else "")
    meter.about("an update of the quick model, 32 rows of 840 tokens", name, ours=who == "ours",
                precision=precision_of(meter))  # fmt: skip
    train = TrainConfig(window_steps=20) if meter.tiny else QUICK
    rows = 2 if meter.tiny else ROWS
    time_update(meter, train, rows=rows, peer=who == "peer", compiled=how == "compiled")


def rows_of(meter: Meter, length: int) -> int:
    return 2 if meter.tiny else max(1, TOKENS[meter.device] // length)


CASE = "an update over context"


@scales("length", 128, 512, 2048, 8192, full=(32_768, 65_536), gpu=(1024, 4096, 16_384, 65_536))
def test_update_with_a_window(meter: Meter, length: int) -> None:
    meter.about(CASE, f"{OURS}, window of {WINDOW}", ours=True, precision=precision_of(meter),
                context=length)  # fmt: skip
    train = TrainConfig(window_steps=WINDOW, sequence_steps=length)
    time_update(meter, train, rows=rows_of(meter, length), peer=False)


@pytest.mark.parametrize("who", ["ours", "peer"])
@scales("length", 128, 512, 2048, full=(8192, 32_768), gpu=(1024, 4096, 16_384, 65_536))
def test_update_that_sees_whole_rows(meter: Meter, who: str, length: int) -> None:
    name = f"{OURS}, whole rows" if who == "ours" else PEER
    meter.about(CASE, name, ours=who == "ours", precision=precision_of(meter),
                context=length)  # fmt: skip
    if who == "peer":
        meter.needs(2 * 4.0 * length**2)  # its mask, and the copy that attention makes of it
    train = TrainConfig(context="exact", window_steps=length)
    time_update(meter, train, rows=rows_of(meter, length), peer=who == "peer")
