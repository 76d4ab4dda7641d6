"""Whether an update of a whole batch is right, asked so that the answer can be worked out exactly.

Of the batch only a few tokens of one row ask for an action. What they depend on is then a stretch
of that row: under a band all that its layers reach back over, in causal attention what came before.
So the gradient of a row of 64k tokens, made by the very code and shapes that are timed, is that of
a few thousand tokens through plain attention in float64.

B rows, L tokens a row.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.on_gpu.exact import errors

if TYPE_CHECKING:
    from adbench.tokens import Tokens

Forward = Callable[[nn.Module, "Tokens"], Tensor]
"""Predictions [B, L, A] of a module for tokens."""


class Question(NamedTuple):
    """A batch of which few tokens ask.

    Attributes:
        tokens: [B, L].
        stretch: all that those tokens depend on, [1, S].
    """

    tokens: Tokens
    stretch: Tokens


def question(tokens: Tokens, *, reach: int | None, asked: int) -> Question:
    """Let few tokens of a batch ask: those of the last row that is fullest.

    Args:
        tokens: [B, L].
        reach: tokens that a prediction depends on, its own included; none: all before it. With a
            reach the row's last tokens ask, without one its first.
        asked: how many.
    """
    counts = tokens.valid.sum(1)
    row = int(counts.flip(0).argmax())
    row = len(counts) - 1 - row
    length = int(counts[row])
    if reach is None:
        asking, start, stop = slice(0, asked), 0, min(asked, length)
    else:
        asking = slice(max(0, length - asked), length)
        start, stop = max(0, length - asked - reach + 1), length
    asks = torch.zeros_like(tokens.valid)
    asks[row, asking] = True
    few = replace(tokens, action=tokens.action.where(asks, -1))
    return Question(few, few.map(lambda x: x[row : row + 1, start:stop]))


def check(
    model: nn.Module, forward: Forward, asked: Question, autocast: torch.dtype | None
) -> Mapping[str, float]:
    """Hold the gradients that a model has to those of its plain twin.

    Args:
        model: with the gradients of `asked.tokens`; its weights are in float32.
        forward: the plain twin.
        asked: what was asked.
        autocast: the precision in which the gradients were made; none: that of the weights.

    Raises:
        WrongResultError: they are further off than twice what plain arithmetic is.
    """
    found = _by_part(model)
    exact = _plain(copy.deepcopy(model).double(), forward, asked.stretch, None)
    plain = _plain(copy.deepcopy(model), forward, asked.stretch, autocast)
    return errors(
        [*found.values()], [exact[name] for name in found], [plain[name] for name in found],
        [f"gradient of {name}" for name in found],
    )  # fmt: skip


def _plain(
    model: nn.Module, forward: Forward, tokens: Tokens, autocast: torch.dtype | None
) -> dict[str, Tensor]:
    for parameter in model.parameters():
        parameter.grad = None
    device = tokens.action.device.type
    with torch.autocast(device, autocast, enabled=autocast is not None):
        logits = forward(model, tokens)
    if logits.dtype != torch.float64:
        logits = logits.float()
    asks = tokens.asks
    F.cross_entropy(logits[asks], tokens.action[asks]).backward()  # type: ignore[no-untyped-call]
    return _by_part(model)


def _by_part(model: nn.Module) -> dict[str, Tensor]:
    """Gradients end to end: of the blocks, and of what lies around them."""
    parts: dict[str, list[Tensor]] = {"the blocks": [], "embedding and head": []}
    for name, parameter in model.named_parameters():
        inside = name.startswith(("blocks.", "encoder.layers."))
        parts["the blocks" if inside else "embedding and head"].append(_gradient(parameter))
    return {name: torch.cat(grads) for name, grads in parts.items()}


def _gradient(parameter: Tensor) -> Tensor:
    given = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return given.detach().double().flatten()


def must_fall(losses: Sequence[float]) -> None:
    """Refuse a training whose loss does not fall, or is no number.

    Raises:
        WrongResultError: the last loss is not below the first.
    """
    from benchmarks.on_gpu.cases import WrongResultError

    if not losses[-1] < losses[0]:
        raise WrongResultError(f"the loss does not fall: {', '.join(f'{x:.4g}' for x in losses)}")
