"""Image encoders: the paper's by its table, both by what they cost, and frames encoded once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adbench.config import ModelConfig, TrainConfig
from adbench.evaluate import rollout
from adbench.model import DistillationModel, build_model, training_flops
from adbench.model.encoder import Encoder
from adbench.model.encoders import Images, make_encoder
from adbench.model.flops import encoder_of
from adbench.model.paper_image import BatchNorm
from adbench.model.static import StaticStep
from adbench.noise import torch_generator
from adbench.plugins import family
from adbench.policy import ModelPolicy, policy_of
from adbench.tokens import NO_ACTION, RUNNING, TRUNCATED, Tokens

ACTIONS, LENGTH, WIDTH = 5, 12, 16
SMALL = spaces.Box(0, 255, (16, 12, 3), np.uint8)
ENCODERS: tuple[Images, ...] = ("patch", "paper")
STEP_ERROR = 1e-9
"""Float64 logits of order 1 after a few hundred operations; rounding leaves 1e-15."""
FLOAT32_ERROR = 1e-5
"""Of vectors of order 1: convolutions of other batches add up in another order."""

both = pytest.mark.parametrize("images", ENCODERS)


def box(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def encoder(space: spaces.Box, images: Images, width: int = WIDTH) -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_encoder(space, width, images=images)


def frames(space: spaces.Box, count: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *space.shape), generator=draw, dtype=torch.uint8)


def model(
    images: Images, *, context: Any = "banded", space: Any = SMALL, actions: int = ACTIONS
) -> DistillationModel:
    return build_model(
        ModelConfig(width=WIDTH, layers=2, heads=2, feedforward=32, encoder=images),
        TrainConfig(window_steps=LENGTH if context == "exact" else 5, context=context),
        space,
        actions,
        generator=torch_generator("images"),
    ).eval()


def rows(count: int, *, padding: int = 0) -> Tokens:
    """Episodes of four tokens; the last `padding` tokens of each row are none."""
    place = torch.arange(LENGTH).expand(count, LENGTH)
    draw = torch.Generator().manual_seed(1)
    first, final = place % 4 == 0, place % 4 == 3
    action = torch.randint(0, ACTIONS, (count, LENGTH), generator=draw)
    return Tokens(
        observation=frames(SMALL, count * LENGTH).view(count, LENGTH, *SMALL.shape),
        previous_action=action.roll(1, 1).masked_fill(first, NO_ACTION),
        previous_reward=torch.rand(count, LENGTH, generator=draw).masked_fill(first, 0.0),
        ending=torch.where(final, TRUNCATED, RUNNING).to(torch.uint8),
        action=action.masked_fill(final, NO_ACTION),
        valid=place < LENGTH - padding,
    )


def test_the_papers_encoder_is_that_of_its_third_table() -> None:
    net = encoder(box(72, 96, 3), "paper")
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size, c.stride) for c in convolutions] == [
        (128, (5, 5), (2, 2))
    ] * 3
    norms = [m for m in net.modules() if isinstance(m, BatchNorm)]
    assert [(n.num_features, n.eps) for n in norms] == [(128, 1e-5)] * 3
    assert all(n.momentum == pytest.approx(1 - 0.999) for n in norms)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.2] * 3
    pools = [m for m in net.modules() if isinstance(m, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(2, 2)] * 3
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [256, WIDTH]


@both
@pytest.mark.parametrize("shape", [(72, 96, 3), (64, 64, 3), (3, 20, 24), (9, 7), (1, 1, 3)])
def test_frames_of_any_size_and_layout_become_vectors(images: Images, shape: Any) -> None:
    net = encoder(box(*shape), images).eval()
    found = net(frames(box(*shape), 4).view(2, 2, *shape))
    assert found.shape == (2, 2, WIDTH)
    assert torch.isfinite(found).all()
    alone = net(frames(box(*shape), 4)[3:])
    assert (alone - found[1, 1]).abs().max() < FLOAT32_ERROR


def test_running_averages_count_from_their_first_batch() -> None:
    norm = BatchNorm(3, momentum=1e-3)
    batches = [torch.randn(8, 3, 5, 5) * (k + 1) + k for k in range(3)]
    with torch.no_grad():
        fresh = norm.eval()(batches[0])
        assert torch.allclose(fresh, batches[0], atol=1e-4)  # mean 0 and variance 1, as made
        norm.train()
        for batch in batches:
            norm(batch)
        # Each batch counts 0.999 times as much as the one after it.
        weights = torch.tensor([0.999**2, 0.999, 1.0])
        weights /= weights.sum()
        axes = (0, 2, 3)
        mean = sum(w * b.mean(axes) for w, b in zip(weights, batches, strict=True))
        variance = sum(w * b.var(axes) for w, b in zip(weights, batches, strict=True))
        expected = (batches[0] - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
        assert torch.allclose(norm.eval()(batches[0]), expected, atol=1e-4)


@both
@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 64, 3), (72, 96, 3)])
def test_operations_and_numbers_kept_are_what_torch_counts(images: Images, shape: Any) -> None:
    net = encoder(box(*shape), images, 32)
    count = 4
    counter = FlopCounterMode(display=False)
    kept: dict[int, int] = {}

    def keep(saved: Tensor) -> Tensor:
        if saved.is_floating_point() and (saved.dim() > 2 or len(saved) == count):  # no weights
            kept[saved.data_ptr()] = saved.numel()
        return saved

    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        net(frames(box(*shape), count)).sum()
    assert counter.get_total_flops() == count * net.flops
    weights = {p.data_ptr(): p.numel() for p in net.parameters()}
    numbers = sum(size for place, size in kept.items() if place not in weights) / count
    # An estimate of memory errs on the high side, by half at most.
    assert 0.9 * net.kept_floats <= numbers * 1.5 and numbers <= 1.1 * net.kept_floats


@both
def test_the_encoders_operations_are_added_to_the_models(images: Images) -> None:
    config, train = ModelConfig(encoder=images), TrainConfig()
    plain = training_flops(config, train, ACTIONS)
    encoded = training_flops(config, train, ACTIONS, SMALL)
    assert encoded - plain == 3 * encoder_of(config, SMALL).flops > 0
    assert training_flops(config, train, ACTIONS, spaces.Discrete(3)) == plain
    assert all(p.is_meta for p in encoder_of(config, SMALL).parameters())


@both
@torch.no_grad()
def test_padding_is_not_encoded_and_changes_nothing(images: Images) -> None:
    net = model(images).double()
    tokens, seen = rows(3, padding=4), []
    net.embed.observation.register_forward_hook(lambda _m, given, _o: seen.append(len(given[0])))
    found = net(tokens)
    assert seen == [3 * (LENGTH - 4)]
    seen.clear()
    short = net(tokens.map(lambda part: part[:, : LENGTH - 4]))
    assert (found[:, : LENGTH - 4] - short).abs().max() < STEP_ERROR
    nobody = replace(tokens, valid=torch.zeros_like(tokens.valid))
    assert torch.isfinite(net(nobody)).all()


@both
@torch.no_grad()
def test_steps_over_frames_are_one_forward_pass_over_all_of_them(images: Images) -> None:
    net, tokens = model(images).double(), rows(2)
    whole = net(tokens)
    cache, static = net.new_cache(2), StaticStep(net, tokens)
    for at in range(LENGTH):
        one = tokens.map(lambda part, at=at: part[:, at : at + 1])  # type: ignore[misc]
        count = torch.ones(2, dtype=torch.int32)
        logits = net.step(one, count=count, cache=cache)
        assert (logits - whole[:, at]).abs().max() < STEP_ERROR
        assert torch.equal(static(one, count, None), whole[:, at].argmax(-1))


@both
@torch.no_grad()
def test_an_exact_context_remembers_vectors_and_predicts_as_with_frames(images: Images) -> None:
    net = model(images, context="exact").double()
    tokens = rows(2)
    encoded = net.encode(tokens, torch.tensor([LENGTH, LENGTH]))
    assert isinstance(encoded.observation, Tensor)
    assert encoded.observation.shape == (2, LENGTH, WIDTH)
    assert torch.equal(net(encoded, encoded=True), net(tokens))


@both
def test_a_model_of_frames_is_one_graph_for_torch_compile(images: Images) -> None:
    net, tokens = model(images), rows(2, padding=3)
    graph = torch.compile(net, backend="eager", fullgraph=True, dynamic=False)
    found, expected = graph(tokens), net(tokens)
    assert (found - expected)[tokens.valid].abs().max() < FLOAT32_ERROR


@both
@pytest.mark.parametrize("context", ["banded", "exact"])
def test_a_frame_is_encoded_once_in_a_roll_out(images: Images, context: str) -> None:
    world = family("watermaze-small", {"height": 8, "width": 8})
    actions = int(world.action_space.n)
    net = model(images, context=context, space=world.observation_space, actions=actions)
    encoded: list[int] = []
    net.embed.observation.register_forward_hook(
        lambda _m, given, _o: encoded.append(given[0].numel() // (8 * 8 * 3))
    )
    policy: ModelPolicy = policy_of(net)
    played = rollout(
        policy, world, world.tasks("test", 2, seed=0), lanes_per_task=2, episodes=2, seed=0,
        stage="test",
    )  # fmt: skip
    steps, episodes = int(played.lengths.sum()), played.lengths.numel()
    # A token a step and one more an episode; nobody acts on the very last.
    assert steps + episodes - len(played.lengths) <= sum(encoded) <= steps + episodes
