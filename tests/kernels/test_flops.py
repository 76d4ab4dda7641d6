"""What our operators tell torch's flop counter, in cases small enough to count by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from adbench_kernels import Intervals, attention, rotary_attention, rotary_turns
from adbench_kernels.flops import interval_pairs, visible_pairs

D, HEADS = 16, 2


def counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("queries", "keys", "width", "offset", "stride", "pairs"),
    [
        (4, 4, 4, 0, 1, 1 + 2 + 3 + 4),
        (4, 4, 2, 0, 1, 1 + 2 + 2 + 2),
        (4, 4, 1, 0, 1, 4),
        (4, 4, 99, 0, 1, 10),
        (2, 4, 4, 2, 1, 3 + 4),
        (2, 4, 4, 0, 3, 1 + 4),
        (3, 9, 3, 1, 3, 2 + 3 + 3),
        (1, 1, 1, 0, 1, 1),
    ],
)
def test_visible_pairs_are_those_counted_one_by_one(
    queries: int, keys: int, width: int, offset: int, stride: int, pairs: int
) -> None:
    found = visible_pairs(queries, keys, width=width, query_offset=offset, query_stride=stride)
    assert found == pairs
    position = [offset + i * stride for i in range(queries)]
    assert found == sum(p - width < j <= p for p in position for j in range(keys))


def test_pairs_of_intervals_follow_the_starts() -> None:
    start = torch.tensor([[0, 0, 2, 2], [0, 1, 2, 4]], dtype=torch.int32)
    # Row 0 sees 1, 2, 1, 2 keys; row 1 sees 1, 1, 1 and, from past itself, none.
    assert interval_pairs(start, 4, width=4) == 6 + 3
    assert interval_pairs(start, 4, width=1) == 4 + 3


def test_attention_counts_what_is_seen_forward_and_backward() -> None:
    q, k, v = (drawn(1, 4, HEADS, D).requires_grad_() for _ in range(3))
    pairs = 1 + 2 + 2 + 2

    def forward() -> Tensor:
        out = attention(q, k, v, intervals=Intervals.window(2), implementation="blocked")
        assert isinstance(out, Tensor)
        return out

    assert counted(forward) == 4 * D * HEADS * pairs
    assert counted(lambda: torch.autograd.backward(forward().sum())) == (4 + 10) * D * HEADS * pairs


def test_packed_histories_count_by_their_starts_and_without_values_by_the_bound() -> None:
    q = drawn(1, 4, HEADS, D)
    packed = Intervals.packed(torch.tensor([[0, 0, 1, 1]]))
    flops = counted(lambda: attention(q, q, q, intervals=packed, implementation="blocked"))
    assert flops == 4 * D * HEADS * (1 + 2 + 1 + 2)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake, start = mode.from_tensor(q), torch.zeros(1, 4, dtype=torch.int32)
        op = torch.ops.adbench.attention_blocked
        assert counted(lambda: op(fake, fake, fake, start, 4, 0, 1, 1.0)) == 4 * D * HEADS * 10


def test_the_same_call_through_sdpa_and_through_ours_is_the_square_and_what_is_seen() -> None:
    q = drawn(1, 4, HEADS, D)
    ours = counted(lambda: attention(q, q, q, implementation="blocked"))
    square = counted(lambda: attention(q, q, q, implementation="sdpa-math"))
    assert (ours, square) == (4 * D * HEADS * 10, 4 * D * HEADS * 16)


def test_rotary_attention_counts_as_attention() -> None:
    pytest.importorskip("numba")
    qkv, turns = (
        drawn(1, 4, 3 * HEADS, D).requires_grad_(),
        rotary_turns(torch.arange(4), D, dtype=torch.float32),
    )

    def run() -> Tensor:
        return rotary_attention(qkv, turns, window=2, implementation="numba")

    assert counted(run) == 4 * D * HEADS * 7
    assert counted(lambda: torch.autograd.backward(run().sum())) == 14 * D * HEADS * 7


SCRIPT = """
import sys
import {first}
import {second}
from torch.utils.flop_counter import flop_registry
import torch
assert torch.ops.adbench.attention_blocked in flop_registry
assert not any("adbench" in type(finder).__module__ for finder in sys.meta_path)
assert "adbench" not in type(torch.utils.flop_counter.__spec__.loader).__module__
"""


@pytest.mark.parametrize("ours_first", [True, False])
def test_the_formulas_are_there_whichever_is_imported_first(ours_first: bool) -> None:
    names = ("adbench_kernels", "torch.utils.flop_counter")
    first, second = names if ours_first else names[::-1]
    script = SCRIPT.format(first=first, second=second)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_ours_imports_neither_the_counter_nor_triton() -> None:
    script = "import sys, adbench_kernels; print('torch.utils.flop_counter' in sys.modules)"
    script += "; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_operators_for_gpus_have_their_formulas_too() -> None:
    names = "attention_triton attention_triton_backward ring_attention_triton"
    for name in names.split():
        assert getattr(torch.ops.adbench, name) in flop_registry
    ring = flop_registry[torch.ops.adbench.ring_attention_triton]
    q, keys, length = torch.zeros(3, 2, HEADS, D), torch.zeros(3, HEADS, 9, D), torch.zeros(3)
    # 3 lanes, 2 new tokens, 8 keys in view of each.
    assert ring(q, keys, keys, length, length, 8, 1.0, None) == 4 * D * HEADS * 3 * 2 * 8
