"""A model's step as one CUDA graph: needs a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from adbench.config import ModelConfig, TrainConfig
from adbench.model import DistillationModel, build_model
from adbench.model.static import GraphedStep, StaticStep, static_step
from adbench.noise import torch_generator
from adbench.tokens import Tokens

MakeModel = Callable[..., DistillationModel]
MakeHistory = Callable[..., Tokens]
Take = Callable[[Tokens, Tensor], Tokens]

LANES = 6

pytestmark = [pytest.mark.requires("gpu"), pytest.mark.requires("triton")]


@pytest.mark.parametrize("source", ["cpu", "cuda"])
@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_replayed_steps_are_the_eager_ones_past_the_wrap_with_staggered_resets(
    model: MakeModel, history: MakeHistory, take: Take, layout: str, source: str
) -> None:
    """Also with tokens on the CPU, which cross over through pinned memory."""
    net = model(layout=layout, width=64).cuda()
    tokens = history(LANES, 200)
    eager, graphed = StaticStep(net, tokens), static_step(net, tokens)
    assert type(graphed) is GraphedStep
    draw = torch.Generator().manual_seed(0)
    at = torch.zeros(LANES, dtype=torch.int64)
    for index in range(120):
        new = 1 + index % 2
        count = torch.randint(0, new + 1, (LANES,), generator=draw)
        reset = torch.rand(LANES, generator=draw) < 0.05
        reset[0] = False
        noise = torch.randn(LANES, net.num_actions, generator=draw)
        given = take(tokens, (at[:, None] + torch.arange(new)).clamp(max=199))
        at += count
        expected = eager(given.to("cuda"), count.cuda(), noise.cuda(), reset.cuda())
        if source == "cpu":
            actual = graphed(given, count, noise, reset)
        else:
            actual = graphed(given.to("cuda"), count.cuda(), noise.cuda(), reset.cuda())
        assert actual.device.type == source
        assert torch.equal(actual.cpu()[count > 0], expected.cpu()[count > 0])
    assert int(graphed.cache.state.length.max()) > 3 * net.window_tokens
    assert torch.equal(graphed.cache.state.length, eager.cache.state.length)


@pytest.mark.parametrize("images", ["patch", "paper"])
@torch.no_grad()
def test_replayed_steps_over_frames_are_the_eager_ones(images: Literal["patch", "paper"]) -> None:
    space, length = spaces.Box(0, 255, (32, 40, 3), np.uint8), 30
    net = build_model(
        ModelConfig(width=64, layers=2, heads=2, feedforward=64, encoder=images),
        TrainConfig(window_steps=8),
        space,
        5,
        generator=torch_generator("graph"),
    )
    net = net.eval().cuda()
    draw = torch.Generator().manual_seed(0)
    shape = (LANES, length)
    tokens = Tokens(
        observation=torch.randint(
            0, 256, (*shape, *space.shape), generator=draw, dtype=torch.uint8
        ),
        previous_action=torch.randint(0, 5, shape, generator=draw),
        previous_reward=torch.rand(shape, generator=draw),
        ending=torch.zeros(shape, dtype=torch.uint8),
        action=torch.zeros(shape, dtype=torch.int64),
        valid=torch.ones(shape, dtype=torch.bool),
    )
    eager, graphed = StaticStep(net, tokens), static_step(net, tokens)
    assert type(graphed) is GraphedStep
    for at in range(length):
        one = tokens.map(lambda part, at=at: part[:, at : at + 1])  # type: ignore[misc]
        count = (torch.rand(LANES, generator=draw) < 0.8).int()
        expected = eager(one.to("cuda"), count.cuda(), None)
        actual = graphed(one, count, None)
        assert torch.equal(actual[count > 0], expected.cpu()[count > 0])


@torch.no_grad()
def test_recording_changes_nobodys_memory(model: MakeModel, history: MakeHistory) -> None:
    net, tokens = model(width=64).cuda(), history(LANES, 2).to("cuda")
    graphed = static_step(net, tokens)
    graphed(tokens, torch.full((LANES,), 2, device="cuda"), None)
    assert graphed.cache.state.length.tolist() == [2] * LANES


@torch.no_grad()
def test_a_graph_follows_weights_that_are_changed_in_place(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model(width=64).cuda(), history(LANES, 2).to("cuda")
    graphed, count = static_step(net, tokens), torch.ones(LANES, device="cuda")
    graphed(tokens, count, None)
    net.head.weight.zero_()
    net.head.bias.copy_(torch.arange(net.num_actions))
    graphed.forget()
    assert (graphed(tokens, count, None) == net.num_actions - 1).all()
    assert graphed.fits(tokens)


@torch.no_grad()
def test_stepping_through_a_history_on_a_gpu_is_one_forward_pass(
    model: MakeModel, history: MakeHistory
) -> None:
    """Law 2, with the kernels that a GPU takes by itself."""
    net = model(width=64)
    tokens = history(2, 60)
    expected = net(tokens)
    net.cuda()
    cache, ones = net.new_cache(2), torch.ones(2, dtype=torch.int32, device="cuda")
    for at in range(60):
        new = tokens.map(lambda x, at=at: x[:, at : at + 1]).to("cuda")  # type: ignore[misc]
        logits = net.step(new, count=ones, cache=cache).cpu()
        # Relative, in float32: the band's sums are taken in another order.
        assert (logits - expected[:, at]).abs().max() < 1e-4 * expected.abs().max()
