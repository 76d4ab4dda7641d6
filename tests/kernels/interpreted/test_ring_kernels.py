"""The ring's kernels equal banded attention in float64, past the wrap and across resets.

B lanes, n new tokens a step, C slots, W window, H query heads, G key heads, D head width, S parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import RingCache, RingStep, ring_append, ring_attention, rotary_turns, rotate
from adbench_kernels.configs import Tile, override
from adbench_kernels.ring_cache.triton import launch
from kernel_checks.memory import guarded
from kernel_checks.pairwise import pairwise
from kernel_checks.precision import assert_close
from kernel_checks.rings import NewTokens, Past, steps

LANES = 3

NARROW = Tile(block_m=16, block_n=16, num_warps=4, num_stages=1)
"""Blocks so narrow that a small window has several of them, and that they end within it."""

CASES = pairwise(
    {
        "new": (1, 2, 3, 4),
        "heads": ((1, 1), (4, 2), (6, 1)),
        "width": (16, 32, 64, 128, 24, 5),
        "window": (1, 16, 17, 33),
        "spare": (0, 1, 9),
        "dtype": (torch.float32, torch.float16, torch.bfloat16),
        "parts": (1, 2, 5),
    }
)


def empty_ring(capacity: int, key_heads: int, width: int, dtype: torch.dtype) -> RingCache:
    """A ring whose slots hold NaN until they are written."""
    cache = RingCache(LANES, capacity, key_heads, width, dtype, layout="slots")
    cache.keys.fill_(torch.nan)
    cache.values.fill_(torch.nan)
    return cache


@contextmanager
def in_parts(window: int, new: int, parts: int) -> Iterator[None]:
    """Inside, the tokens in view are walked through in so many parts."""
    tokens = max(1, (window + new - 1) // parts)
    with override("ring_decode", NARROW._replace(block_k=tokens)):
        assert launch.num_parts(window + new - 1, tokens) >= min(parts, window + new - 1)
        yield


def append(cache: RingCache, new: NewTokens) -> None:
    """Append a step's keys and values, which lie between NaN, by the kernel."""
    k, v = guarded(new.k), guarded(new.v)
    ring_append(cache, k, v, count=new.count, reset=new.reset, implementation="triton")


def attend(cache: RingCache, new: NewTokens, window: int) -> Tensor:
    """Attend to what was appended last, by the kernels."""
    return ring_attention(guarded(new.q), cache, window=window, implementation="triton")


def step(cache: RingCache, new: NewTokens, window: int) -> Tensor:
    """Both."""
    append(cache, new)
    return attend(cache, new, window)


def name(case: dict[str, Any]) -> str:
    return "-".join(str(value).removeprefix("torch.") for value in case.values())


@pytest.mark.parametrize("case", CASES, ids=name)
def test_stepping_equals_banded_attention_past_the_wrap_and_across_resets(
    case: dict[str, Any],
) -> None:
    new, (heads, key_heads) = case["new"], case["heads"]
    window, width, dtype = case["window"], case["width"], case["dtype"]
    capacity = window + new - 1 + case["spare"]
    cache, past = empty_ring(capacity, key_heads, width, dtype), Past(window, LANES)
    actual, exact = [], []
    number = 2 * capacity // new + 2
    looked_at = {0, 1, number // 4, number // 2, number - 2, number - 1}
    with in_parts(window, new, case["parts"]):
        for index, tokens in enumerate(
            steps(
                number, lanes=LANES, new=new, heads=heads, key_heads=key_heads, width=width,
                dtype=dtype, resets=1 / number,
            )
        ):  # fmt: skip
            append(cache, tokens)
            past.take(tokens)
            if index in looked_at:
                actual.append(attend(cache, tokens, window))
                exact.append(past.attend(tokens))
    assert past.longest > 2 * capacity, "the ring never wrapped: this test shows nothing"
    assert_close(torch.stack(actual), torch.stack(exact))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_turning_in_the_kernels_is_turning_before_them(dtype: torch.dtype) -> None:
    """Bit for bit: both turn in float32 and round once, as `rotate` does."""
    inside, before = (empty_ring(9, 2, 24, dtype) for _ in range(2))
    for new in steps(
        7, lanes=LANES, new=3, heads=4, key_heads=2, width=24, dtype=dtype, resets=0.1
    ):
        moved = inside.state.advance(3, count=new.count, reset=new.reset)
        turns = rotary_turns(moved.token, 24, torch.float32)
        ring_append(inside, new.k, new.v, step=moved, turns=turns, implementation="triton")
        out = ring_attention(new.q, inside, window=7, turns=turns, implementation="triton")
        turned = replace(new, q=rotate(new.q, turns), k=rotate(new.k, turns))
        assert torch.equal(out, step(before, turned, 7))
    written = inside.keys.isfinite()
    assert torch.equal(inside.keys[written], before.keys[written])
    assert written.float().mean() > 0.9


def test_the_number_of_parts_changes_nothing_but_rounding() -> None:
    tokens = list(
        steps(20, lanes=1, new=2, heads=4, key_heads=1, width=16, dtype=torch.float32, resets=0)
    )
    outs = []
    for parts in (1, 2, 5):
        cache = RingCache(1, 34, 1, 16, layout="slots")
        with in_parts(33, 2, parts):
            for new in tokens:
                append(cache, new)
            outs.append(attend(cache, new, 33))
    for other in outs[1:]:
        assert_close(other, outs[0].double())
        assert not torch.equal(other, outs[0]), "one part was taken each time"


def test_a_lane_is_the_same_bits_beside_any_other_lanes() -> None:
    tokens = list(
        steps(10, lanes=LANES, new=2, heads=4, key_heads=1, width=16, dtype=torch.float32,
              resets=0.1)
    )  # fmt: skip
    with in_parts(16, 2, 2):
        together = empty_ring(17, 1, 16, torch.float32)
        outs = torch.stack([step(together, new, 16) for new in tokens])
        for lane in range(LANES):
            alone = RingCache(1, 17, 1, 16, layout="slots")
            only = slice(lane, lane + 1)
            for index, new in enumerate(tokens):
                mine = NewTokens(
                    new.q[only], new.k[only], new.v[only], new.count[only], new.reset[only]
                )
                assert torch.equal(step(alone, mine, 16), outs[index, only])


def test_tokens_not_real_are_not_written_and_get_zero() -> None:
    cache = empty_ring(5, 2, 16, torch.float32)
    k, v, q = (
        torch.randn(LANES, 2, 2, 16, generator=torch.Generator().manual_seed(i)) for i in range(3)
    )
    count = torch.tensor([2, 1, 0])
    for x in (k, v, q):
        x[1, 1:], x[2] = torch.nan, torch.nan
    moved = ring_append(cache, k, v, count=count, implementation="triton")
    written = cache.keys.isfinite().all(-1).all(1)  # [B, C]
    assert written.tolist() == [
        [True, True, False, False, False],
        [True] + [False] * 4,
        [False] * 5,
    ]
    assert torch.equal(cache.keys[0, :, :2], k[0].transpose(0, 1))
    assert torch.equal(cache.values[1, :, 0], v[1, 0])
    out = ring_attention(q, cache, window=4, step=moved, implementation="triton")
    assert torch.equal(out[1, 0], v[1, 0])
    assert (out[1, 1] == 0).all() and (out[2] == 0).all()


def test_a_wrap_overwrites_the_oldest_slot_and_no_other() -> None:
    cache = empty_ring(3, 1, 16, torch.float32)
    for token in range(5):
        kv = torch.full((LANES, 1, 1, 16), float(token))
        ring_append(cache, kv, kv, implementation="triton")
    assert cache.values[0, 0, :, 0].tolist() == [3.0, 4.0, 2.0]


def test_later_tokens_cannot_matter() -> None:
    new = next(iter(steps(1, lanes=LANES, new=4, heads=2, key_heads=1, width=16,
                          dtype=torch.float32, resets=0)))  # fmt: skip
    everything = torch.full((LANES,), 4, dtype=torch.int32)
    outs = []
    for scale in (1.0, 1e3):
        cache = empty_ring(11, 1, 16, torch.float32)
        k, v = new.k.clone(), new.v.clone()
        k[:, 2:] *= scale
        v[:, 2:] *= scale
        outs.append(step(cache, NewTokens(new.q, k, v, everything, new.reset), 8))
    assert torch.equal(outs[0][:, :2], outs[1][:, :2])
    assert not torch.equal(outs[0][:, 2:], outs[1][:, 2:])


def test_scores_of_any_size_are_fine() -> None:
    cache, past = empty_ring(20, 2, 16, torch.float32), Past(20, LANES)
    with in_parts(20, 1, 2):
        for new in steps(25, lanes=LANES, new=1, heads=2, key_heads=2, width=16,
                         dtype=torch.float32, resets=0):  # fmt: skip
            large = replace(new, q=new.q * 1e3, k=new.k * 1e3)
            append(cache, large)
            past.take(large)
        out, exact = attend(cache, large, 20), past.attend(large)
    # A score of 1e6 is off by 0.1, but the largest of them takes all of the weight.
    assert_close(out, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_more_queries_than_a_program_takes_are_shared_out(dtype: torch.dtype) -> None:
    cache, past = empty_ring(9, 1, 16, dtype), Past(7, LANES)
    for new in steps(5, lanes=LANES, new=3, heads=30, key_heads=1, width=16, dtype=dtype, resets=0):
        append(cache, new)
        past.take(new)
    assert_close(attend(cache, new, 7), past.attend(new))


def test_no_lanes_are_no_work() -> None:
    keys = torch.zeros(0, 2, 5, 16)
    q, none = torch.zeros(0, 1, 4, 16), torch.zeros(0, dtype=torch.int64)
    kv = torch.zeros(0, 1, 2, 16)
    launch.append(keys, keys, kv, kv, none, none, None)
    assert launch.decode(q, keys, keys, none, none, 5, 1.0, None).shape == q.shape


@pytest.mark.parametrize("fault", ["window", "reset", "count", "slot"])
def test_a_planted_fault_is_caught(fault: str) -> None:
    """Off by one, or forgotten: each must push the comparison far over its tolerance."""
    cache, past, window = empty_ring(12, 1, 16, torch.float32), Past(6, LANES), 6
    cache.keys.zero_()
    cache.values.zero_()
    actual, exact = [], []
    for new in steps(16, lanes=LANES, new=2, heads=2, key_heads=1, width=16,
                     dtype=torch.float32, resets=0.1):  # fmt: skip
        past.take(new)
        reset = new.reset & False if fault == "reset" else new.reset
        count = new.count.clamp(max=1) if fault == "count" else new.count
        moved = cache.state.advance(2, count=count, reset=reset)
        written = RingStep(moved.length + 1, moved.count, 2, 12) if fault == "slot" else moved
        ring_append(cache, new.k, new.v, step=written, implementation="triton")
        seen = window + 1 if fault == "window" else window
        out = ring_attention(new.q, cache, window=seen, step=moved, implementation="triton")
        actual.append(out)
        exact.append(past.attend(new))
    with pytest.raises(AssertionError, match="off by"):
        assert_close(torch.stack(actual), torch.stack(exact))


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("cache: 'triton' reads layout 'slots'", {"layout": "blocks"}),
        ("cache: 'triton' takes float32, float16", {"cache_dtype": torch.float64}),
        ("cache: 'triton' takes head widths up to 128; got 136", {"width": 136}),
        ("q: 'triton' takes the cache's dtype torch.float16", {"cache_dtype": torch.float16}),
        ("q: 'triton' needs a last stride of 1", {"transposed": True}),
        ("q: 'triton' has no gradient", {"requires_grad": True}),
    ],
)
def test_what_the_kernels_cannot_do_is_refused_by_the_name_of_the_argument(
    message: str, change: dict[str, Any]
) -> None:
    plain = {"layout": "slots", "cache_dtype": torch.float32, "width": 16}
    given: dict[str, Any] = plain | change
    width = given["width"]
    cache = RingCache(2, 8, 1, width, given["cache_dtype"], layout=given["layout"])
    kv, q = torch.zeros(2, 1, 1, width), torch.zeros(2, 1, 2, width)
    ring_append(cache, kv, kv, implementation="reference")
    if "transposed" in change:
        q = torch.zeros(2, 1, width, 2).mT
    q.requires_grad_("requires_grad" in change)
    with pytest.raises(ValueError, match=f"^{message}"):
        ring_attention(q, cache, window=4, implementation="triton")
    assert ring_attention(q, cache, window=4).shape == q.shape  # auto finds another


def test_keys_that_the_append_kernel_cannot_read_are_refused_by_name() -> None:
    cache = RingCache(2, 8, 3, 16, layout="slots")
    k, v = torch.zeros(2, 1, 3, 16), torch.zeros(2, 1, 16, 3).mT
    with pytest.raises(ValueError, match=r"^v: 'triton' needs a last stride of 1"):
        ring_append(cache, k, v, implementation="triton")
    assert cache.state.length.tolist() == [0, 0], "a refused step moved the lanes on"
    with pytest.raises(ValueError, match=r"^k: 'triton' takes float32"):
        ring_append(cache, k.double(), k.double(), implementation="triton")


def test_compiling_appends_and_attends_in_one_graph() -> None:
    def both(cache: RingCache, new: NewTokens) -> Tensor:
        ring_append(cache, new.k, new.v, count=new.count, reset=new.reset, implementation="triton")
        return ring_attention(new.q, cache, window=8, implementation="triton")

    eager, compiled = (empty_ring(9, 1, 16, torch.float32) for _ in range(2))
    in_one_graph = torch.compile(both, backend="aot_eager", fullgraph=True)
    for new in steps(
        3, lanes=LANES, new=2, heads=2, key_heads=1, width=16, dtype=torch.float32, resets=0.1
    ):
        assert torch.equal(in_one_graph(compiled, new), both(eager, new))
    assert torch.equal(compiled.state.length, eager.state.length)


def test_only_those_who_ask_are_answered() -> None:
    cache = empty_ring(4, 2, 16, torch.float32)
    q, k, v = torch.randn(3, LANES, 2, 2, 16, generator=torch.Generator().manual_seed(0)).unbind()
    how: dict[str, Any] = {"implementation": "triton"}
    ring_append(cache, k, v, count=torch.tensor([2, 2, 1]), **how)
    every = ring_attention(q, cache, window=2, **how)
    some = ring_attention(q, cache, window=2, count=torch.tensor([2, 1, 2]), **how)
    assert torch.equal(some[0], every[0]) and torch.equal(some[1, 0], every[1, 0])
    assert torch.equal(some[2], every[2])
    assert not some[1, 1].any() and not some[2, 1].any()


def test_gradients_that_there_are_not_are_refused() -> None:
    cache = empty_ring(4, 2, 16, torch.float32)
    k, v = torch.zeros(LANES, 1, 2, 16), torch.zeros(LANES, 1, 2, 16, requires_grad=True)
    with pytest.raises(ValueError, match=r"^v: 'triton' has no gradient; use torch.no_grad\(\)"):
        ring_append(cache, k, v, implementation="triton")
    assert not cache.state.length.any()
    with torch.no_grad():
        ring_append(cache, k, v, implementation="triton")
