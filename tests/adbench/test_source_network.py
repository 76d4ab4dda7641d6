"""Batched networks and their optimiser against PyTorch's own, and learner against learner."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adbench.source.adam import AdamState, adam, define_adam
from adbench.source.network import Layout

LEARNERS, ROWS = 5, 7
LAYOUTS = [Layout((3, 4)), Layout((6, 8, 4)), Layout((1, 5, 5, 5, 3))]

# Float64 against float64, tens of operations apart.
EXACT = 1e-12


def keys(count: int) -> list[np.ndarray]:
    return [np.array([1, number], np.uint64) for number in range(count)]


def features(layout: Layout, learners: int = LEARNERS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(learners, ROWS, layout.sizes[0], generator=generator)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_forward_is_what_plain_linear_layers_do(layout: Layout) -> None:
    parameters = layout.initial(keys(LEARNERS)).double()
    inputs = features(layout).double()
    outputs = layout.forward(parameters, inputs)[-1]
    for learner in range(LEARNERS):
        modules: list[nn.Module] = []
        for layer in layout.layers:
            weight, bias = layer.weights(parameters[learner : learner + 1])
            linear = nn.Linear(weight.shape[1], weight.shape[2], dtype=torch.float64)
            linear.weight.data, linear.bias.data = weight[0].T, bias[0, 0]
            modules += [linear, nn.ReLU()]
        expected = nn.Sequential(*modules[:-1])(inputs[learner])
        assert (outputs[learner] - expected).abs().max() < EXACT


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_backward_is_what_autograd_finds(layout: Layout) -> None:
    parameters = layout.initial(keys(LEARNERS)).double().requires_grad_()
    with torch.no_grad():
        outputs = layout.forward(parameters, features(layout).double())
    upstream = torch.randn(outputs[-1].shape, generator=torch.Generator().manual_seed(2)).double()
    by_hand = layout.backward(parameters.detach(), outputs, upstream)
    weights = [layer.weights(parameters) for layer in layout.layers]
    hidden = features(layout).double()
    for depth, (weight, bias) in enumerate(weights):
        hidden = hidden @ weight + bias
        hidden = hidden.relu() if depth + 1 < len(weights) else hidden
    (found,) = torch.autograd.grad((hidden * upstream).sum(), parameters)
    assert (by_hand - found).abs().max() < EXACT


@pytest.mark.parametrize("rows", [1, 7, 16, 33])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_loops_do_what_their_definitions_do(layout: Layout, rows: int) -> None:
    parameters = layout.initial(keys(LEARNERS)).double()
    generator = torch.Generator().manual_seed(4)
    for depth, layer in enumerate(layout.layers):
        inputs = torch.randn(LEARNERS, rows, layer.fan_in, generator=generator).double().relu()
        grad = torch.randn(LEARNERS, rows, layer.fan_out, generator=generator).double()
        outputs = layer.forward(parameters, inputs)
        assert (outputs - layer.define_forward(parameters, inputs)).abs().max() < EXACT
        ours, theirs = torch.full((2, *parameters.shape), torch.nan).double()
        below = layer.backward(parameters, inputs, grad, ours, rectified=depth > 0)
        defined = layer.define_backward(parameters, inputs, grad, theirs, rectified=depth > 0)
        part = slice(layer.at, layer.end)
        assert (ours[:, part] - theirs[:, part]).abs().max() < EXACT
        assert torch.isnan(ours).sum() == torch.isnan(theirs).sum()  # no other layer's columns
        if depth:
            assert (below - defined).abs().max() < EXACT


def test_a_learner_is_the_same_beside_any_other_learners() -> None:
    layout = Layout((18, 64, 64, 6))
    together = layout.initial(keys(37))
    inputs = features(layout, 37)
    outputs = layout.forward(together, inputs)
    gradient = layout.backward(together, outputs, outputs[-1])
    for few in ([0], [36], [5, 6, 7], list(range(3, 35))):
        alone = layout.initial([keys(37)[learner] for learner in few])
        apart = layout.forward(alone, inputs[few])
        assert torch.equal(alone, together[few])
        assert torch.equal(apart[-1], outputs[-1][few])
        assert torch.equal(layout.backward(alone, apart, apart[-1]), gradient[few])


def test_a_fresh_policy_is_nearly_uniform_and_learners_differ() -> None:
    layout = Layout((18, 64, 6))
    parameters = layout.initial(keys(2))
    policy = layout.forward(parameters, features(layout, 2))[-1][..., :-1].softmax(-1)
    assert (policy - 0.2).abs().max() < 0.02
    assert not torch.equal(parameters[0], parameters[1])


@pytest.mark.parametrize("step", [adam, define_adam])
def test_adam_takes_the_steps_of_pytorchs_adam(step: Callable[..., Any]) -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(4, 9, generator=generator).double()
    theirs = nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([theirs], lr=0.01, betas=(0.8, 0.95), eps=1e-6)
    ours, state = start, AdamState.fresh(start)
    for _ in range(5):
        gradient = torch.randn(4, 9, generator=generator).double()
        theirs.grad = gradient
        optimiser.step()
        ours, state = step(
            ours, gradient, state, learning_rate=0.01, beta1=0.8, beta2=0.95, epsilon=1e-6
        )
    assert state.updates == 5
    assert (ours - theirs.data).abs().max() < EXACT


def test_an_update_leaves_what_it_was_given_as_it_was() -> None:
    parameters, gradient = torch.ones(2, 3), torch.ones(2, 3)
    state = AdamState.fresh(parameters)
    adam(parameters, gradient, state, learning_rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert (parameters == 1).all()
    assert (gradient == 1).all()
    assert (state.mean == 0).all() and (state.square == 0).all()
