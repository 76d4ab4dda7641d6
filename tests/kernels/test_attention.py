"""Interval-causal attention against its definition, forward and every gradient.

B batch rows, Q queries, T keys, H query heads, G key heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench_kernels import Implementation, Intervals, attention, attention_backward
from adbench_kernels.interval_attention import blocked, reference

Draw = Callable[..., Tensor]
Definition = Callable[..., tuple[Tensor, Tensor]]
Agree = Callable[..., None]

LENGTHS = (1, 3, 63, 64, 65, 129, 200)
IMPLEMENTATIONS: tuple[Implementation, ...] = (
    "auto", "reference", "blocked", "sdpa-math", "sdpa-flash",
)  # fmt: skip
WITH_LSE: tuple[Implementation, ...] = ("auto", "reference", "blocked")
MASKS = ("causal", "window 1", "window 40", "window 500", "episodes", "packed", "kv_start")

FLOAT32_ERROR = 1e-5
"""Of values of order 1 from sums of up to 200 products: 200 roundings of 6e-8 at worst."""
BFLOAT16_ERROR = 3e-2
"""Inputs and outputs of order 1 to 4 are rounded to 8 bits: 4 * 2 ** -8 is 1.6e-2 each way."""


def episode_ids(batch: int, length: int) -> Tensor:
    """Episodes of 1 to 9 steps, other ones in every row."""
    ends = torch.randint(0, 5, (batch, length), generator=torch.Generator().manual_seed(3)) == 0
    return ends.long().cumsum(1)


def mask(kind: str, batch: int, length: int) -> tuple[Intervals | None, Callable[..., bool]]:
    """Intervals, and the same said as a function of (row, query, key)."""
    ids = episode_ids(batch, length)
    rows = ids.tolist()
    if kind == "causal":
        return None, lambda b, i, j: j <= i
    if kind.startswith("window"):
        size = int(kind.split()[1])
        return Intervals.window(size), lambda b, i, j: i - size < j <= i
    if kind == "episodes":
        return Intervals.last_episodes(
            ids, 2
        ), lambda b, i, j: j <= i and rows[b][j] > rows[b][i] - 2
    if kind == "packed":
        return Intervals.packed(ids), lambda b, i, j: j <= i and rows[b][j] == rows[b][i]
    steps = torch.randint(0, 3, (batch, length), generator=torch.Generator().manual_seed(4)) == 0
    start = steps.long().cumsum(1).minimum(torch.arange(length))
    starts = start.tolist()
    return (
        Intervals.from_kv_start(start, length),
        lambda b, i, j: starts[b][i] <= j <= i,
    )


def gradients(out: Tensor, inputs: tuple[Tensor, ...], grad_out: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out, inputs, grad_out)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_implementation_is_the_definition(
    length: int, kind: str, draw: Draw, definition: Definition, agree: Agree
) -> None:
    q, k, v = (draw(2, length, 2, 8).requires_grad_() for _ in range(3))
    grad_out = draw(2, length, 2, 8)
    intervals, sees = mask(kind, 2, length)
    out, _ = definition(q, k, v, sees, 1 / math.sqrt(8))
    grads = gradients(out, (q, k, v), grad_out)
    for name in IMPLEMENTATIONS:
        actual = attention(q, k, v, intervals=intervals, implementation=name)
        agree(actual, out)
        for grad, expected in zip(gradients(actual, (q, k, v), grad_out), grads, strict=True):
            agree(grad, expected)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("kind", ["causal", "window 40", "episodes"])
def test_key_heads_are_shared_by_groups_of_query_heads(  # type: ignore[no-untyped-def]
    kind, key_heads: int, draw: Draw, definition: Definition, agree: Agree
) -> None:
    q = draw(2, 65, 4, 16).requires_grad_()
    k, v = (draw(2, 65, key_heads, 16).requires_grad_() for _ in range(2))
    intervals, sees = mask(kind, 2, 65)
    out, lse = definition(q, k, v, sees, 0.3)
    grads = gradients(out, (q, k, v), torch.ones_like(out))
    for name in IMPLEMENTATIONS:
        actual = attention(q, k, v, intervals=intervals, scale=0.3, implementation=name)
        agree(actual, out)
        for grad, expected in zip(
            gradients(actual, (q, k, v), torch.ones_like(out)), grads, strict=True
        ):
            agree(grad, expected)
    for name in WITH_LSE:
        _, actual_lse = attention(
            q, k, v, intervals=intervals, scale=0.3, return_lse=True, implementation=name
        )
        agree(actual_lse, lse)


@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("kind", MASKS)
def test_strided_queries_equal_every_third_query(
    kind: str, offset: int, draw: Draw, agree: Agree
) -> None:
    k, v = (draw(2, 200, 2, 16).requires_grad_() for _ in range(2))
    every_q = draw(2, 200, 2, 16)
    intervals, _ = mask(kind, 2, 200)
    every = attention(every_q, k, v, intervals=intervals, implementation="reference")
    if kind == "kv_start":  # it speaks of certain queries, not of every position
        assert intervals is not None and intervals.kv_start is not None
        intervals = Intervals.from_kv_start(
            intervals.kv_start[:, offset::3], 200, query_offset=offset, query_stride=3
        )
    q = every_q[:, offset::3].detach().requires_grad_()
    grad_out = draw(*q.shape)
    grads = gradients(every[:, offset::3], (k, v), grad_out)
    for name in IMPLEMENTATIONS:
        out = attention(
            q, k, v, intervals=intervals, query_offset=offset, query_stride=3, implementation=name
        )
        agree(out, every[:, offset::3])
        for grad, expected in zip(gradients(out, (k, v), grad_out), grads, strict=True):
            agree(grad, expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_query_that_sees_nothing_gives_zero_and_no_gradient(name: Any, draw: Draw) -> None:
    q, k, v = (draw(2, 65, 2, 16).requires_grad_() for _ in range(3))
    start = torch.arange(65).expand(2, 65).clone()
    start[:, 30:40] = 41  # nothing there; 41 sees itself alone
    start[:, 40] = 41
    start[1] = torch.arange(1, 66)  # nothing anywhere in the second row
    intervals = Intervals.from_kv_start(start, 65)
    out = attention(q, k, v, intervals=intervals, implementation=name)
    assert (out[0, 30:41] == 0).all()
    assert (out[1] == 0).all()
    dq, dk, dv = gradients(out, (q, k, v), torch.ones_like(out))
    for grad in (dq, dk, dv):
        assert grad.isfinite().all()
        assert (grad[1] == 0).all()
    assert (dq[0, 30:41] == 0).all()
    if not name.startswith("sdpa"):
        _, lse = attention(q, k, v, intervals=intervals, return_lse=True, implementation=name)
        assert (lse[0, :, 30:41] == -torch.inf).all()
        assert (lse[1] == -torch.inf).all()
        assert lse[0, :, 41:].isfinite().all()


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 5, 5), (2, 0, 5), (2, 0, 0)])
def test_nothing_to_do_gives_empty_results_and_zero_gradients(
    batch: int, queries: int, keys: int, kind: str, name: Any
) -> None:
    q = torch.full((batch, queries, 4, 8), torch.nan, requires_grad=True)
    k, v = (torch.full((batch, keys, 2, 8), torch.nan, requires_grad=True) for _ in range(2))
    if kind == "kv_start":
        starts = torch.zeros(batch, queries, dtype=torch.int64)
        intervals: Intervals | None = Intervals.from_kv_start(starts, keys)
    else:
        intervals, _ = mask(kind, batch, keys)
    out = attention(q, k, v, intervals=intervals, implementation=name)
    assert out.shape == q.shape
    for x, grad in zip((q, k, v), gradients(out, (q, k, v), torch.ones_like(out)), strict=True):
        assert torch.equal(grad, torch.zeros_like(x))
    if name in WITH_LSE:
        out, lse = attention(q, k, v, intervals=intervals, return_lse=True, implementation=name)
        assert (out.shape, lse.shape) == (q.shape, (batch, 4, queries))
        grads = attention_backward(out, q, k, v, out, lse, intervals=intervals, implementation=name)
        for x, grad in zip((q, k, v), grads, strict=True):
            assert torch.equal(grad, torch.zeros_like(x))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_autocast_lowers_the_inputs_as_for_attention_of_torch(name: Any, draw: Draw) -> None:
    q, k, v = (draw(2, 65, 2, 16, dtype=torch.float32).requires_grad_() for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(q, k.bfloat16(), v, intervals=Intervals.window(9), implementation=name)
        assert out.dtype == torch.bfloat16
        exact = attention(q.double(), k.double(), v.double(), intervals=Intervals.window(9))
        assert exact.dtype == torch.float64
    (dq,) = torch.autograd.grad(out.sum(), q)
    assert dq.dtype == torch.float32
    assert (out - exact).abs().max() <= 2 * BFLOAT16_ERROR  # scores may be rounded too


@pytest.mark.parametrize("name", ["reference", "blocked"])
@pytest.mark.parametrize("kind", MASKS)
def test_backward_from_out_and_lse_equals_autograd(
    kind: str, name: Any, draw: Draw, agree: Agree
) -> None:
    q = draw(3, 65, 4, 16).requires_grad_()
    k, v = (draw(3, 65, 2, 16).requires_grad_() for _ in range(2))
    grad_out = draw(3, 65, 4, 16)
    intervals, _ = mask(kind, 3, 65)
    out, lse = attention(q, k, v, intervals=intervals, return_lse=True, implementation="reference")
    expected = gradients(out, (q, k, v), grad_out)
    actual = attention_backward(
        grad_out, q, k, v, out, lse, intervals=intervals, implementation=name
    )
    for grad, right in zip(actual, expected, strict=True):
        agree(grad, right)


@pytest.mark.parametrize("name", ["reference", "blocked"])
def test_backward_of_a_part_of_the_keys_takes_the_lse_of_the_whole(
    name: Any, draw: Draw, agree: Agree
) -> None:
    """What context parallelism does: who holds some keys knows the whole's out and lse alone."""
    q, k, v = (draw(2, 65, 2, 16).requires_grad_() for _ in range(3))
    grad_out = draw(2, 65, 2, 16)
    out, lse = attention(q, k, v, return_lse=True)
    whole = gradients(out, (q, k, v), grad_out)
    given = (grad_out, q, k, v, out, lse)
    recent = attention_backward(*given, intervals=Intervals.window(9), implementation=name)
    older_keys = Intervals.causal().visible(2, 65, 65) & ~Intervals.window(9).visible(2, 65, 65)
    older = reference.attention_backward(*given, older_keys, 1 / math.sqrt(16))
    for total, one, other in zip(whole, recent, older, strict=True):
        agree(one + other, total)


@pytest.mark.parametrize("name", ["auto", "reference", "blocked"])
@pytest.mark.parametrize("kind", ["causal", "window 1", "window 30", "window 64", "episodes"])
def test_a_row_can_be_spread_over_ranks_that_hold_a_part_of_it_each(
    kind: str, name: Any, draw: Draw, agree: Agree
) -> None:
    """Context parallelism: a rank's queries meet the keys of its own part and of all before it."""
    length, part = 65, 20  # the last rank holds less
    q = draw(2, length, 4, 16).requires_grad_()
    k, v = (draw(2, length, 2, 16).requires_grad_() for _ in range(2))
    grad_out = draw(2, length, 4, 16)
    intervals, _ = mask(kind, 2, length)
    whole = attention(q, k, v, intervals=intervals, implementation="reference")
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    parts = [slice(first, min(first + part, length)) for first in range(0, length, part)]
    for rank, mine in enumerate(parts):
        seen: list[tuple[slice, dict[str, Any], Tensor, Tensor]] = []
        for theirs in parts[: rank + 1]:
            how: dict[str, Any] = {
                "intervals": intervals, "query_offset": mine.start - theirs.start,
            }  # fmt: skip
            if intervals is not None and intervals.kv_start is not None:
                keys = theirs.stop - theirs.start
                start = (intervals.kv_start[:, mine] - theirs.start).clamp(0, keys)
                how["intervals"] = Intervals.from_kv_start(
                    start, keys, query_offset=how["query_offset"]
                )
            given = (q[:, mine], k[:, theirs], v[:, theirs])
            out, lse = attention(*given, return_lse=True, implementation=name, **how)
            seen.append((theirs, how, out, lse))
        lse = torch.logsumexp(torch.stack([lse for *_, lse in seen]), 0)
        out = sum(
            (out * (part - lse).exp().mT[..., None] for *_, out, part in seen), q[:, :0].sum()
        )
        agree(out, whole[:, mine])
        for theirs, how, *_ in seen:
            grads = attention_backward(
                grad_out[:, mine], q[:, mine], k[:, theirs], v[:, theirs], out, lse,
                implementation=name, **how,
            )  # fmt: skip
            for total, at, grad in zip((dq, dk, dv), (mine, theirs, theirs), grads, strict=True):
                total[:, at] += grad
    for actual, right in zip((dq, dk, dv), gradients(whole, (q, k, v), grad_out), strict=True):
        agree(actual, right)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_queries_after_the_last_key_see_what_their_window_has_left(
    name: Any, draw: Draw, agree: Agree
) -> None:
    every_q, every_k, every_v = (draw(2, 90, 2, 16) for _ in range(3))
    for stride, window in ((1, None), (1, 7), (1, 55), (3, 30)):
        k, v = (x[:, :50].clone().requires_grad_() for x in (every_k, every_v))
        q = every_q[:, 40::stride].clone().requires_grad_()
        intervals = None if window is None else Intervals.window(window)
        out = attention(
            q, k, v, intervals=intervals, query_offset=40, query_stride=stride, implementation=name
        )
        position = torch.arange(40, 90, stride)[:, None]
        visible = torch.arange(50) <= position
        if window is not None:
            visible &= torch.arange(50) > position - window
        right, _ = reference.attention(q, k, v, visible[None], 1 / math.sqrt(16))
        agree(out, right)
        blind = ~visible.any(-1)
        assert bool(blind.any()) == (window in (7, 30))
        assert (out[:, blind] == 0).all()
        grad_out = draw(*q.shape)
        expected = gradients(right, (q, k, v), grad_out)
        for grad, exact in zip(gradients(out, (q, k, v), grad_out), expected, strict=True):
            agree(grad, exact)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_without_any_keys_queries_get_zero_and_no_gradient(name: Any) -> None:
    q = torch.full((2, 3, 4, 8), torch.nan, requires_grad=True)
    k, v = (torch.zeros(2, 0, 2, 8, requires_grad=True) for _ in range(2))
    out = attention(q, k, v, implementation=name)
    assert (out == 0).all()
    assert (gradients(out, (q, k, v), torch.ones_like(out))[0] == 0).all()
    if name in WITH_LSE:
        out, lse = attention(q, k, v, return_lse=True, implementation=name)
        assert (lse == -torch.inf).all() and lse.shape == (2, 4, 3)
        grads = attention_backward(out, q, k, v, out, lse, implementation=name)
        assert [(x.shape, float(x.sum())) for x in grads] == [(x.shape, 0.0) for x in (q, k, v)]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("scale", [0.0, -1.0, -0.3, 7])
def test_any_finite_scale_is_served(scale: float, name: Any, draw: Draw, agree: Agree) -> None:
    q, k, v = (draw(2, 33, 2, 16, dtype=torch.float32) for _ in range(3))
    for intervals in (None, Intervals.window(5)):
        exact = attention(
            *(x.double() for x in (q, k, v)), intervals=intervals, scale=scale,
            implementation="reference",
        )  # fmt: skip
        out = attention(q, k, v, intervals=intervals, scale=scale, implementation=name)
        agree(out, exact, error=FLOAT32_ERROR)


@pytest.mark.parametrize("name", ["reference", "blocked", "sdpa-math"])
def test_gradients_pass_gradcheck(name: Any, draw: Draw) -> None:
    inputs = tuple(draw(1, 5, 2, 4).requires_grad_() for _ in range(3))

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, intervals=Intervals.window(3), implementation=name)

    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_the_future_changes_nothing(name: Any, draw: Draw) -> None:
    q, k, v = (draw(2, 129, 2, 16, dtype=torch.float32) for _ in range(3))
    intervals = Intervals.window(40)
    before = attention(q, k, v, intervals=intervals, implementation=name)
    for x in (q, k, v):
        x[:, 70:] = draw(2, 59, 2, 16, dtype=torch.float32)
    after = attention(q, k, v, intervals=intervals, implementation=name)
    assert torch.equal(before[:, :70], after[:, :70])
    assert not torch.equal(before[:, 70:], after[:, 70:])


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_rows_of_a_batch_do_not_mix(name: Any, draw: Draw, agree: Agree) -> None:
    q, k, v = (draw(5, 65, 2, 16) for _ in range(3))
    ids = episode_ids(5, 65)
    batch = attention(q, k, v, intervals=Intervals.packed(ids), implementation=name)
    for b in range(5):
        row = slice(b, b + 1)
        alone = attention(
            q[row], k[row], v[row], intervals=Intervals.packed(ids[row]), implementation=name
        )
        agree(batch[row], alone)


def test_blocks_of_any_size_give_the_same(
    draw: Draw, agree: Agree, monkeypatch: pytest.MonkeyPatch
) -> None:
    q, k, v = (draw(5, 200, 2, 16).requires_grad_() for _ in range(3))
    grad_out = draw(5, 200, 2, 16)
    for kind in ("causal", "window 40", "episodes"):
        intervals, _ = mask(kind, 5, 200)
        expected = attention(q, k, v, intervals=intervals, implementation="reference")
        grads = gradients(expected, (q, k, v), grad_out)
        for queries, scores in ((7, 1), (64, 30_000), (500, 1 << 24)):
            monkeypatch.setattr(blocked, "BLOCK_QUERIES", queries)
            monkeypatch.setattr(blocked, "BLOCK_SCORES", scores)
            out = attention(q, k, v, intervals=intervals, implementation="blocked")
            agree(out, expected)
            for grad, right in zip(gradients(out, (q, k, v), grad_out), grads, strict=True):
                agree(grad, right)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_views_into_packed_memory_are_read_where_they_lie(
    name: Any, draw: Draw, agree: Agree
) -> None:
    packed = draw(2, 65, 3, 4, 16)
    q, k, v = packed.unbind(2)
    copies = (x.contiguous() for x in (q, k, v))
    intervals = Intervals.window(9)
    agree(
        attention(q, k, v, intervals=intervals, implementation=name),
        attention(*copies, intervals=intervals, implementation="reference"),
    )
    assert torch.equal(packed.unbind(2)[0], q)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float32, FLOAT32_ERROR), (torch.bfloat16, BFLOAT16_ERROR)]
)
def test_lower_precision_stays_within_its_rounding(
    name: Any, dtype: torch.dtype, error: float, draw: Draw, agree: Agree
) -> None:
    q, k, v = (draw(2, 200, 2, 16, dtype=dtype) for _ in range(3))
    intervals = Intervals.window(40)
    exact = attention(q.double(), k.double(), v.double(), intervals=intervals)
    out = attention(q, k, v, intervals=intervals, implementation=name)
    assert out.dtype == dtype
    agree(out, exact, error=error)


def test_large_scores_do_not_overflow(draw: Draw, agree: Agree) -> None:
    q, k, v = (draw(1, 65, 2, 16, dtype=torch.float32) for _ in range(3))
    out = attention(q * 1e4, k * 1e4, v, implementation="blocked")
    assert out.isfinite().all()
    agree(out, attention(q * 1e4, k * 1e4, v, implementation="reference"), error=FLOAT32_ERROR)


def test_lse_is_float32_for_lower_precision_and_natural_log(draw: Draw) -> None:
    q, k, v = (torch.zeros(1, 5, 2, 16, dtype=torch.bfloat16) for _ in range(3))
    _, lse = attention(q, k, v, return_lse=True)
    assert lse.dtype == torch.float32
    assert torch.allclose(lse[0, 0], torch.arange(1.0, 6.0).log())  # i + 1 scores of 0


@pytest.mark.parametrize("name", ["auto", "reference", "sdpa-math"])
def test_dropout_drops_weights_and_keeps_their_mean(name: Any) -> None:
    q, k = torch.zeros(2, 1, 200, 4, 16).unbind(0)
    v = torch.ones(1, 200, 4, 16)
    torch.manual_seed(0)
    out = attention(q, k, v, dropout=0.25, implementation=name)
    torch.manual_seed(0)
    assert torch.equal(out, attention(q, k, v, dropout=0.25, implementation=name))
    last = out[0, -1, :, 0]  # a mean of 200 weights of 0 or 4/3: standard deviation 0.041
    assert not torch.equal(last, torch.ones(4))
    assert (last - 1).abs().max() < 5 * 0.041
    assert set(out[0, 0, :, 0].tolist()) <= {0.0, 4 / 3, torch.tensor(4 / 3).item()}


def test_the_operator_obeys_torch_library_rules(draw: Draw) -> None:
    q, k, v = (draw(2, 9, 2, 4).requires_grad_() for _ in range(3))
    start = torch.zeros(2, 9, dtype=torch.int32)
    torch.library.opcheck(
        torch.ops.adbench.attention_blocked.default, (q, k, v, start, 4, 0, 1, 0.5)
    )


def test_a_second_derivative_is_refused_not_wrong(draw: Draw) -> None:
    q, k, v = (draw(1, 5, 2, 4).requires_grad_() for _ in range(3))
    out = attention(q, k, v, implementation="blocked")
    (dq,) = torch.autograd.grad(out.sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(dq.sum(), k)


def test_one_graph_serves_every_length(draw: Draw, agree: Agree) -> None:
    """Also that of SDPA, which wants to know whether it is plainly causal."""

    def run(q: Tensor, k: Tensor, v: Tensor, name: Any) -> Tensor:
        return attention(q, k, v, intervals=Intervals.window(9), implementation=name)

    for name in ("blocked", "sdpa-math"):
        compiled = torch.compile(run, backend="eager", fullgraph=True, dynamic=True)
        for length in (7, 20, 33):
            q, k, v = (draw(2, length, 2, 16) for _ in range(3))
            agree(compiled(q, k, v, name), run(q, k, v, name))


def test_attention_traces_into_one_graph(draw: Draw, agree: Agree) -> None:
    q, k, v = (draw(2, 65, 2, 16).requires_grad_() for _ in range(3))

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, intervals=Intervals.window(9), implementation="blocked").sin()

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    agree(compiled(q, k, v), run(q, k, v))
    ones = torch.ones_like(q)
    for grad, right in zip(
        gradients(compiled(q, k, v), (q, k, v), ones),
        gradients(run(q, k, v), (q, k, v), ones),
        strict=True,
    ):
        agree(grad, right)


@pytest.mark.parametrize("fault", ["window too wide", "window too narrow", "wrong scale", "future"])
def test_a_planted_fault_is_caught(
    fault: str, draw: Draw, definition: Definition, agree: Agree
) -> None:
    q, k, v = (draw(2, 65, 2, 16) for _ in range(3))
    right, _ = definition(q, k, v, lambda b, i, j: i - 40 < j <= i, 0.25)
    position = torch.arange(65)
    future = (position <= position[:, None] + 1)[None]
    wrong = {
        "window too wide": lambda: attention(q, k, v, intervals=Intervals.window(41)),
        "window too narrow": lambda: attention(q, k, v, intervals=Intervals.window(39)),
        "wrong scale": lambda: attention(q, k, v, intervals=Intervals.window(40), scale=0.2500001),
        "future": lambda: reference.attention(q, k, v, future, 0.25)[0],
    }[fault]()
    with pytest.raises(AssertionError, match="off by"):
        agree(wrong, right)


def test_a_comparison_that_meets_nan_fails(agree: Agree) -> None:
    with pytest.raises(AssertionError, match="off by"):
        agree(torch.tensor([torch.nan]), torch.tensor([torch.nan]))
