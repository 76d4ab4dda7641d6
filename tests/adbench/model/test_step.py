"""Stepping through ring caches is one forward pass over everything since a lane's reset."""

from __future__ import annotations

import pytest
import torch

STEP_ERROR = 1e-9
"""Float64 logits of order 1 after a few hundred operations; rounding leaves 1e-15."""
FLOAT32_ERROR = 1e-4
"""Relative; the band's sums are taken in another order."""


def drive(model, tokens, take, *, seed=0, resets=0.05, most=2):
    """Feed each lane 0 to `most` tokens a step, some lanes reset; every step's logits and spans.

    Yields (logits [N, A], lane, first token since the lane's reset, one past its last token).
    """
    draw = torch.Generator().manual_seed(seed)
    lanes, length = tokens.shape
    cache = model.new_cache(lanes)
    at, start = torch.zeros(2, lanes, dtype=torch.int64)
    while bool((at < length).any()):
        count = torch.randint(0, most + 1, (lanes,), generator=draw).minimum(length - at)
        reset = torch.rand(lanes, generator=draw) < resets
        start = torch.where(reset, at, start)
        places = (at[:, None] + torch.arange(most)).clamp(max=length - 1)
        logits = model.step(take(tokens, places), count=count, cache=cache, reset=reset)
        at = at + count
        for lane in range(lanes):
            if count[lane]:
                yield logits[lane], lane, int(start[lane]), int(at[lane])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_stepping_is_one_forward_pass_past_the_wrap_with_staggered_resets(
    model, history, take, layout, norm
):
    net = model(layout=layout, norm=norm).double()
    tokens = history(4, 70)  # ten windows: rings of 16 and 32 slots wrap several times
    resets = 0
    for logits, lane, start, end in drive(net, tokens, take):
        row = tokens.map(lambda x, b=lane, s=start, e=end: x[b : b + 1, s:e])
        resets += start > 0
        assert (net(row)[0, -1] - logits).abs().max() < STEP_ERROR
    assert resets > 10


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_stepping_in_float32_takes_the_same_actions(model, history, take, layout):
    net = model(layout=layout, width=32)  # head width 16: the vector kernel's
    tokens = history(3, 50)
    for logits, lane, start, end in drive(net, tokens, take):
        row = tokens.map(lambda x, b=lane, s=start, e=end: x[b : b + 1, s:e])
        expected = net(row)[0, -1]
        assert (expected - logits).abs().max() < FLOAT32_ERROR * expected.abs().max()
        assert expected.argmax() == logits.argmax()


@torch.no_grad()
def test_a_long_prompt_is_taken_in_by_parts(model, history, take):
    net = model().double()
    tokens = history(3, 40)
    for logits, lane, start, end in drive(net, tokens, take, most=9, resets=0.1):
        row = tokens.map(lambda x, b=lane, s=start, e=end: x[b : b + 1, s:e])
        assert (net(row)[0, -1] - logits).abs().max() < STEP_ERROR


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_a_waiting_lane_changes_nothing_and_spoils_nothing(model, history, take, layout):
    net = model(layout=layout).double()
    tokens = history(2, 20)
    alone, beside = net.new_cache(2), net.new_cache(2)
    both, waits = torch.tensor([1, 1]), torch.tensor([1, 0])
    for at in range(20):
        part = take(tokens, torch.full((2, 1), at))
        expected = net.step(part, count=both, cache=alone)
        # Lane 1 starts with an empty memory and waits before every one of its steps.
        net.step(part, count=torch.tensor([0, 0]), cache=beside)
        first = net.step(part, count=waits, cache=beside)[0]
        second = net.step(part, count=1 - waits, cache=beside)[1]
        assert (torch.stack((first, second)) - expected).abs().max() < STEP_ERROR


@torch.no_grad()
def test_positions_far_out_are_as_exact_as_near_ones(model, history, take):
    """Past N (W - 1) + 1 tokens the outset is forgotten, so only the positions differ."""
    net = model(width=32)
    tokens = history(2, 40)
    last = []
    for offset in (0, 100_000):
        cache = net.new_cache(2)
        cache.state.length += offset
        for at in range(40):
            part = take(tokens, torch.full((2, 1), at))
            logits = net.step(part, count=torch.ones(2, dtype=torch.int64), cache=cache)
        last.append(logits)
    assert (last[0] - last[1]).abs().max() < FLOAT32_ERROR * last[0].abs().max()


@torch.no_grad()
def test_recomputing_the_last_window_is_another_function(model, history):
    net, tokens = model().double(), history(2, 40)
    whole = net(tokens)[:, -1]
    window = net(tokens.map(lambda x: x[:, -net.window_steps :]))[:, -1]
    assert (whole - window).abs().max() > 1e-3


@torch.no_grad()
def test_a_ring_that_forgets_too_early_is_noticed(model, history, take):
    """A planted fault: the cache's window is one token short."""
    net, tokens = model().double(), history(3, 30)
    new_cache = net.new_cache

    def short(lanes):
        cache = new_cache(lanes)
        cache.window -= 1
        return cache

    net.new_cache = short
    worst = 0.0
    for logits, lane, start, end in drive(net, tokens, take, resets=0.0):
        row = tokens.map(lambda x, b=lane, s=start, e=end: x[b : b + 1, s:e])
        worst = max(worst, float((net(row)[0, -1] - logits).abs().max()))
    assert worst > 1e-4


def test_rings_share_their_bookkeeping_and_say_their_size(model):
    cache = model().new_cache(6)
    assert cache.lanes == 6
    assert all(ring.state is cache.state for ring in cache.rings)
    assert cache.num_bytes == 3 * 2 * 6 * 2 * (16 + 1) * 8 * 4
