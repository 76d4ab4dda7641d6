"""One update: where loss is taken, how it is averaged, how large a step is."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from adbench.config import RunConfig, TrainConfig
from adbench.model import DistillationModel
from adbench.train.muon import Muon, orthogonalise
from adbench.train.optimise import (
    apply_gradients,
    learning_rate,
    loss_sum,
    make_optimizer,
    set_gradients,
)

NewConfig = Callable[..., RunConfig]
NewModel = Callable[[RunConfig], DistillationModel]
NewRows = Callable[[], Any]


def test_loss_is_taken_where_an_action_is_asked_and_nowhere_else(rows: NewRows) -> None:
    tokens = rows().batch(3)
    tokens = dataclasses.replace(tokens, valid=torch.arange(16).expand(3, 16) < 13)
    logits = torch.randn(3, 16, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = loss_sum(logits, tokens, label_smoothing=0.0)
    picked = F.log_softmax(logits, -1).gather(-1, tokens.action.clamp(min=0)[..., None])[..., 0]
    assert torch.allclose(loss, -picked[tokens.asks].sum())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.abs().sum(-1) > 0, tokens.asks)
    assert not tokens.asks[:, 5].any()  # a final observation
    assert not tokens.asks[:, 13:].any()  # padding


def test_label_smoothing_spreads_a_share_of_the_target_over_all_actions(rows: NewRows) -> None:
    tokens = rows().batch(2)
    logits = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    log_p = F.log_softmax(logits, -1)[tokens.asks]
    hot = F.one_hot(tokens.action[tokens.asks], 3)
    expected = -((0.7 * hot + 0.1) * log_p).sum()
    assert torch.allclose(loss_sum(logits, tokens, label_smoothing=0.3), expected)


def test_gradients_of_a_few_rows_at_once_add_up_to_those_of_all(
    rows: NewRows, config: NewConfig, new_model: NewModel
) -> None:
    settings, tokens = config(), rows().batch(7)
    # Rows of unequal weight: a mean of means would be another number.
    tokens = dataclasses.replace(tokens, valid=torch.arange(16) < torch.arange(2, 16, 2)[:, None])
    model = new_model(settings).double().eval()
    optimizer = make_optimizer(model, settings.train)
    found = []
    for at_once in (None, 3, 1):
        losses = set_gradients(model, optimizer, tokens, label_smoothing=0.1, rows_at_once=at_once)
        assert losses.auxiliary == 0
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((losses.imitation, gradients))
    for loss, gradients in found[1:]:
        assert torch.allclose(loss, found[0][0])
        for one, other in zip(gradients, found[0][1], strict=True):
            assert torch.allclose(one, other, atol=1e-12)


def test_the_learning_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    config = TrainConfig(
        updates=101, warmup_updates=20, learning_rate=1.0, final_learning_rate_fraction=0.2
    )
    rates = [learning_rate(config, update) for update in range(101)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[19] == rates[20] == 1.0
    assert rates[60] == pytest.approx(0.6)  # half-way down to 0.2
    assert rates[100] == pytest.approx(0.2)
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))
    assert learning_rate(config.with_(warmup_updates=0), 0) == 1.0
    assert math.isfinite(learning_rate(config.with_(updates=1), 0))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weights_decay_in_matrices_alone(
    config: NewConfig, new_model: NewModel, rows: NewRows, name: str
) -> None:
    settings = config(optimizer=name, weight_decay=0.5).train
    model = new_model(config())
    optimizer = make_optimizer(model, settings)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    apply_gradients(optimizer, rate=0.1, clip=1.0)
    for n, p in model.named_parameters():
        kept = 1 - 0.1 * 0.5 if p.dim() >= 2 else 1.0
        assert torch.allclose(p, before[n] * kept), n
    trained = {id(p) for group in optimizer.groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters()}


def test_gradients_are_clipped_and_their_norm_told(config: NewConfig, new_model: NewModel) -> None:
    model = new_model(config())
    optimizer = make_optimizer(model, config().train)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    norm = apply_gradients(optimizer, rate=0.0, clip=0.5)
    assert float(norm) == pytest.approx(3.0 * math.sqrt(model.num_parameters), rel=1e-4)
    clipped = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    assert math.sqrt(clipped) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 32)])
def test_muon_orthogonalises_as_torch_s_does(shape: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=draw) for _ in range(3)]
    ours = [torch.nn.Parameter(x.clone()) for x in start]
    theirs = [torch.nn.Parameter(x.clone()) for x in start]
    muon = Muon(ours, lr=0.1, weight_decay=0.2)
    reference = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(shape, generator=draw)
            other.grad = one.grad.clone()
        muon.step()
        reference.step()  # type: ignore[no-untyped-call]
    for one, other, first in zip(ours, theirs, start, strict=True):
        # torch's iterates in bfloat16, whose last digit is 1 / 256.
        assert (one - other).norm() < 0.03 * (one - first).norm()


def test_muon_evens_out_singular_values_and_keeps_their_directions() -> None:
    draw = torch.Generator().manual_seed(1)
    matrix = torch.randn(1, 6, 20, generator=draw) * torch.logspace(0, 1.5, 6)[:, None]
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    even = orthogonalise(matrix)
    assert torch.linalg.svdvals(even).min() > 0.6
    assert torch.linalg.svdvals(even).max() < 1.3
    inside = left.mT @ even @ right.mT
    assert (inside - inside.diagonal(dim1=-2, dim2=-1).diag_embed()).abs().max() < 1e-4
