"""The train section: whole updates of the suite's own model, at equal tokens, over row lengths.

An update is forward, backward, clipping and AdamW, by the code that trains (`adbench.train`), in
bfloat16 as on any GPU. It has 131,072 tokens whatever the length of its rows. With the window
fixed at 512 a row of T tokens must cost as T does; with window = context (the paper) attention
grows as T squared. The peer is `nn.TransformerEncoder`, which knows no windows. Before a case is
timed its gradients are held to those of plain attention in float64, and its loss must fall.

B rows, L tokens a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from benchmarks.on_gpu import gradients, models, plain
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work

if TYPE_CHECKING:
    from adbench.config import TrainConfig
    from adbench.model import DistillationModel
    from adbench.tokens import Tokens

ABOUT = "updates at equal tokens, rows of 1k to 64k tokens, beside nn.TransformerEncoder"

TOKENS, WINDOW = 131_072, 512
LENGTHS = (4096, 1024, 16_384, 65_536)
FEW_LENGTHS = (4096, 65_536)
"""Each compiled case is half a minute of compiling."""
SMOKE_TOKENS, SMOKE_WINDOW, SMOKE_LENGTHS = 96, 20, (48,)
ASKED, SMOKE_ASKED = 512, 8
"""Tokens of the check that ask for an action."""
RATE = 1e-4
SETS = 2
"""Batches that take turns; what an update moves is many times what a cache holds."""


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Every case, the most telling first; compiled ones last, since they take longest.

    Args:
        smoke: a few tiny ones, none compiled.
        on_gpu: unused; the model takes what is best where it is.
    """
    found = []
    for size in models.SIZES:
        for length in SMOKE_LENGTHS if smoke else LENGTHS:
            window = SMOKE_WINDOW if smoke else WINDOW
            found += [
                _case(size, window, length, "adbench", "eager"),
                _case(size, "context", length, "adbench", "eager"),
                _case(size, "context", length, "encoder", "eager"),
            ]
    if smoke:
        return found
    found += [_case("quick", WINDOW, length, "adbench", "compiled") for length in LENGTHS]
    for length in FEW_LENGTHS:
        found += [
            _case("quick", "context", length, "adbench", "compiled"),
            _case("quick", "context", length, "encoder", "compiled"),
            _case("paper", WINDOW, length, "adbench", "compiled"),
        ]
    return found


def _case(size: str, window: int | str, length: int, who: str, how: str) -> Case:
    key: dict[str, str | int] = {
        "op": "train", "model": size, "window": window, "T": length, "how": how,
        "implementation": who,
    }  # fmt: skip
    ready = partial(prepare, size=size, window=window, length=length, who=who, how=how)
    return Case(key, ready, "model" if who == "adbench" else "")


def prepare(card: Card, size: str, window: int | str, length: int, who: str, how: str) -> Work:
    """Updates, ready to be taken.

    Args:
        card: on which.
        size: one of `models.SIZES`.
        window: W, or "context": as long as a row.
        length: L.
        who: "adbench" or "encoder".
        how: "eager" or "compiled".

    Raises:
        UnsupportedError: a package is missing.
    """
    models.require()
    from adbench.model import training_flops

    sizes = (models.SMOKE if card.smoke else models.SIZES)[size]
    rows = max(1, (SMOKE_TOKENS if card.smoke else TOKENS) // length)
    config, training = models.config(sizes), _training(window, length)
    ours = models.build(card, config, training)
    model, twin = _who(ours, who, length)
    sets = [models.tokens(card, rows, length, seed=seed) for seed in range(SETS)]
    autocast = torch.bfloat16 if card.on_gpu else None
    update, ask = updates(model, training, how=how, autocast=autocast)

    def check() -> Mapping[str, float]:
        reach = None if window == "context" else sizes.layers * (training.window_steps - 1) + 1
        few = SMOKE_ASKED if card.smoke else ASKED
        asked = gradients.question(sets[0], reach=reach, asked=few)
        ask(asked.tokens)
        found = gradients.check(model, twin, asked, autocast)
        gradients.must_fall([float(update(sets[0])) for _ in range(3)])
        return found

    calls = [partial(update, batch) for batch in sets]
    count = float(rows * length)
    return Work(
        calls, check, flops=count * training_flops(config, training, models.ACTIONS),
        tokens=count, memory=calls[0], capture=False,
    )  # fmt: skip


def _training(window: int | str, length: int) -> TrainConfig:
    from adbench.config import TrainConfig

    if window == "context":
        return TrainConfig(context="exact", window_steps=length, learning_rate=RATE)
    return TrainConfig(window_steps=int(window), sequence_steps=length, learning_rate=RATE)


def _who(ours: DistillationModel, who: str, length: int) -> tuple[nn.Module, gradients.Forward]:
    """What is trained, and its plain twin."""
    if who == "adbench":
        return ours, lambda model, tokens: plain.forward(cast("DistillationModel", model), tokens)
    from benchmarks.on_gpu import encoder

    with models.seeded():
        return encoder.EncoderPeer(ours, length), encoder.forward


def updates(
    model: nn.Module, training: TrainConfig, *, how: str, autocast: torch.dtype | None
) -> tuple[Callable[[Tokens], Tensor], Callable[[Tokens], None]]:
    """A function that takes an update and gives its loss, and one that leaves only its gradients.

    Args:
        model: what is trained.
        training: whose optimiser.
        how: "eager" or "compiled".
        autocast: of the forward pass; none: nothing is cast.
    """
    from adbench.allocator import keep_freed_memory
    from adbench.train.optimise import apply_gradients, make_optimizer, set_gradients

    forward: Callable[..., Tensor] = model
    if how == "compiled":
        # What was compiled for other models and lengths counts towards a limit, and beyond it the
        # model would be run as it is, without a word.
        torch._dynamo.reset()
        forward = torch.compile(model, dynamic=False)
    optimizer = make_optimizer(model, training)
    keep_freed_memory()  # as `train` does

    def ask(tokens: Tokens) -> Tensor:
        return set_gradients(
            forward, optimizer, tokens, label_smoothing=0.0, autocast=autocast
        ).imitation

    def update(tokens: Tokens) -> Tensor:
        loss = ask(tokens)
        apply_gradients(optimizer, rate=training.learning_rate, clip=training.gradient_clip)
        return loss

    def leave(tokens: Tokens) -> None:
        ask(tokens)

    return update, leave
