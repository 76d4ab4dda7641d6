"""What a prediction depends on: causality, the window, padding, layouts, regularisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench.config import ModelConfig, RunConfig, TrainConfig
from adbench.errors import ConfigError, UsageError
from adbench.model import DistillationModel, forward_flops, training_flops
from adbench.model.block import Block
from adbench.tokens import NO_ACTION, Tokens
from adbench_kernels import rotary_attention, rotary_turns

MakeModel = Callable[..., DistillationModel]
MakeHistory = Callable[..., Tokens]

ASKING_ERROR = 1e-9
"""Float64; sums of fewer rows are taken in another order, which leaves 1e-15."""

BFLOAT16_ERROR = 0.05
"""Of the largest: a few dozen roundings of 2^-9 each on the way."""

LAYOUTS = pytest.mark.parametrize("layout", ["transition", "interleaved"])


def part(tokens: Tokens, row: int, start: int, end: int) -> Tokens:
    return tokens.map(lambda x: x[row : row + 1, start:end])


def changed(tokens: Tokens, at: int, **fields: Any) -> Tokens:
    """Tokens with some fields of token `at` of every row replaced."""

    def put(x: Tensor, value: Any) -> Tensor:
        x = x.clone()
        x[:, at] = torch.as_tensor(value, dtype=x.dtype)
        return x

    return dataclasses.replace(
        tokens, **{name: put(getattr(tokens, name), value) for name, value in fields.items()}
    )


@LAYOUTS
@torch.no_grad()
def test_a_prediction_does_not_know_the_future(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    net, tokens = model(layout=layout).double(), history(2, 20, ends=0.0)
    other = changed(tokens, 12, observation=3, previous_reward=9.0, previous_action=0)
    before, after = net(tokens), net(other)
    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] != after[:, 12:]).any(-1).all()


@LAYOUTS
@torch.no_grad()
def test_banded_layers_see_exactly_as_far_as_stated(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    """N layers of a window of W tokens carry information from N (W - 1) + 1 tokens back."""
    net, tokens = model(layout=layout, layers=2).double(), history(1, 60, ends=0.0)
    reach = 2 * (net.window_tokens - 1) // net.tokens_per_step
    logits, other = net(tokens), net(changed(tokens, 20, observation=3))
    moved = (logits != other).any(-1)[0].nonzero()[:, 0]
    assert moved.min() == 20
    assert moved.max() == 20 + reach


@LAYOUTS
@torch.no_grad()
def test_padding_and_neighbours_do_not_matter(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    net, tokens = model(layout=layout).double(), history(3, 24)
    length = torch.tensor([24, 9, 1])
    valid = torch.arange(24) < length[:, None]
    padded = dataclasses.replace(tokens, valid=valid)
    noise = history(3, 24, seed=9)
    assert isinstance(tokens.observation, Tensor)
    assert isinstance(noise.observation, Tensor)
    junk = dataclasses.replace(
        padded,
        observation=torch.where(valid[..., None], tokens.observation, noise.observation),
        previous_action=torch.where(valid, tokens.previous_action, noise.previous_action),
        previous_reward=torch.where(valid, tokens.previous_reward, 1e3),
    )
    for logits in (net(padded), net(junk)):
        for row, n in enumerate(length.tolist()):
            alone = net(part(tokens, row, 0, n))
            assert (logits[row, :n] - alone[0]).abs().max() < 1e-12


@torch.no_grad()
def test_interleaved_rows_hold_three_vectors_of_every_token(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model(layout="interleaved").double(), history(3, 15, ends=0.3)
    valid = torch.arange(15) < torch.tensor([15, 9, 1])[:, None]
    vectors = net.embed(tokens, valid)
    assert vectors.count.tolist() == [45, 27, 3]
    for row in range(3):
        for at in range(15):
            one = part(tokens, row, at, at + 1)
            lone = net.embed(one, one.valid)
            assert torch.equal(vectors.x[row, 3 * at : 3 * at + 3], lone.x[0])
    action, outcome = net.embed.previous_action.weight[0], net.embed.reward_and_ending[1]
    starts = vectors.x.unflatten(1, (-1, 3))[tokens.first]
    assert len(starts) > 3
    assert torch.allclose(starts[:, 0], action.expand_as(starts[:, 0]))
    assert torch.allclose(starts[:, 1], outcome.expand_as(starts[:, 1]))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layers", [1, 3])
def test_asking_only_where_an_action_is_predicted_changes_nothing(
    model: MakeModel,
    history: MakeHistory,
    monkeypatch: pytest.MonkeyPatch,
    norm: str,
    layers: int,
) -> None:
    net = model(layout="interleaved", norm=norm, layers=layers).double()
    tokens = history(2, 17, ends=0.3)
    drawn = torch.randn(2, 17, 5, generator=torch.Generator().manual_seed(0)).double()

    def gradients() -> tuple[Tensor, list[Tensor]]:
        logits = net(tokens)
        return logits.detach(), list(
            torch.autograd.grad(logits, list(net.parameters()), drawn, allow_unused=True)
        )

    def everywhere(self: Block, x: Tensor, attend: object, asked: slice) -> Tensor:
        turns = rotary_turns(torch.arange(x.shape[1]), x.shape[-1] // self.heads, x.dtype)
        out: Tensor = self(x, lambda qkv: rotary_attention(qkv, turns, window=net.window_tokens))
        return out[:, asked]

    few, few_gradients = gradients()
    monkeypatch.setattr(Block, "ask", everywhere)
    all_of_them, all_gradients = gradients()
    assert (few - all_of_them).abs().max() < ASKING_ERROR
    named = zip(net.named_parameters(), few_gradients, all_gradients, strict=True)
    for (name, _), ours, theirs in named:
        if name == "embed.blank":  # in training alone
            continue
        assert theirs.abs().max() > 0, name
        assert (ours - theirs).abs().max() < ASKING_ERROR * theirs.abs().max(), name


def test_the_last_layer_works_for_no_others_than_those_who_ask(
    model: MakeModel, history: MakeHistory
) -> None:
    net = model(layout="interleaved", layers=2)
    rows: list[int] = []
    for block in net.blocks:
        assert isinstance(block, Block)
        block.hidden_in.register_forward_hook(lambda _m, x, _y: rows.append(x[0].shape[1]))
    net(history(1, 10))
    assert rows == [30, 10]


@LAYOUTS
@torch.no_grad()
def test_a_window_holds_as_many_tokens_wherever_episodes_begin(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    net = model(layout=layout, layers=1).double()
    tokens = history(1, 30, ends=0.5)
    logits, other = net(tokens), net(changed(tokens, 10, observation=3))
    moved = (logits != other).any(-1)[0].nonzero()[:, 0]
    # Of token 10 the observation comes last: it is seen until it is the window's oldest vector.
    last = 10 + net.window_steps - 1
    assert (moved.min(), moved.max()) == (10, last)


@LAYOUTS
@torch.no_grad()
def test_a_reward_on_an_episode_s_last_step_is_in_the_window(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    net, tokens = model(layout=layout).double(), history(4, 20, ends=0.25)
    rewards = torch.where(tokens.ending > 0, 1.0, 0.0)
    none = dataclasses.replace(tokens, previous_reward=torch.zeros_like(rewards))
    some = dataclasses.replace(tokens, previous_reward=rewards)
    moved = (net(none) != net(some)).any(-1)
    first_final = rewards.argmax(1)
    for row in range(4):
        assert not moved[row, : first_final[row]].any()
        # Also in the episode that follows, which is what learning across episodes needs.
        assert moved[row, first_final[row] : first_final[row] + 3].all()


@LAYOUTS
@torch.no_grad()
def test_how_an_episode_ended_is_seen(model: MakeModel, history: MakeHistory, layout: str) -> None:
    net, tokens = model(layout=layout).double(), history(1, 10, ends=0.0)
    ended = [net(changed(tokens, 6, ending=how)) for how in (0, 1, 2)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (ended[a][0, 6:] != ended[b][0, 6:]).any()


@torch.no_grad()
def test_rewards_enter_linearly_and_none_is_not_nought(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model().double(), history(1, 3, ends=0.0)
    at = [net.embed(changed(tokens, 1, previous_reward=r), tokens.valid).x[0, 1] for r in (0, 1, 3)]
    assert torch.allclose(at[2] - at[0], 3 * (at[1] - at[0]))
    first = changed(tokens, 1, previous_reward=0.0, previous_action=NO_ACTION)
    action = net.embed.previous_action.weight
    gap = net.embed(first, tokens.valid).x[0, 1] - at[0]
    without_action = gap - action[0] + action[1 + tokens.previous_action[0, 1]]
    assert torch.allclose(without_action, net.embed.reward_and_ending[1])
    assert without_action.abs().max() > 0.1


def test_exact_rows_are_no_longer_than_their_context(
    model: MakeModel, history: MakeHistory
) -> None:
    for positions in ("rotary", "learned"):
        net = model(positions=positions, train={"context": "exact"})
        assert net(history(1, 7)).shape == (1, 7, 5)
        with pytest.raises(UsageError, match=r"rows of 8 .* window_steps = 7.*last 7 tokens"):
            net(history(1, 8))
        with pytest.raises(UsageError, match="context = exact"):
            net.new_cache(2)


def test_learned_positions_are_for_exact_contexts_alone() -> None:
    with pytest.raises(ConfigError, match="positions = learned"):
        RunConfig.parse({"env": "dark-room", "model": {"positions": "learned"}})


@torch.no_grad()
def test_learned_positions_tell_places_apart(model: MakeModel, history: MakeHistory) -> None:
    net = model(positions="learned", layers=1, train={"context": "exact"}).double()
    same = history(1, 7, ends=0.0).map(lambda x: x[:, 1:2].expand(-1, 6, *x.shape[2:]))
    logits = net(same)[0]
    assert (logits[1:] != logits[:-1]).any(-1).all()
    assert net.positions is not None
    net.positions.zero_()
    assert (net(same)[0] - net(same)[0, 0]).abs().max() < 1e-12


def test_equal_generators_give_equal_weights_and_touch_no_global_one(model: MakeModel) -> None:
    before = torch.get_rng_state()
    one, two, other = model(seed=1), model(seed=1), model(seed=2)
    assert torch.equal(before, torch.get_rng_state())
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name])
    assert not torch.equal(one.head.weight, other.head.weight)
    # At the prototype's size: smaller embeddings learn later.
    assert 0.4 < float(one.embed.previous_action.weight.detach().std()) < 0.6


def test_token_masks_blank_whole_vectors_in_training_alone(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model(train={"token_mask": 0.4}), history(8, 40)
    plain = net.embed(tokens, tokens.valid).x
    net.train()
    torch.manual_seed(0)
    masked = net.embed(tokens, tokens.valid).x
    blank = (masked == net.embed.blank).all(-1)
    assert 0.3 < float(blank.float().mean()) < 0.5
    assert torch.equal(masked[~blank], plain[~blank])
    torch.manual_seed(0)
    assert torch.equal(net.embed(tokens, tokens.valid).x, masked)


@pytest.mark.parametrize("which", ["dropout", "attention_dropout"])
def test_dropout_acts_in_training_alone(model: MakeModel, history: MakeHistory, which: str) -> None:
    net, tokens = model(**{which: 0.5}), history(2, 10)
    assert torch.equal(net(tokens), net(tokens))
    net.train()
    assert not torch.equal(net(tokens), net(tokens))


def test_parameters_and_operations_are_what_arithmetic_says(model: MakeModel) -> None:
    net = model(width=16, layers=3, heads=2, feedforward=32)
    block = 4 * 16 * 16 + (16 * 32 + 32) + (32 * 16 + 16) + 4 * 16
    tables = 18 * 16 + 6 * 16 + 4 * 16 + 16
    assert net.num_parameters == 3 * block + tables + 2 * 16 + (16 * 5 + 5)
    config, train = (
        ModelConfig(width=16, layers=3, heads=2, feedforward=32),
        TrainConfig(window_steps=2, sequence_steps=4),
    )
    # Queries of a row of 4 see 1, 2, 2, 2 keys.
    pairs = 2 * 2 * 16 * (1 + 2 + 2 + 2) / 4
    weights = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    assert forward_flops(config, train, 5) == 3 * (weights + pairs) + 2 * 16 * 5
    assert training_flops(config, train, 5) == 3 * forward_flops(config, train, 5)


def test_a_last_layer_that_asks_at_a_third_costs_less(model: MakeModel) -> None:
    sizes = {"width": 16, "heads": 2, "feedforward": 32, "layout": "interleaved"}
    train = TrainConfig(window_steps=2, sequence_steps=4)
    one, two = (forward_flops(ModelConfig(layers=n, **sizes), train, 5) for n in (1, 2))
    # Queries of a row of 12 see 1 to 6 keys, then 6 each.
    pairs = 2 * 2 * 16 * (21 + 6 * 6) / 12
    keys_and_values = 2 * 2 * 16 * 16
    asking = pairs + 2 * (2 * 16 * 16 + 2 * 16 * 32)
    assert one == 3 * keys_and_values + asking + 2 * 16 * 5
    assert two - one == 3 * (keys_and_values + asking)


@LAYOUTS
@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_sixteen_bits_are_enough_for_a_prediction_and_every_gradient(
    model: MakeModel, history: MakeHistory, layout: str, how: str
) -> None:
    net, tokens = model(layout=layout, width=32), history(2, 14)
    exact = net(tokens)
    if how == "weights":
        net = net.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        logits = net(tokens)
    assert logits.dtype is torch.float32
    assert (logits - exact).abs().max() < BFLOAT16_ERROR * exact.abs().max()
    logits.square().sum().backward()
    for name, weight in net.named_parameters():
        if name != "embed.blank":
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all(), name


@LAYOUTS
def test_the_model_is_one_graph_for_torch_compile(
    model: MakeModel, history: MakeHistory, layout: str
) -> None:
    net, tokens = model(layout=layout, width=32), history(2, 14)
    graph = torch.compile(net, backend="eager", fullgraph=True, dynamic=False)
    assert torch.equal(graph(tokens), net(tokens))
