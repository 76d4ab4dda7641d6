"""The ring on a GPU: equal to banded attention, the same bits always, replayed in a CUDA graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adbench_kernels import RingCache, RingState, ring_append, ring_attention
from adbench_kernels.configs import override, tile
from kernel_checks.precision import assert_close
from kernel_checks.rings import NewTokens, Past, steps

DEVICE = torch.device("cuda")
LANES = 5


def on_gpu(new: NewTokens) -> NewTokens:
    return NewTokens(*(x.to(DEVICE) for x in (new.q, new.k, new.v, new.count, new.reset)))


def ring(capacity: int, key_heads: int, width: int, dtype: torch.dtype) -> RingCache:
    """A ring on the GPU whose slots hold NaN until they are written."""
    cache = RingCache(LANES, capacity, key_heads, width, dtype, DEVICE)
    assert cache.layout == "slots"
    cache.keys.fill_(torch.nan)
    cache.values.fill_(torch.nan)
    return cache


def step(cache: RingCache, new: NewTokens, window: int) -> Tensor:
    ring_append(cache, new.k, new.v, count=new.count, reset=new.reset, implementation="triton")
    return ring_attention(new.q, cache, window=window, implementation="triton")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("new", "heads", "key_heads", "width", "window", "spare"),
    [
        (1, 4, 4, 32, 64, 0),
        (2, 4, 1, 16, 200, 7),
        (3, 4, 2, 64, 129, 0),
        (4, 8, 1, 128, 257, 1),
        (1, 2, 2, 24, 1, 0),
        (2, 3, 3, 5, 1025, 2),
    ],
)
def test_stepping_equals_banded_attention_past_the_wrap_and_across_resets(
    new: int, heads: int, key_heads: int, width: int, window: int, spare: int, dtype: torch.dtype
) -> None:
    capacity = window + new - 1 + spare
    cache, past = ring(capacity, key_heads, width, dtype), Past(window, LANES)
    number = 2 * capacity // new + 2
    looked_at = {0, 1, number // 4, number // 2, number - 2, number - 1}
    for index, tokens in enumerate(
        steps(
            number, lanes=LANES, new=new, heads=heads, key_heads=key_heads, width=width,
            dtype=dtype, resets=1 / number,
        )
    ):  # fmt: skip
        past.take(tokens)
        out = step(cache, on_gpu(tokens), window)
        if index in looked_at:
            assert_close(out.cpu(), past.attend(tokens))
    assert past.longest > 2 * capacity


def test_a_hundred_runs_give_the_same_bits() -> None:
    shape = {"lanes": LANES, "new": 2, "heads": 8, "key_heads": 2, "width": 32}
    new = on_gpu(next(iter(steps(1, **shape, dtype=torch.bfloat16, resets=0))))
    cache = RingCache(LANES, 2049, 2, 32, torch.bfloat16, DEVICE)
    cache.keys.normal_()
    cache.values.normal_()
    cache.state.length += 5000
    first = step(cache, new, 2048)
    for _ in range(100):
        again = ring_attention(new.q, cache, window=2048, implementation="triton")
        assert torch.equal(first, again)


def test_the_number_of_parts_changes_nothing_but_rounding() -> None:
    cache = RingCache(LANES, 1000, 2, 32, torch.float32, DEVICE)
    cache.keys.normal_()
    cache.values.normal_()
    cache.state.length += 5000
    q, k, v = (torch.randn(LANES, 1, heads, 32, device=DEVICE) for heads in (4, 2, 2))
    ring_append(cache, k, v)
    chosen = tile("ring_decode", arch="any", head_dim=32, length=1000, dtype_bytes=4)
    outs = []
    for part in (0, 100, 500):
        with override("ring_decode", chosen._replace(block_k=part)):
            outs.append(ring_attention(q, cache, window=1000, implementation="triton"))
    for other in outs[1:]:
        assert_close(other.cpu(), outs[0].double().cpu())


def test_a_graph_of_append_and_attention_replays_as_steps_past_the_wrap() -> None:
    """Two layers share a state whose length the graph moves on in place."""
    window, width = 33, 32
    shape = {"lanes": LANES, "new": 2, "heads": 4, "key_heads": 2, "width": width}
    story = [on_gpu(new) for new in steps(60, **shape, dtype=torch.float32, resets=0.05)]
    states = [RingState(LANES, window + 1, DEVICE) for _ in range(2)]
    eager, static = (
        [RingCache(LANES, window + 1, 2, width, device=DEVICE, state=state) for _ in range(2)]
        for state in states
    )
    first = story[0]
    given = NewTokens(*(x.clone() for x in (first.q, first.k, first.v, first.count, first.reset)))

    def both(caches: list[RingCache], new: NewTokens) -> Tensor:
        moved = caches[0].state.advance(2, count=new.count, reset=new.reset)
        x = new.q
        for cache in caches:
            ring_append(cache, new.k, new.v, step=moved)
            x = ring_attention(x, cache, window=window, step=moved)
        return x

    given.count.zero_()
    given.reset.zero_()
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(beside):
        both(static, given)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = both(static, given)
    for new in story:
        for place, value in zip(vars(given).values(), vars(new).values(), strict=True):
            place.copy_(value)
        graph.replay()
        assert torch.equal(out, both(eager, new))
    assert int(states[0].length.max()) > 2 * (window + 1)
    assert torch.equal(states[0].length, states[1].length)


def test_auto_takes_triton_here() -> None:
    from adbench_kernels.ring_cache.serve import choose_append, choose_attention

    cache = RingCache(2, 8, 2, 32, torch.bfloat16, DEVICE)
    x = torch.zeros(2, 1, 2, 32, dtype=torch.bfloat16, device=DEVICE)
    assert choose_append("auto", x, x, cache) == choose_attention("auto", x, cache) == "triton"
    wide = RingCache(2, 8, 2, 256, torch.bfloat16, DEVICE)
    x = torch.zeros(2, 1, 2, 256, dtype=torch.bfloat16, device=DEVICE)
    assert choose_attention("auto", x, wide) == "reference"


def test_offsets_pass_two_to_the_thirty_one() -> None:
    """The last lane of a cache of 2^31 elements and more."""
    lanes, capacity, width = 2049, 8192, 128  # 2.15e9 elements, 4.3 GB for keys and for values
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GiB of GPU memory")
    cache = RingCache(lanes, capacity, 1, width, torch.bfloat16, DEVICE)
    cache.state.length += capacity - 1
    q, k, v = (torch.randn(lanes, 1, 1, width, device=DEVICE).bfloat16() for _ in range(3))
    ring_append(cache, k, v, implementation="triton")
    assert torch.equal(cache.keys[-1, 0, -1], k[-1, 0, 0])
    out = ring_attention(q, cache, window=1, implementation="triton")
    assert torch.equal(out, v)


def test_counts_out_of_range_stay_within_the_ring() -> None:
    """Nobody looks at them on a GPU: they are taken as none and as all of the new tokens."""
    many = torch.tensor([-3, 0, 1, 2, 9], device=DEVICE)
    q, k, v = torch.randn(3, LANES, 2, 4, 32, device=DEVICE).unbind()
    found = []
    for count in (many, many.clamp(0, 2)):
        cache = ring(9, 4, 32, torch.float32)
        ring_append(cache, k, v, count=count)
        found.append((ring_attention(q, cache, window=8), cache.state.length))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].tolist() == [0, 0, 1, 2, 2]
