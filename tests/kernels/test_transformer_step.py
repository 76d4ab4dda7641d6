"""A step through a stack of blocks: the CPU kernel is the definition, and that is a banded pass.

B lanes, n new tokens, C slots, W window, D width, H query heads, G key heads, d head width, F
hidden width.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from adbench_kernels import (
    BlockWeights,
    ImplementationUnavailableError,
    RingCache,
    RingState,
    TransformerStep,
    choice,
    rotary_attention,
    rotary_turns,
    transformer_step,
)

Agree = Callable[..., None]

FLOAT32_ERROR = 2e-5
"""Of values up to 10 after two blocks: sums of up to 256 products, rounded to 6e-8 each."""

GELU_ERROR = 4e-7
"""Relative to max(1, |x|): six roundings of 6e-8, and a polynomial that is off by 2e-8."""


HIDDEN = torch.zeros(48, 32)
"""A weight that fits."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a stack of two blocks, its window and its rings."""

    width: int = 32
    heads: int = 2
    key_heads: int = 2
    head_dim: int = 16
    hidden: int = 48
    num_new: int = 1
    window: int = 5
    capacity: int = 7
    norm_first: bool = True
    lanes: int = 5

    def blocks(self, dtype: torch.dtype) -> list[BlockWeights[Tensor]]:
        source = torch.Generator().manual_seed(3)

        def draw(*shape: int, around: float = 0.0, size: float = 0.1) -> Tensor:
            numbers = torch.randn(*shape, generator=source, dtype=torch.float64)
            return (around + size * numbers).to(dtype)

        inner = self.heads * self.head_dim
        rows = inner + 2 * self.key_heads * self.head_dim
        return [
            BlockWeights(
                attention_norm=draw(self.width, around=1.0),
                attention_norm_bias=draw(self.width),
                qkv=draw(rows, self.width, size=2 * self.width**-0.5),
                attention_out=draw(self.width, inner, size=inner**-0.5),
                hidden_norm=draw(self.width, around=1.0),
                hidden_norm_bias=draw(self.width),
                hidden_in=draw(self.hidden, self.width, size=self.width**-0.5),
                hidden_in_bias=draw(self.hidden),
                hidden_out=draw(self.width, self.hidden, size=self.hidden**-0.5),
                hidden_out_bias=draw(self.width),
            )
            for _ in range(2)
        ]

    def rings(self, dtype: torch.dtype, layers: int = 2) -> list[RingCache]:
        state = RingState(self.lanes, self.capacity)
        sizes = (self.lanes, self.capacity, self.key_heads, self.head_dim, dtype)
        return [RingCache(*sizes, state=state) for _ in range(layers)]

    def step(self, dtype: torch.dtype = torch.float32, **changes: Any) -> TransformerStep:
        given = {
            "blocks": self.blocks(dtype),
            "caches": self.rings(dtype),
            "window": self.window,
            "norm_first": self.norm_first,
            **changes,
        }
        return TransformerStep(**given)

    def inputs(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """New tokens float64 [B, n, D], how many are real, who resets; for as long as one likes."""
        source = torch.Generator().manual_seed(7)
        while True:
            shape = (self.lanes, self.num_new, self.width)
            x = torch.randn(*shape, generator=source, dtype=torch.float64)
            count = torch.randint(0, self.num_new + 1, (self.lanes,), generator=source)
            if self.num_new == 1:  # nearly always a token: the ring is to wrap
                count = (torch.rand(self.lanes, generator=source) < 0.9).long()
            reset = torch.rand(self.lanes, generator=source) < 0.2 / self.capacity
            yield x, count, reset


def take(
    stack: TransformerStep, x: Tensor, count: Tensor | None = None, reset: Tensor | None = None
) -> Tensor:
    """One step of a stack, in the dtype of its rings."""
    cache = stack.caches[0]
    dtype = cache.keys.dtype
    step = cache.state.advance(x.shape[1], count=count, reset=reset)
    turns = rotary_turns(step.token, cache.head_dim, dtype)
    return stack(x.to(dtype), turns=turns, step=step)


def whole_rows(x: Tensor, blocks: list[BlockWeights[Tensor]], shape: Shape) -> Tensor:
    """What a lane has seen since its reset, [T, D], in one banded pass of each block."""
    turns = rotary_turns(torch.arange(len(x)), shape.head_dim, x.dtype)

    def normal(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, (shape.width,), weight, bias)

    for block in blocks:
        first = (block.attention_norm, block.attention_norm_bias)
        second = (block.hidden_norm, block.hidden_norm_bias)
        seen = normal(x, *first) if shape.norm_first else x
        qkv = (seen @ block.qkv.T).view(1, len(x), -1, shape.head_dim)
        heads = rotary_attention(qkv, turns, window=shape.window, implementation="reference")
        x = x + heads.flatten(2)[0] @ block.attention_out.T
        x = x if shape.norm_first else normal(x, *first)
        seen = normal(x, *second) if shape.norm_first else x
        hidden = F.gelu(seen @ block.hidden_in.T + block.hidden_in_bias)
        x = x + hidden @ block.hidden_out.T + block.hidden_out_bias
        x = x if shape.norm_first else normal(x, *second)
    return x


def compare(
    stack: TransformerStep,
    shape: Shape,
    agree: Agree,
    *,
    steps: int,
    error: float,
    forget_resets: bool = False,
) -> int:
    """Step with lanes that wait, reset and wrap; compare with whole rows; the longest row."""
    blocks, longest = shape.blocks(torch.float64), 0
    rows = [torch.zeros(0, shape.width, dtype=torch.float64) for _ in range(shape.lanes)]
    for _, (x, count, reset) in zip(range(steps), shape.inputs(), strict=False):
        out = take(stack, x, count, None if forget_resets else reset)
        for lane, new in enumerate(count.tolist()):
            before = rows[lane][:0] if reset[lane] else rows[lane]
            rows[lane] = torch.cat((before, x[lane, :new]))
            longest = max(longest, len(rows[lane]))
            if new:
                expected = whole_rows(rows[lane], blocks, shape)[-new:]
                agree(out[lane, :new].double(), expected, error=error)
    return longest


@pytest.mark.parametrize("norm_first", [True, False])
def test_stepping_by_the_definition_is_one_banded_pass(norm_first: bool, agree: Agree) -> None:
    shape = Shape(num_new=2, norm_first=norm_first)
    stack = shape.step(torch.float64)
    assert stack.implementation == "reference"
    assert compare(stack, shape, agree, steps=40, error=1e-9) > 2 * shape.capacity


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [
        Shape(),
        Shape(window=1, capacity=1),
        Shape(width=64, heads=4, key_heads=4, hidden=256, num_new=2, window=17, capacity=18),
        Shape(heads=4, key_heads=2, num_new=3, window=15, capacity=17),
        Shape(width=48, heads=3, key_heads=1, num_new=6, window=30, capacity=41),
        Shape(width=32, heads=2, key_heads=1, head_dim=32, norm_first=False),
        Shape(width=16, heads=1, key_heads=1, head_dim=48, hidden=16, norm_first=False, num_new=2),
    ],
    ids=str,
)
def test_the_cpu_kernel_equals_the_definition(shape: Shape, threads: int, agree: Agree) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    fast, exact = shape.step(implementation="numba"), shape.step(torch.float64)
    longest = torch.zeros(shape.lanes, dtype=torch.int64)
    try:
        for _, (x, count, reset) in zip(range(8 * shape.capacity), shape.inputs(), strict=False):
            agree(take(fast, x, count, reset), take(exact, x, count, reset), error=FLOAT32_ERROR)
            longest = longest.maximum(fast.caches[0].state.length)
    finally:
        torch.set_num_threads(before)
    assert longest.max() > 2 * shape.capacity, "the ring never wrapped: this test shows nothing"
    for ours, theirs in zip(fast.caches, exact.caches, strict=True):
        agree(ours.keys[:, :, :-1], theirs.keys[:, :, :-1], error=FLOAT32_ERROR)
        agree(ours.values[:, :, :-1], theirs.values[:, :, :-1], error=FLOAT32_ERROR)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_lane_is_the_same_to_the_last_bit_beside_any_others(threads: int) -> None:
    many = Shape(lanes=101, num_new=2, capacity=9)  # more than a group of lanes for each thread
    alone = replace(many, lanes=1)
    together, single = many.step(implementation="numba"), alone.step(implementation="numba")
    before = torch.get_num_threads()
    for _, (x, count, reset) in zip(range(12), many.inputs(), strict=False):
        torch.set_num_threads(threads)
        try:
            beside = take(together, x, count, reset)[77]
        finally:
            torch.set_num_threads(before)
        assert torch.equal(beside, take(single, x[77:78], count[77:78], reset[77:78])[0])


def test_a_lane_that_waits_changes_nothing_and_spoils_nothing() -> None:
    shape = Shape(lanes=3)
    stack, beside = (shape.step(implementation="numba") for _ in range(2))
    x = torch.randn(3, 1, shape.width, generator=torch.Generator().manual_seed(0))
    for s in (stack, beside):
        take(s, x)
    kept = stack.caches[1].by_slot()[0][1].clone()
    nan = x.clone()
    nan[1] = torch.nan
    count = torch.tensor([1, 0, 1])
    assert torch.equal(take(stack, nan, count)[[0, 2]], take(beside, x, count)[[0, 2]])
    assert torch.equal(stack.caches[1].by_slot()[0][1], kept)
    assert torch.equal(take(stack, x), take(beside, x))


def test_inputs_are_left_as_they_were() -> None:
    shape = Shape()
    stack = shape.step(implementation="numba")
    x = torch.ones(shape.lanes, 1, shape.width)
    weights = [weight.clone() for block in stack.blocks for weight in block]
    take(stack, x)
    assert (x == 1).all()
    now = [weight for block in stack.blocks for weight in block]
    assert all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))


@pytest.mark.parametrize("how", ["in place", "other memory"])
def test_new_weights_are_seen_by_the_next_step(how: str, agree: Agree) -> None:
    shape = Shape()
    fast, exact = shape.step(implementation="numba"), shape.step(torch.float64)
    x = torch.randn(shape.lanes, 1, shape.width, generator=torch.Generator().manual_seed(0))
    before = take(fast, x), take(exact, x)
    for stack in (fast, exact):
        for block in stack.blocks:
            if how == "in place":
                block.hidden_out.mul_(-2)
            else:
                block.hidden_out.data = block.hidden_out.data * -2
    agree(take(fast, x), take(exact, x), error=FLOAT32_ERROR)
    assert not torch.allclose(before[0], take(fast, x))


@pytest.mark.parametrize(
    "fault",
    [
        "window too wide",
        "window too narrow",
        "norms elsewhere",
        "another epsilon",
        "reset forgotten",
    ],
)
def test_a_planted_fault_is_caught(fault: str, agree: Agree) -> None:
    shape = Shape(capacity=12)
    changes: dict[str, dict[str, Any]] = {
        "window too wide": {"window": 6},
        "window too narrow": {"window": 4},
        "norms elsewhere": {"norm_first": False},
        "another epsilon": {"epsilon": 1e-2},
    }
    stack = shape.step(implementation="numba", **changes.get(fault, {}))
    forget = fault == "reset forgotten"
    with pytest.raises(AssertionError, match="off by"):
        compare(stack, shape, agree, steps=60, error=FLOAT32_ERROR, forget_resets=forget)


def test_gradients_go_through_the_definition_and_numba_refuses_them() -> None:
    shape = Shape()
    x = torch.ones(shape.lanes, 1, shape.width, requires_grad=True)
    auto = shape.step()
    assert auto.implementation == "numba"
    take(auto, x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    with pytest.raises(ValueError, match=r"^implementation: 'numba' has no gradients"):
        take(shape.step(implementation="numba"), x)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("caches", lambda: Shape().step(caches=Shape().rings(torch.float32, layers=1))),
        ("caches", lambda: Shape().step(caches=[*_one_ring(), *_one_ring()])),
        ("blocks: qkv", lambda: Shape(head_dim=48).step(blocks=Shape().blocks(torch.float32))),
        ("blocks: qkv", lambda: Shape().step(blocks=_with(qkv=torch.zeros(40, 32)))),
        ("blocks: hidden_out", lambda: Shape().step(blocks=_with(hidden_out=torch.zeros(32, 1)))),
        ("blocks: must be BlockWeights", lambda: Shape().step(blocks=[(1, 2), (3, 4)])),
        ("blocks: hidden_in", lambda: Shape().step(blocks=_with(hidden_in=None))),
        ("blocks: hidden_in", lambda: Shape().step(blocks=_with(hidden_in=HIDDEN.int()))),
        ("blocks: hidden_in", lambda: Shape().step(blocks=_with(hidden_in=HIDDEN.double()))),
        ("blocks: hidden_in", lambda: Shape().step(blocks=_with(hidden_in=HIDDEN.to("meta")))),
        ("blocks: the stream", lambda: Shape().step(blocks=_with(qkv=torch.zeros(96, 0)))),
        ("blocks: the stream", lambda: Shape().step(blocks=_with(hidden_in=HIDDEN[:0]))),
        ("caches", lambda: Shape().step(caches=_one_ring() * 2)),
        ("caches", lambda: Shape().step(caches=_of_two_types())),
        ("window", lambda: Shape().step(window=1.5)),
        ("scale", lambda: Shape().step(scale=float("inf"))),
        ("epsilon", lambda: Shape().step(epsilon=0.0)),
        ("epsilon", lambda: Shape().step(epsilon=float("nan"))),
        ("x", lambda: _call(x=None)),
        ("x", lambda: _call(x=torch.zeros(5, 1, 32, dtype=torch.float64))),
        ("step", lambda: _call(step=None)),
        ("step", lambda: _call(step=RingState(5, 7, "meta").advance(1))),
        ("window", lambda: Shape().step(window=8)),
        ("window", lambda: Shape().step(window=0)),
        ("implementation", lambda: Shape(hidden=40).step(implementation="numba")),
        ("implementation", lambda: Shape().step(torch.float64, implementation="numba")),
        ("x", lambda: take(Shape().step(), torch.zeros(5, 1, 16))),
        ("x", lambda: take(Shape().step(), torch.zeros(4, 1, 32))),
        ("step", lambda: take(Shape().step(), torch.zeros(5, 4, 32))),
        ("turns", lambda: _call(turns=torch.zeros(5, 1, 32))),
        ("step", lambda: _call(step=RingState(5, 8).advance(1))),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_argument(
    argument: str, call: Callable[[], object]
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}"):
        call()


def _one_ring() -> list[RingCache]:
    return Shape().rings(torch.float32, layers=1)


def _of_two_types() -> list[RingCache]:
    one = _one_ring()
    return [*one, RingCache(5, 7, 2, 16, torch.float64, state=one[0].state)]


def _with(**changes: Any) -> list[BlockWeights[Tensor]]:
    return [block._replace(**changes) for block in Shape().blocks(torch.float32)]


def _call(**changes: Any) -> Tensor:
    stack: Any = Shape().step()
    given: dict[str, Any] = {
        "x": torch.zeros(5, 1, 32),
        "turns": torch.zeros(5, 1, 2, 16),
        "step": stack.caches[0].state.advance(1),
        **changes,
    }
    out: Tensor = stack(**given)
    return out


def test_what_cannot_run_here_raises() -> None:
    with pytest.raises(ImplementationUnavailableError, match="TransformerStep has no 'triton'"):
        Shape().step(implementation="triton")


def test_without_numba_auto_is_the_definition_and_numba_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(package: str) -> bool:
        return False

    monkeypatch.setattr(choice, "installed", nothing)
    monkeypatch.setattr(transformer_step, "installed", nothing)
    assert Shape().step().implementation == "reference"
    with pytest.raises(ImplementationUnavailableError, match="pip install numba"):
        Shape().step(implementation="numba")


def test_the_vector_gelu_is_torch_s() -> None:
    numba = pytest.importorskip("numba")
    import numpy as np

    from adbench_kernels.cpu.gelu import gelu
    from adbench_kernels.cpu.lanes import load, store

    @numba.njit  # type: ignore[untyped-decorator]
    def over(x: Any) -> None:
        for at in range(0, len(x), 16):
            store(gelu(load(x, at)), x, at)  # type: ignore[call-arg]

    x = torch.cat(
        (torch.linspace(-15, 15, 4080), torch.tensor([0.0, -0.0, 1e-30, 1e4, -1e4, 3e38]))
    )
    x = torch.cat((x, x.new_zeros(-len(x) % 16)))
    ours = x.numpy().astype(np.float32)
    over(ours)
    right = F.gelu(x.double())
    worst = ((torch.from_numpy(ours).double() - right).abs() / x.double().abs().clamp(min=1)).max()
    assert worst < GELU_ERROR, f"off by {worst:.2g}"


@pytest.mark.parametrize("where", BlockWeights._fields)
def test_nan_is_not_lost_on_the_way(where: str) -> None:
    """A model that has diverged must not look as if it had not."""
    shape = Shape(num_new=2, capacity=8)
    seen = []
    for name in ("reference", "numba"):
        blocks = shape.blocks(torch.float32)
        getattr(blocks[1], where).view(-1)[0] = torch.nan
        stack = shape.step(blocks=blocks, implementation=name)
        x = torch.randn(5, 2, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            step = stack.caches[0].state.advance(2)
            turns = rotary_turns(torch.arange(2).expand(5, 2), 16, torch.float32)
            seen.append(stack(x, turns=turns, step=step).isnan())
    assert seen[0].any()
    assert torch.equal(*seen)


def test_a_copy_goes_its_own_way() -> None:
    shape = Shape()
    stack, x = shape.step(implementation="numba"), torch.ones(5, 1, 32)
    take(stack, x)
    for copy in (deepcopy(stack), pickle.loads(pickle.dumps(stack))):
        assert copy.caches[0].state is copy.caches[1].state is not stack.caches[0].state
        before = [cache.keys.clone() for cache in stack.caches]
        first = take(copy, x)
        assert all(torch.equal(a, b.keys) for a, b in zip(before, stack.caches, strict=True))
        assert torch.equal(first, take(deepcopy(stack), x))
