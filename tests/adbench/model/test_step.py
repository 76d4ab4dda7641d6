"""Stepping through ring caches is one forward pass over everything since a lane's reset."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from adbench.model import DistillationModel
from adbench.model.cache import ModelCache
from adbench.tokens import Tokens

MakeModel = Callable[..., DistillationModel]
MakeHistory = Callable[..., Tokens]
Take = Callable[[Tokens, Tensor], Tokens]

STEP_ERROR = 1e-9
"""Float64 logits of order 1 after a few hundred operations; rounding leaves 1e-15."""
FLOAT32_ERROR = 1e-4
"""Relative; the band's sums are taken in another order."""


def part(tokens: Tokens, lane: int, start: int, end: int) -> Tokens:
    return tokens.map(lambda x: x[lane : lane + 1, start:end])


def drive(
    model: DistillationModel,
    tokens: Tokens,
    take: Take,
    *,
    seed: int = 0,
    resets: float = 0.05,
    most: int = 2,
) -> Iterator[tuple[Tensor, int, int, int]]:
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
    model: MakeModel, history: MakeHistory, take: Take, layout: str, norm: str
) -> None:
    net = model(layout=layout, norm=norm).double()
    tokens = history(3, 60)  # eight windows: rings of 16 and 32 slots wrap several times
    resets = 0
    for logits, lane, start, end in drive(net, tokens, take):
        row = part(tokens, lane, start, end)
        resets += start > 0
        assert (net(row)[0, -1] - logits).abs().max() < STEP_ERROR
    assert resets > 5


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_stepping_in_float32_takes_the_same_actions(
    model: MakeModel, history: MakeHistory, take: Take, layout: str
) -> None:
    net = model(layout=layout, width=32)  # head width 16: the vector kernel's
    tokens = history(2, 40)
    for logits, lane, start, end in drive(net, tokens, take):
        row = part(tokens, lane, start, end)
        expected = net(row)[0, -1]
        assert (expected - logits).abs().max() < FLOAT32_ERROR * expected.abs().max()
        assert expected.argmax() == logits.argmax()


@torch.no_grad()
def test_a_long_prompt_is_taken_in_by_parts(
    model: MakeModel, history: MakeHistory, take: Take
) -> None:
    net = model().double()
    tokens = history(3, 40)
    for logits, lane, start, end in drive(net, tokens, take, most=9, resets=0.1):
        row = part(tokens, lane, start, end)
        assert (net(row)[0, -1] - logits).abs().max() < STEP_ERROR


@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_a_waiting_lane_changes_nothing_and_spoils_nothing(
    model: MakeModel, history: MakeHistory, take: Take, layout: str
) -> None:
    net = model(layout=layout).double()
    tokens = history(2, 20)
    alone, beside = net.new_cache(2), net.new_cache(2)
    both, waits = torch.tensor([1, 1]), torch.tensor([1, 0])
    for at in range(20):
        seen = take(tokens, torch.full((2, 1), at))
        expected = net.step(seen, count=both, cache=alone)
        # Lane 1 starts with an empty memory and waits before every one of its steps.
        net.step(seen, count=torch.tensor([0, 0]), cache=beside)
        first = net.step(seen, count=waits, cache=beside)[0]
        second = net.step(seen, count=1 - waits, cache=beside)[1]
        assert (torch.stack((first, second)) - expected).abs().max() < STEP_ERROR


@torch.no_grad()
def test_positions_far_out_are_as_exact_as_near_ones(
    model: MakeModel, history: MakeHistory, take: Take
) -> None:
    """Past N (W - 1) + 1 tokens the outset is forgotten, so only the positions differ."""
    net = model(width=32)
    tokens = history(2, 40)
    last = []
    for offset in (0, 100_000):
        cache = net.new_cache(2)
        cache.state.length += offset
        for at in range(40):
            seen = take(tokens, torch.full((2, 1), at))
            logits = net.step(seen, count=torch.ones(2, dtype=torch.int64), cache=cache)
        last.append(logits)
    assert (last[0] - last[1]).abs().max() < FLOAT32_ERROR * last[0].abs().max()


@torch.no_grad()
def test_recomputing_the_last_window_is_another_function(
    model: MakeModel, history: MakeHistory
) -> None:
    net, tokens = model().double(), history(2, 40)
    whole = net(tokens)[:, -1]
    window = net(tokens.map(lambda x: x[:, -net.window_steps :]))[:, -1]
    assert (whole - window).abs().max() > 1000 * STEP_ERROR


@torch.no_grad()
def test_a_ring_that_forgets_too_early_is_noticed(
    model: MakeModel, history: MakeHistory, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: the cache's window is one token short."""
    net, tokens = model().double(), history(3, 30)
    new_cache = net.new_cache

    def short(lanes: int) -> ModelCache:
        cache = new_cache(lanes)
        cache.window -= 1
        return cache

    monkeypatch.setattr(net, "new_cache", short)
    worst = 0.0
    for logits, lane, start, end in drive(net, tokens, take, resets=0.0):
        row = part(tokens, lane, start, end)
        worst = max(worst, float((net(row)[0, -1] - logits).abs().max()))
    assert worst > 1000 * STEP_ERROR


def test_rings_share_their_bookkeeping_and_grow_with_the_lanes(model: MakeModel) -> None:
    few, many = model().new_cache(6), model().new_cache(12)
    assert (few.lanes, many.lanes) == (6, 12)
    assert all(ring.state is few.state for ring in few.rings)
    # Keys and values of 3 layers and at least window + 1 tokens of 16 float32 a lane.
    assert few.num_bytes >= 2 * 3 * (7 + 1) * 16 * 4 * 6
    assert many.num_bytes == 2 * few.num_bytes


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layout", ["transition", "interleaved"])
@torch.no_grad()
def test_all_blocks_at_once_are_the_blocks_one_by_one(
    model: MakeModel, history: MakeHistory, take: Take, layout: str, norm: str
) -> None:
    net, tokens = model(layout=layout, norm=norm, width=32), history(5, 60)
    at_once, one_by_one = net.new_cache(5), net.new_cache(5, fused=False)
    assert at_once.stack is not None and one_by_one.stack is None
    draw = torch.Generator().manual_seed(0)
    for at in range(40):
        seen = take(tokens, torch.full((5, 1), at) + torch.arange(2))
        count = torch.randint(0, 3, (5,), generator=draw)
        count[0] = 1  # somebody is there to be compared
        reset = torch.rand(5, generator=draw) < 0.05
        actual, expected = (
            net.step(seen, count=count, cache=cache, reset=reset)[count > 0]
            for cache in (at_once, one_by_one)
        )
        assert (expected - actual).abs().max() < FLOAT32_ERROR * expected.abs().max()


@torch.no_grad()
def test_one_memory_serves_steps_with_and_without_gradients(
    model: MakeModel, history: MakeHistory, take: Take
) -> None:
    net, tokens = model(width=32), history(2, 20)
    mixed, plain = net.new_cache(2), net.new_cache(2, fused=False)
    count = torch.ones(2, dtype=torch.int64)
    for at in range(20):
        seen = take(tokens, torch.full((2, 1), at))
        with torch.set_grad_enabled(at % 3 == 0):
            actual = net.step(seen, count=count, cache=mixed)
        assert actual.requires_grad == (at % 3 == 0)
        expected = net.step(seen, count=count, cache=plain)
        assert (expected - actual).abs().max() < FLOAT32_ERROR * expected.abs().max()


@pytest.mark.parametrize("sizes", [{"width": 16}, {"width": 32, "feedforward": 40}])
def test_sizes_that_no_kernel_takes_go_block_by_block(
    model: MakeModel, sizes: dict[str, int]
) -> None:
    assert model(**sizes).new_cache(2).stack is None
    assert model(width=32).double().new_cache(2).stack is None
