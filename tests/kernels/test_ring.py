"""Stepping through the ring equals one banded pass over all tokens since a lane's reset.

B lanes, n new tokens a step, C slots, W window, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import (
    ImplementationUnavailableError,
    Intervals,
    RingCache,
    RingState,
    attention,
    choice,
    ring_append,
    ring_attention,
)
from adbench_kernels.ring_cache import serve
from adbench_kernels.ring_cache.storage import Layout

Draw = Callable[..., Tensor]
Agree = Callable[..., None]

LANES = 5

FLOAT32_ERROR = 2e-5
"""Of values of order 1: scores of up to 50 products, in base 2, with an exponential of 2e-8."""


class Steps:
    """Random steps in which lanes wait, bring fewer tokens than others, and reset at any time."""

    def __init__(
        self,
        draw: Draw,
        heads: int,
        key_heads: int,
        num_new: int,
        width: int = 8,
        resets: float = 0.06,
    ) -> None:
        self.draw, self.width, self.resets = draw, width, resets
        self.heads, self.key_heads, self.num_new = heads, key_heads, num_new
        self.source = torch.Generator().manual_seed(7)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        while True:
            q = self.draw(LANES, self.num_new, self.heads, self.width)
            k, v = (self.draw(LANES, self.num_new, self.key_heads, self.width) for _ in range(2))
            count = torch.randint(0, self.num_new + 1, (LANES,), generator=self.source)
            reset = torch.rand(LANES, generator=self.source) < self.resets
            yield q, k, v, count.int(), reset


class Past:
    """All that each lane has seen since its reset, attended to in one banded pass."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.tokens: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(LANES)]

    def expect(
        self, q: Tensor, k: Tensor, v: Tensor, count: Tensor, reset: Tensor | None
    ) -> Tensor:
        out = torch.zeros_like(q)
        for lane, seen in enumerate(self.tokens):
            if reset is not None and reset[lane]:
                seen.clear()
            new = int(count[lane])
            seen.extend(zip(q[lane, :new], k[lane, :new], v[lane, :new], strict=True))
            if new:
                qkv = (torch.stack(part)[None] for part in zip(*seen, strict=True))
                banded = attention(
                    *qkv, intervals=Intervals.window(self.window), implementation="reference"
                )
                out[lane, :new] = banded[0, -new:]
        return out

    @property
    def longest(self) -> int:
        return max(len(seen) for seen in self.tokens)


@pytest.mark.parametrize("layout", ["slots", "blocks"])
@pytest.mark.parametrize(
    ("heads", "key_heads", "num_new", "window", "capacity"),
    [(4, 4, 1, 5, 5), (4, 2, 1, 1, 1), (4, 2, 3, 5, 7), (4, 1, 3, 4, 9), (2, 2, 4, 7, 16)],
)
def test_stepping_equals_banded_attention_row_by_row(
    heads: int, key_heads: int, num_new: int, window: int, capacity: int, layout: Layout,
    draw: Draw, agree: Agree,
) -> None:  # fmt: skip
    cache = RingCache(LANES, capacity, key_heads, 8, torch.float64, layout=layout)
    past, longest = Past(window), 0
    for step, (q, k, v, count, reset) in enumerate(Steps(draw, heads, key_heads, num_new)):
        ring_append(cache, k, v, count=count, reset=reset)
        out = ring_attention(q, cache, window=window, count=count)
        agree(out, past.expect(q, k, v, count, reset))
        longest = max(longest, past.longest)
        if step == 60:
            break
    assert longest > 2 * capacity, "the ring never wrapped: this test shows nothing"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("heads", "key_heads", "width", "num_new", "window", "capacity"),
    [
        (2, 2, 16, 1, 1, 1),
        (2, 2, 16, 1, 17, 17),
        (4, 2, 16, 3, 15, 17),
        (2, 1, 32, 1, 40, 48),
        (2, 2, 48, 5, 33, 41),
    ],
)
def test_the_cpu_kernel_equals_the_definition(
    heads: int, key_heads: int, width: int, num_new: int, window: int, capacity: int,
    threads: int, draw: Draw, agree: Agree,
) -> None:  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    fast = RingCache(LANES, capacity, key_heads, width)
    exact = RingCache(LANES, capacity, key_heads, width, torch.float64)
    steps, most = Steps(draw, heads, key_heads, num_new, width, 0.2 / capacity), 0
    try:
        for index, (q, k, v, count, reset) in enumerate(steps):
            ring_append(exact, k, v, count=count, reset=reset)
            ring_append(fast, k.float(), v.float(), count=count, reset=reset)
            right = ring_attention(q, exact, window=window, implementation="reference")
            actual = ring_attention(q.float(), fast, window=window, implementation="numba")
            agree(actual, right, error=FLOAT32_ERROR)
            most = max(most, int(exact.state.length.max()))
            if index == 8 * capacity:
                break
    finally:
        torch.set_num_threads(before)
    assert most > 2 * capacity, "the ring never wrapped: this test shows nothing"


def test_the_cpu_kernel_takes_any_scores(draw: Draw, agree: Agree) -> None:
    cache = RingCache(2, 20, 2, 16)
    for _ in range(25):
        q, k, v = (draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(3))
        ring_append(cache, k * 1e3, v)
        out = ring_attention(q * 1e3, cache, window=20, implementation="numba")
        right = ring_attention(q * 1e3, cache, window=20, implementation="reference")
        agree(out, right, error=FLOAT32_ERROR)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_outcome_does_not_depend_on_the_number_of_threads(threads: int, draw: Draw) -> None:
    cache = RingCache(5, 20, 3, 16)
    for _ in range(25):
        ring_append(cache, *(draw(5, 1, 3, 16, dtype=torch.float32) for _ in range(2)))
    q = draw(5, 1, 3, 16, dtype=torch.float32)
    before = torch.get_num_threads()
    alone = ring_attention(q, cache, window=20, implementation="numba")
    torch.set_num_threads(threads)
    try:
        assert torch.equal(ring_attention(q, cache, window=20, implementation="numba"), alone)
    finally:
        torch.set_num_threads(before)


def test_layers_share_one_state(draw: Draw, agree: Agree) -> None:
    state = RingState(LANES, 8)
    layers = [RingCache(LANES, 8, 2, 8, torch.float64, state=state) for _ in range(3)]
    pasts = [Past(6) for _ in layers]
    for index, (_, _, _, count, reset) in enumerate(Steps(draw, 4, 2, 2)):
        step = state.advance(2, count=count, reset=reset)
        for cache, past in zip(layers, pasts, strict=True):
            q, k, v = draw(LANES, 2, 4, 8), draw(LANES, 2, 2, 8), draw(LANES, 2, 2, 8)
            ring_append(cache, k, v, step=step)
            out = ring_attention(q, cache, window=6, step=step)
            agree(out, past.expect(q, k, v, count, reset))
        if index == 30:
            break


def test_all_tokens_are_real_and_no_lane_resets_unless_said(draw: Draw, agree: Agree) -> None:
    cache, past = RingCache(LANES, 6, 2, 8, torch.float64), Past(4)
    for _ in range(5):
        q, k, v = (draw(LANES, 3, 2, 8) for _ in range(3))
        ring_append(cache, k, v)
        everything = torch.full((LANES,), 3)
        agree(ring_attention(q, cache, window=4), past.expect(q, k, v, everything, None))
    assert cache.state.length.tolist() == [15] * LANES


@pytest.mark.parametrize("layout", ["slots", "blocks"])
def test_a_lane_that_waits_keeps_its_ring_and_gets_zero(layout: Layout, draw: Draw) -> None:
    cache = RingCache(2, 4, 2, 8, layout=layout)
    k, v, q = (draw(2, 1, 2, 8, dtype=torch.float32) for _ in range(3))
    ring_append(cache, k, v)
    before = cache.by_slot()[0][1].clone()
    nan = torch.full_like(k, torch.nan)
    ring_append(cache, nan, nan, count=torch.tensor([1, 0]))
    assert torch.equal(cache.by_slot()[0][1], before)
    out = ring_attention(q, cache, window=4)
    assert (out[1] == 0).all()
    ring_append(cache, k, v, count=torch.tensor([0, 1]))
    assert ring_attention(q, cache, window=4)[1].isfinite().all()


def test_a_reset_lane_sees_nothing_of_its_past(draw: Draw) -> None:
    cache = RingCache(2, 4, 2, 8)
    for _ in range(6):
        ring_append(cache, *(draw(2, 1, 2, 8, dtype=torch.float32) * 1e3 for _ in range(2)))
    q, k, v = (draw(2, 1, 2, 8, dtype=torch.float32) for _ in range(3))
    ring_append(cache, k, v, reset=torch.tensor([True, False]))
    out = ring_attention(q, cache, window=4)
    assert torch.equal(out[0], v[0])
    assert not torch.allclose(out[1], v[1])


def test_lanes_do_not_depend_on_their_neighbours(draw: Draw) -> None:
    many, one = RingCache(LANES, 7, 2, 8), RingCache(1, 7, 2, 8)
    for index, (q, k, v, count, reset) in enumerate(Steps(draw, 2, 2, 2)):
        q, k, v = (x.float() for x in (q, k, v))
        ring_append(many, k, v, count=count, reset=reset)
        ring_append(one, k[3:4], v[3:4], count=count[3:4], reset=reset[3:4])
        together = ring_attention(q, many, window=6)[3:4]
        alone = ring_attention(q[3:4], one, window=6)
        assert torch.allclose(together, alone, rtol=0, atol=1e-6)
        if index == 20:
            break


@pytest.mark.parametrize("fault", ["window too wide", "window too narrow", "reset forgotten"])
def test_a_planted_fault_is_caught(fault: str, draw: Draw, agree: Agree) -> None:
    cache, past = RingCache(LANES, 12, 2, 8, torch.float64), Past(6)
    window = {"window too wide": 7, "window too narrow": 5}.get(fault, 6)
    with pytest.raises(AssertionError, match="off by"):
        for index, (q, k, v, count, reset) in enumerate(Steps(draw, 2, 2, 1)):
            forgotten = reset & False if fault == "reset forgotten" else reset
            ring_append(cache, k, v, count=count, reset=forgotten)
            agree(
                ring_attention(q, cache, window=window, count=count),
                past.expect(q, k, v, count, reset),
            )
            if index == 60:
                break


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("lanes", lambda: RingCache(0, 4, 2, 8)),
        ("capacity", lambda: RingCache(2, 0, 2, 8)),
        ("key_heads", lambda: RingCache(2, 4, 0, 8)),
        ("head_dim", lambda: RingCache(2, 4, 2, 0)),
        ("dtype", lambda: RingCache(2, 4, 2, 8, torch.int64)),
        ("dtype", lambda: RingCache(2, 4, 2, 8, torch.float8_e4m3fn)),
        ("lanes", lambda: RingCache(1.5, 4, 2, 8)),  # type: ignore[arg-type]
        ("capacity", lambda: RingCache(2, 1 << 62, 2, 8)),
        ("device", lambda: RingCache(2, 4, 2, 8, device="gpu")),
        ("device", lambda: RingState(2, 4, "cuda:99")),
        ("state", lambda: RingCache(2, 4, 2, 8, state=RingState(2, 4, "meta"))),
        ("layout", lambda: RingCache(2, 4, 2, 8, layout="rows")),  # type: ignore[arg-type]
        ("state", lambda: RingCache(2, 4, 2, 8, state=RingState(3, 4))),
        ("k", lambda: append(k=torch.zeros(2, 1, 3, 8))),
        ("k", lambda: append(k=torch.zeros(2, 5, 2, 8), v=torch.zeros(2, 5, 2, 8))),
        ("v", lambda: append(v=torch.zeros(2, 2, 2, 8))),
        ("count", lambda: append(count=torch.ones(3))),
        ("reset", lambda: append(reset=torch.ones(3, dtype=torch.bool))),
        ("step", lambda: append(count=torch.ones(2), step=RingState(2, 4).advance(1))),
        ("step", lambda: append(step=RingState(2, 4).advance(2))),
        ("step", lambda: append(step=RingState(3, 4).advance(1))),
        ("step", lambda: append(step=RingState(2, 5).advance(1))),
        ("step", lambda: append(step=RingState(2, 4, "meta").advance(1))),
        ("step", lambda: append(step=3)),
        ("step", lambda: attend(step=3)),
        ("step", lambda: attend(step=RingState(3, 4).advance(1))),
        ("k", lambda: append(k=[0.0])),
        ("q", lambda: attend(q=None)),
        ("q", lambda: attend(q=torch.zeros(2, 1, 0, 8))),
        ("count", lambda: append(count=torch.tensor([2, 1]))),
        ("count", lambda: append(count=torch.tensor([-1, 1]))),
        ("count", lambda: append(count=[1, 1])),
        ("count", lambda: append(count=torch.ones(2, dtype=torch.complex64))),
        ("count", lambda: attend(count=torch.tensor([2, 1]))),
        ("reset", lambda: append(reset=[True, False])),
        ("window", lambda: attend(window=1.5)),
        ("window", lambda: attend(window=None)),
        ("scale", lambda: attend(scale=float("nan"))),
        ("cache", lambda: attend(RingCache(2, 4, 2, 8))),
        ("q", lambda: attend(q=torch.zeros(2, 1, 3, 8))),
        ("q", lambda: attend(q=torch.zeros(2, 2, 2, 8))),
        ("k", lambda: append(k=torch.zeros(2, 1, 2, 8, dtype=torch.int64))),
        ("k", lambda: append(k=torch.zeros(2, 1, 2, 8, device="meta"))),
        ("count", lambda: append(count=torch.ones(2))),
        ("count", lambda: append(count=torch.ones(2, dtype=torch.int64, device="meta"))),
        ("reset", lambda: append(reset=torch.ones(2))),
        ("turns", lambda: append(turns=torch.zeros(2, 1, 8))),
        ("turns", lambda: attend(turns=torch.zeros(2, 1, 2, 8, device="meta"))),
        ("q", lambda: attend(q=torch.zeros(2, 1, 2, 8, dtype=torch.int64))),
        ("window", lambda: attend(window=5)),
        ("window", lambda: attend(window=0)),
        ("count", lambda: attend(count=torch.ones(3))),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_argument(
    argument: str, call: Callable[[], object]
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        call()


def append(**changes: Any) -> RingCache:
    cache = RingCache(2, 4, 2, 8)
    given = {"k": torch.zeros(2, 1, 2, 8), "v": torch.zeros(2, 1, 2, 8), **changes}
    ring_append(cache, **given)
    return cache


def attend(cache: RingCache | None = None, **changes: Any) -> Tensor:
    given = {"q": torch.zeros(2, 1, 2, 8), "window": 4, **changes}
    return ring_attention(cache=cache or append(), **given)


def test_a_ring_too_small_for_its_new_tokens_is_refused() -> None:
    cache = RingCache(2, 6, 2, 8)
    ring_append(cache, torch.zeros(2, 3, 2, 8), torch.zeros(2, 3, 2, 8))
    with pytest.raises(ValueError, match="leave a window of 1 to 4; got 5"):
        ring_attention(torch.zeros(2, 3, 2, 8), cache, window=5)


def test_what_cannot_run_here_raises() -> None:
    with pytest.raises(ImplementationUnavailableError, match="ring_attention has no 'triton'"):
        attend(implementation="triton")


def test_the_cpu_kernel_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"^implementation: 'numba' takes float32"):
        attend(implementation="numba")  # head width 8


def test_a_step_keeps_its_length_when_the_state_moves_on_in_place() -> None:
    state = RingState(2, 8)
    memory = state.length.data_ptr()
    step = state.advance(2, count=torch.tensor([2, 1]))
    state.advance(3, reset=torch.tensor([False, True]))
    assert (step.length.tolist(), state.length.tolist()) == ([2, 1], [5, 3])
    state.clear()
    assert (state.length.tolist(), state.length.data_ptr()) == ([0, 0], memory)


def test_queries_may_be_differentiated(draw: Draw) -> None:
    cache = RingCache(2, 4, 2, 16)
    ring_append(cache, *(draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(2)))
    q = draw(2, 1, 2, 16, dtype=torch.float32).requires_grad_()
    assert ring_attention(q, cache, window=4).requires_grad
    with pytest.raises(ValueError, match="requires_grad True"):
        ring_attention(q, cache, window=4, implementation="numba")


def test_without_numba_auto_is_the_reference_and_numba_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(package: str) -> bool:
        return False

    monkeypatch.setattr(choice, "installed", nothing)
    monkeypatch.setattr(serve, "installed", nothing)
    cache = RingCache(2, 4, 2, 16)
    ring_append(cache, torch.zeros(2, 1, 2, 16), torch.zeros(2, 1, 2, 16))
    assert (ring_attention(torch.zeros(2, 1, 2, 16), cache, window=4) == 0).all()
    with pytest.raises(ImplementationUnavailableError, match="pip install numba"):
        attend(implementation="numba")


def test_a_count_nobody_may_look_at_is_kept_within_its_bounds() -> None:
    """On a GPU, or traced: what is outside would be read past the end of what there is."""
    state = RingState(3, 8)

    def advance(count: Tensor) -> Tensor:
        return state.advance(2, count=count).length

    traced = torch.compile(advance, backend="eager")
    assert traced(torch.tensor([-1, 1, 5])).tolist() == [0, 1, 2]


def test_a_refused_append_leaves_the_ring_as_it_was() -> None:
    cache = RingCache(2, 4, 2, 8)
    for count in (torch.tensor([-1, 1]), torch.tensor([0, 2])):
        with pytest.raises(ValueError, match=r"^count: must be 0 to 1, .*; got "):
            ring_append(cache, torch.ones(2, 1, 2, 8), torch.ones(2, 1, 2, 8), count=count)
    assert cache.last_step is None
    assert cache.state.length.tolist() == [0, 0]
    assert not cache.keys.any()


@pytest.mark.parametrize("width", [8, 16])  # the definition, and the kernel for CPUs
def test_only_those_who_ask_are_answered(width: int, draw: Draw) -> None:
    cache = RingCache(3, 4, 2, width)
    q, k, v = (draw(3, 2, 2, width, dtype=torch.float32) for _ in range(3))
    ring_append(cache, k, v, count=torch.tensor([2, 2, 1]))
    every = ring_attention(q, cache, window=2)
    some = ring_attention(q, cache, window=2, count=torch.tensor([2, 1, 2]))
    assert torch.equal(some[0], every[0])
    assert torch.equal(some[1, 0], every[1, 0]) and not some[1, 1].any()
    assert torch.equal(some[2], every[2]) and not some[2, 1].any()


def test_nan_is_not_lost_on_the_way(draw: Draw) -> None:
    for part in range(3):
        given = [draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(3)]
        given[part][1, 0, 1, 3] = torch.nan
        q, k, v = given
        seen = []
        for name in ("reference", "numba"):
            cache = RingCache(2, 4, 2, 16)
            ring_append(cache, k, v)
            out = ring_attention(q, cache, window=3, implementation=name)
            seen.append(out.isnan())
        assert seen[0].any()
        assert torch.equal(*seen)


def test_torch_s_defaults_are_the_user_s_to_choose(draw: Draw) -> None:
    q, k, v = (draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(3))

    def attended() -> Tensor:
        cache = RingCache(2, 4, 2, 16)
        ring_append(cache, k, v)
        return ring_attention(q, cache, window=3, implementation="numba")

    expected = attended()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        actual = attended()
    finally:
        torch.set_default_device("cpu")
        torch.set_default_dtype(torch.float32)
    assert torch.equal(actual, expected)


def test_gradients_of_what_was_appended_reach_it_or_are_refused(draw: Draw) -> None:
    q, k, v = (draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(3))
    cache = RingCache(2, 4, 2, 16)
    ring_append(cache, k.requires_grad_(), v.requires_grad_())
    out = ring_attention(q, cache, window=3)
    assert (torch.autograd.grad(out.sum(), v)[0] == 1).all()  # it saw that token alone
    with pytest.raises(ValueError, match="requires_grad True"):
        ring_attention(q, cache, window=3, implementation="numba")


def test_a_copy_goes_its_own_way(draw: Draw) -> None:
    q, k, v = (draw(2, 1, 2, 16, dtype=torch.float32) for _ in range(3))
    cache = RingCache(2, 4, 2, 16)
    ring_append(cache, k, v)
    for copy in (deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert torch.equal(ring_attention(q, copy, window=3), ring_attention(q, cache, window=3))
        ring_append(copy, v, k)
        assert copy.state.length.tolist() == [2, 2]
        assert cache.state.length.tolist() == [1, 1]
