"""One gradient update: loss, gradients, clipping, the optimisers and their schedule.

B rows, L transition tokens a row, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.config import TrainConfig
from adbench.model.auxiliary import actions_between
from adbench.tokens import NO_ACTION, Tokens
from adbench.train.muon import Muon

Forward = Callable[[Tokens], Tensor | tuple[Tensor, Tensor]]
"""Predictions [B, L, A]; with an auxiliary task also guesses at what was done, [B, L, A]."""


class Losses(NamedTuple):
    """Mean losses of an update, nats a target.

    Attributes:
        imitation: of the actions that the history took, float32 [].
        auxiliary: of the actions guessed from two observations, float32 []; 0 where nobody guesses.
    """

    imitation: Tensor
    auxiliary: Tensor


class Optimizer:
    """Optimisers that share the parameters of one model and take their steps together.

    Args:
        parts: torch optimisers, each parameter in exactly one of them.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def memory(self, parameter: Tensor) -> dict[str, Tensor]:
        """What is remembered of one parameter: moment name to tensor; empty before a step."""
        owner = next(part for part in self.parts if parameter in _parameters(part))
        return cast(dict[str, Tensor], owner.state[parameter])

    def moments(self, parameter: Tensor) -> dict[str, torch.Size]:
        """Which moments of a parameter are remembered once a step was taken, and their shapes."""
        owner = next(part for part in self.parts if parameter in _parameters(part))
        if isinstance(owner, Muon):
            return {"momentum_buffer": parameter.shape}
        return {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Take one step at a learning rate."""
        for group in self.groups:
            group["lr"] = rate
        for part in self.parts:
            part.step()


def make_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """The optimiser of a training, which decays matrices alone: shrinking a bias or a normaliser's
    gain regularises nothing.

    With `muon` the matrices inside the transformer's blocks take Muon's steps; embeddings, the head
    and all vectors stay with AdamW.
    """
    hidden = {id(p) for p in _block_matrices(model)} if config.optimizer == "muon" else set()
    rest = [p for p in model.parameters() if id(p) not in hidden]
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )
    if not hidden:
        return Optimizer(adamw)
    muon = Muon(_block_matrices(model), lr=config.learning_rate, weight_decay=config.weight_decay)
    return Optimizer(muon, adamw)


def _block_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [
        p for name, p in model.named_parameters() if p.dim() == 2 and name.startswith("blocks.")
    ]


def _parameters(part: torch.optim.Optimizer) -> dict[Tensor, None]:
    return {p: None for group in part.param_groups for p in group["params"]}


def learning_rate(config: TrainConfig, update: int) -> float:
    """Learning rate of update `update` (0, 1, ...): up in a line, then down in half a cosine.

    1. warm-up: peak * (update + 1) / warmup_updates;
    2. the cosine from the peak, reaching peak * final_learning_rate_fraction at the last update.
    """
    if update < config.warmup_updates:
        return config.learning_rate * (update + 1) / config.warmup_updates
    rest = max(1, config.updates - 1 - config.warmup_updates)
    share = min(1.0, (update - config.warmup_updates) / rest)
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share)))


def loss_sum(logits: Tensor, tokens: Tokens, *, label_smoothing: float) -> Tensor:
    """Cross-entropy of the actions taken, summed over the tokens that ask for one; float32 [].

    Args:
        logits: [B, L, A].
        tokens: [B, L]; final observations and padding bear no loss.
        label_smoothing: share of the target spread evenly over all actions.
    """
    return F.cross_entropy(
        logits.flatten(0, 1),
        tokens.action.masked_fill(~tokens.valid, NO_ACTION).flatten(),
        ignore_index=NO_ACTION,
        label_smoothing=label_smoothing,
        reduction="sum",
    )


def guess_loss_sum(guesses: Tensor, tokens: Tokens) -> Tensor:
    """Cross-entropy of the actions that led to tokens, summed over those where they can be guessed;
    float32 [].

    Args:
        guesses: [B, L, A].
        tokens: [B, L].
    """
    return F.cross_entropy(
        guesses.flatten(0, 1),
        actions_between(tokens).flatten(),
        ignore_index=NO_ACTION,
        reduction="sum",
    )


def set_gradients(
    forward: Forward,
    optimizer: Optimizer,
    tokens: Tokens,
    *,
    label_smoothing: float,
    auxiliary_weight: float = 0.0,
    rows_at_once: int | None = None,
    autocast: torch.dtype | None = None,
) -> Losses:
    """Gradients of the mean loss over all tokens that ask, and of the auxiliary one; both losses.

    Args:
        forward: the model, maybe compiled.
        optimizer: whose gradients are overwritten.
        tokens: [B, L] on the model's device.
        label_smoothing: as `loss_sum`.
        auxiliary_weight: of the auxiliary loss, whose guesses `forward` then gives.
        rows_at_once: rows in one pass, the gradients of the passes being added up; none: all.
        autocast: precision of the forward pass; none: that of the weights.
    """
    optimizer.zero_grad()
    asked = tokens.asks.sum().clamp(min=1)
    guessed = asked
    if auxiliary_weight:
        guessed = (actions_between(tokens) != NO_ACTION).sum().clamp(min=1)
    rows = tokens.shape[0]
    at_once = rows_at_once or rows
    total = torch.zeros(2, device=asked.device)
    for start in range(0, rows, at_once):
        part = tokens.map(lambda t, s=start: t[s : s + at_once])  # type: ignore[misc]
        with torch.autocast(asked.device.type, autocast, enabled=autocast is not None):
            found = forward(part)
        logits, guesses = found if isinstance(found, tuple) else (found, None)
        loss = loss_sum(logits, part, label_smoothing=label_smoothing) / asked
        other = loss.new_zeros(()) if guesses is None else guess_loss_sum(guesses, part) / guessed
        (loss + auxiliary_weight * other).backward()  # type: ignore[no-untyped-call]
        total += torch.stack((loss.detach(), other.detach()))
    return Losses(*total)


def apply_gradients(optimizer: Optimizer, *, rate: float, clip: float) -> Tensor:
    """Clip the gradients, take the step; their global norm before clipping, float32 []."""
    parameters = [p for group in optimizer.groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step(rate)
    return norm
