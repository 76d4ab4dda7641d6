"""A step over buffers that never move does what a step does: what a CUDA graph replays is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from adbench.model import DistillationModel
from adbench.model.arena import Arena
from adbench.model.static import StaticStep, static_step
from adbench.tokens import Tokens

MakeModel = Callable[..., DistillationModel]
MakeHistory = Callable[..., Tokens]
Take = Callable[[Tokens, Tensor], Tokens]

LANES = 4


def steps(
    tokens: Tokens, take: Take, actions: int
) -> Iterator[tuple[Tokens, Tensor, Tensor, Tensor]]:
    """(tokens [N, 1 or 2], count, reset, noise): some lanes wait, some but the first are reset."""
    draw = torch.Generator().manual_seed(0)
    length = tokens.shape[1]
    at = torch.zeros(LANES, dtype=torch.int64)
    for index in range(length // 2):
        new = 1 + index % 2
        count = torch.randint(0, new + 1, (LANES,), generator=draw)
        places = (at[:, None] + torch.arange(new)).clamp(max=length - 1)
        reset = torch.rand(LANES, generator=draw) < 0.1
        reset[0] = False
        uniform = torch.rand(LANES, actions, generator=draw).clamp(1e-6, 1 - 1e-6)
        yield take(tokens, places), count, reset, -(-uniform.log()).log()
        at += count


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_static_steps_take_the_actions_of_steps_past_the_wrap_with_staggered_resets(
    model: MakeModel, history: MakeHistory, take: Take, layout: str
) -> None:
    net = model(layout=layout).double()
    tokens = history(LANES, 100)
    cache = net.new_cache(LANES)
    static = StaticStep(net, tokens)
    buffers = static.cache.state.length.data_ptr(), static.action.data_ptr()
    sampled, likeliest = 0, 0
    for index, (new, count, reset, noise) in enumerate(steps(tokens, take, net.num_actions)):
        logits = net.step(new, count=count, cache=cache, reset=reset)
        given = noise if index % 5 else None
        expected = (logits if given is None else logits + given).argmax(-1)
        actual = static(new, count, given, reset)
        real = count > 0
        assert torch.equal(actual[real], expected[real])
        sampled += int((expected != logits.argmax(-1))[real].sum())
        likeliest += int((expected == logits.argmax(-1))[real].sum())
    assert int(cache.state.length.max()) > 3 * net.window_tokens
    assert torch.equal(static.cache.state.length, cache.state.length)
    assert (static.cache.state.length.data_ptr(), static.action.data_ptr()) == buffers
    assert sampled > 10 and likeliest > 10, "the noise decided always or never"


@torch.no_grad()
def test_what_came_out_before_is_not_overwritten(
    model: MakeModel, history: MakeHistory, take: Take
) -> None:
    net, tokens = model(), history(LANES, 20)
    static = StaticStep(net, tokens)
    outs = [static(*step[:2], step[3], step[2]) for step in steps(tokens, take, net.num_actions)]
    kept = [out.clone() for out in outs]
    static(take(tokens, torch.zeros(LANES, 1, dtype=torch.int64)), torch.ones(LANES), None)
    assert all(torch.equal(out, copy) for out, copy in zip(outs, kept, strict=True))


@torch.no_grad()
def test_forgetting_begins_anew_in_the_same_memory(
    model: MakeModel, history: MakeHistory, take: Take
) -> None:
    net, tokens = model(), history(LANES, 30)
    static, rounds = StaticStep(net, tokens), []
    for _ in range(2):
        rounds.append(
            [static(new, count, noise) for new, count, _, noise in steps(tokens, take, 5)]
        )
        static.forget()
    assert all(torch.equal(*both) for both in zip(*rounds, strict=True))


def test_buffers_fit_tokens_like_theirs_and_weights_that_stay(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model(), history(LANES, 3)
    static = static_step(net, tokens)
    assert static.fits(tokens.map(lambda x: x[:, :1]))
    assert not static.fits(tokens.map(lambda x: x[:2]))
    assert not static.fits(Tokens(tokens.observation, tokens.previous_action,
                                  tokens.previous_reward.double(), tokens.ending,
                                  tokens.action, tokens.valid))  # fmt: skip
    net.double()
    assert not static.fits(tokens)


def test_more_tokens_than_an_episodes_end_brings_are_refused(
    model: MakeModel, history: MakeHistory
) -> None:
    static = StaticStep(model(), history(LANES, 3))
    with pytest.raises(ValueError, match="at most 2 tokens"):
        static(history(LANES, 3), torch.ones(LANES), None)


def test_an_arena_cuts_tensors_that_do_not_overlap_out_of_one_memory() -> None:
    shapes = {
        "count": ((3,), torch.int32),
        "flag": ((5,), torch.bool),
        "frame": ((2, 3, 4), torch.uint8),
        "noise": ((3, 7), torch.float32),
    }
    arena = Arena(shapes, torch.device("cpu"))
    assert {x.untyped_storage().data_ptr() for x in arena.here.values()} == {
        arena.here["count"].untyped_storage().data_ptr()
    }
    values = {
        name: torch.full(shape, index + 1).to(dtype)
        for index, (name, (shape, dtype)) in enumerate(shapes.items())
    }
    arena.fill({**values}, torch.device("cpu"))
    for name, value in values.items():
        assert torch.equal(arena.here[name], value)
        assert arena.here[name].data_ptr() % 16 == arena.here["count"].data_ptr() % 16
    one_frame = torch.arange(4, dtype=torch.uint8).view(1, 4).expand(2, 1, 4)
    arena.fill({**values, "frame": one_frame, "noise": None}, torch.device("cpu"))
    assert torch.equal(arena.here["frame"], one_frame.expand(2, 3, 4))
    assert not arena.here["noise"].any()
