"""The auxiliary task: what there is to guess, that it is learnt, and that nobody acts by it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench.config import RunConfig
from adbench.errors import Stopped
from adbench.model import DistillationModel
from adbench.model.auxiliary import actions_between
from adbench.tokens import NO_ACTION, Tokens
from adbench.train.optimise import make_optimizer, set_gradients

NewRun = Callable[..., Any]
NewConfig = Callable[..., RunConfig]
NewModel = Callable[[RunConfig], DistillationModel]
NewRows = Callable[[], Any]

CHANCE = math.log(3)
GUESSES = {"auxiliary": "inverse-dynamics"}


def walked(n: int, tokens: Tokens) -> Tokens:
    """Rows whose observation is a place on a ring of four that every action moves on by itself."""
    moved = tokens.previous_action.clamp(min=0)
    return replace(tokens, observation=moved.cumsum(1) % 4)


def test_what_lay_between_is_known_but_for_first_tokens_and_padding(rows: NewRows) -> None:
    tokens = rows().batch(2)
    tokens = replace(tokens, valid=torch.arange(16).expand(2, 16) < torch.tensor([[16], [9]]))
    between = actions_between(tokens)
    for row, length in enumerate((16, 9)):
        for at in range(16):
            unknown = at == 0 or at % 6 == 0 or at >= length  # episodes of six tokens
            expected = NO_ACTION if unknown else int(tokens.previous_action[row, at])
            assert between[row, at] == expected
    assert (tokens.previous_action[:, 0] == NO_ACTION).all()  # and left as it was


def test_rows_that_begin_within_an_episode_have_nothing_before_them(rows: NewRows) -> None:
    tokens = rows().batch(2).map(lambda part: part[:, 2:])
    assert (tokens.previous_action[:, 0] != NO_ACTION).all()
    assert (actions_between(tokens)[:, 0] == NO_ACTION).all()


def gradients(model: DistillationModel, config: RunConfig, tokens: Tokens, weight: float) -> Any:
    forward = model.forward_with_moves if weight else model
    losses = set_gradients(
        forward, make_optimizer(model, config.train), tokens, label_smoothing=0.0,
        auxiliary_weight=weight,
    )  # fmt: skip
    return losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_it_adds_its_loss_and_its_gradient_and_changes_no_initial_weight(
    rows: NewRows, config: NewConfig, new_model: NewModel
) -> None:
    with_it, without = config(**GUESSES), config()
    guessing, plain = new_model(with_it).eval(), new_model(without).eval()
    began = plain.state_dict()
    added = {n for n in guessing.state_dict() if n not in began}
    assert added and all(name.startswith("moves.") for name in added)
    assert all(torch.equal(guessing.state_dict()[n], value) for n, value in began.items())
    tokens = walked(0, rows().batch(4))
    (imitation, nothing), alone = gradients(plain, without, tokens, 0.0)
    (same, auxiliary), full = gradients(guessing, with_it, tokens, 0.5)
    assert torch.equal(same, imitation) and nothing == 0
    assert 0.5 * CHANCE < auxiliary < 1.5 * CHANCE
    assert torch.allclose(full["head.weight"], alone["head.weight"])
    name = "embed.observation.values.weight"
    assert not torch.allclose(full[name], alone[name])
    (_, _), twice = gradients(guessing, with_it, tokens, 1.0)
    assert torch.allclose(twice[name] - alone[name], 2 * (full[name] - alone[name]), atol=1e-6)


def test_the_parts_of_a_batch_add_up_to_the_whole(
    rows: NewRows, config: NewConfig, new_model: NewModel
) -> None:
    settings, tokens = config(**GUESSES), walked(0, rows().batch(5))
    tokens = replace(tokens, valid=torch.arange(16) < torch.arange(4, 14, 2)[:, None])
    model = new_model(settings).double().eval()
    optimizer = make_optimizer(model, settings.train)
    found: list[tuple[Tensor, Tensor]] = []
    for at_once in (None, 2):
        losses = set_gradients(
            model.forward_with_moves, optimizer, tokens, label_smoothing=0.0, auxiliary_weight=1.0,
            rows_at_once=at_once,
        )  # fmt: skip
        assert model.moves is not None
        weight = model.moves.layers[0].weight
        assert isinstance(weight.grad, Tensor)
        found.append((losses.auxiliary, weight.grad.clone()))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-12)


def test_what_was_done_between_two_observations_is_learnt(run: NewRun, rows: NewRows) -> None:
    def losses(change: Callable[[int, Tokens], Tokens]) -> list[float]:
        training, walks = run(updates=60, **GUESSES), rows()
        walks.spoil = change
        training(rows=walks)
        lines = training.metrics.read_text().splitlines()
        return [json.loads(line)["auxiliary_loss"] for line in lines]

    told = losses(walked)
    assert told[0] > 0.8 * CHANCE
    assert told[-1] < 0.5 * CHANCE
    # Where observations say nothing of it nothing is learnt.
    assert min(losses(lambda n, tokens: tokens)) > 0.9 * CHANCE


def test_metrics_tell_of_it_where_it_is_on_and_nowhere_else(run: NewRun) -> None:
    off, on = run(updates=10), run(updates=10, **GUESSES)
    for training in (off, on):
        training()
    assert "auxiliary_loss" not in off.metrics.read_text()
    assert "auxiliary_loss" in on.metrics.read_text()


@torch.no_grad()
def test_nobody_acts_by_it(rows: NewRows, config: NewConfig, new_model: NewModel) -> None:
    model, tokens = new_model(config(**GUESSES)).eval(), rows().batch(2)
    assert model.moves is not None

    def acts() -> tuple[Tensor, Tensor]:
        cache = model.new_cache(2)
        one = tokens.map(lambda part: part[:, :1])
        return model(tokens), model.step(one, count=torch.ones(2), cache=cache)

    before = acts()
    for parameter in model.moves.parameters():
        parameter.fill_(float("nan"))
    for old, new in zip(before, acts(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_with_it_resumes_to_the_last_bit(run: NewRun, optimizer: str) -> None:
    straight, broken = (run(optimizer=optimizer, **GUESSES) for _ in range(2))
    straight()
    asked = iter(range(1, 100))
    with pytest.raises(Stopped, match="update 13 of 30"):
        broken(stop=lambda: next(asked) >= 13)
    broken()
    assert broken.files(30) == straight.files(30)
