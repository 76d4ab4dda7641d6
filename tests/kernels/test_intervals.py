"""Which keys a query sees, for every way of saying so."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from adbench_kernels import Intervals

UNTYPED: Any = Intervals
"""For what a type checker would refuse too."""

MOST = 2**63 - 1
"""Of int64: the difference of this and its negative is not."""


def rows(
    intervals: Intervals, queries: int, keys: int, query_offset: int = 0, query_stride: int = 1
) -> list[str]:
    mask = intervals.visible(
        1, queries, keys, query_offset=query_offset, query_stride=query_stride
    )[0]
    return ["".join("x" if seen else "." for seen in row) for row in mask.tolist()]


def test_causal_sees_itself_and_everything_before() -> None:
    assert rows(Intervals.causal(), 3, 3) == ["x..", "xx.", "xxx"]


def test_window_counts_the_query_itself() -> None:
    assert rows(Intervals.window(2), 4, 4) == ["x...", "xx..", ".xx.", "..xx"]


def test_last_episodes_counts_the_current_one() -> None:
    episodes = torch.tensor([[3, 3, 4, 9, 9]])
    assert rows(Intervals.last_episodes(episodes, 1), 5, 5) == [
        "x....", "xx...", "..x..", "...x.", "...xx",
    ]  # fmt: skip
    assert rows(Intervals.last_episodes(episodes, 2), 5, 5) == [
        "x....", "xx...", "xxx..", "..xx.", "..xxx",
    ]  # fmt: skip


def test_packed_histories_never_see_each_other_even_under_one_id() -> None:
    histories = torch.tensor([[7, 7, 2, 7]])
    assert rows(Intervals.packed(histories), 4, 4) == ["x...", "xx..", "..x.", "...x"]


def test_kv_start_past_the_query_shows_it_nothing() -> None:
    intervals = Intervals.from_kv_start(torch.tensor([[0, 2, 2]]), 3)
    assert rows(intervals, 3, 3) == ["x..", "...", "..x"]


def test_strided_queries_take_their_rows_of_the_mask() -> None:
    episodes = torch.tensor([[0, 0, 0, 1, 1, 1, 2]])
    for intervals in (
        Intervals.causal(),
        Intervals.window(3),
        Intervals.last_episodes(episodes, 2),
        Intervals.packed(episodes),
    ):
        every = rows(intervals, 7, 7)
        assert rows(intervals, 3, 7, query_offset=1, query_stride=2) == every[1:6:2]


def test_starts_never_decrease() -> None:
    source = torch.Generator().manual_seed(1)
    episodes = torch.randint(0, 2, (5, 65), generator=source).cumsum(1)
    for intervals in (Intervals.last_episodes(episodes, 3), Intervals.packed(episodes % 3)):
        assert intervals.kv_start is not None
        assert (intervals.kv_start.diff(dim=1) >= 0).all()


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: Intervals.window(0), "size"),
        (lambda: UNTYPED.window(1.5), "size"),
        (lambda: UNTYPED.window(float("nan")), "size"),
        (lambda: UNTYPED.window(torch.tensor(2)), "size"),
        (lambda: Intervals.last_episodes(torch.tensor([[1, 0]]), 1), "episode_id"),
        (lambda: Intervals.last_episodes(torch.tensor([[0, 1]]), 0), "k"),
        (lambda: UNTYPED.last_episodes(torch.tensor([[0, 1]]), 1.5), "k"),
        (lambda: Intervals.last_episodes(torch.zeros(1, 2), 1), "episode_id"),
        (lambda: UNTYPED.last_episodes([[0, 1]], 1), "episode_id"),
        (lambda: Intervals.last_episodes(torch.tensor([[3, 2]]).byte(), 1), "episode_id"),
        (lambda: Intervals.last_episodes(torch.tensor([[MOST, -MOST]]), 1), "episode_id"),
        (lambda: Intervals.last_episodes(torch.zeros(1, 2, device="meta").long(), 1), "episode_id"),
        (lambda: Intervals.packed(torch.tensor([0, 1])), "history_id"),
        (lambda: Intervals.packed(torch.ones(1, 2, dtype=torch.bool)), "history_id"),
        (lambda: Intervals.from_kv_start(torch.tensor([[1, 0]]), 2), "kv_start"),
        (lambda: Intervals.from_kv_start(torch.tensor([[-1, 0]]), 2), "kv_start"),
        (lambda: Intervals.from_kv_start(torch.tensor([[0, 3]]), 2), "kv_start"),
        (lambda: Intervals.from_kv_start(torch.tensor([[3, 2]]).byte(), 5), "kv_start"),
        (lambda: Intervals.from_kv_start(torch.zeros(1, 2, device="meta").long(), 2), "kv_start"),
        (lambda: Intervals.from_kv_start(torch.tensor([[0]]), -1), "num_keys"),
        (lambda: UNTYPED.from_kv_start(torch.tensor([[0]]), 1.0), "num_keys"),
        (lambda: Intervals.from_kv_start(torch.tensor([[0]]), 1 << 31), "num_keys"),
        (
            lambda: Intervals.from_kv_start(torch.tensor([[0, 0]]), 1, query_stride=1 << 30),
            "query_offset",
        ),
        (lambda: Intervals.from_kv_start(torch.tensor([[0]]), 1, query_stride=0), "query_stride"),
        (lambda: Intervals.from_kv_start(torch.tensor([[0]]), 1, query_offset=-1), "query_offset"),
    ],
)
def test_bad_intervals_are_refused_by_the_name_of_the_argument(
    build: Callable[[], Any], argument: str
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        build()


def test_check_can_be_left_out_where_the_device_must_not_be_read() -> None:
    intervals = Intervals.from_kv_start(torch.tensor([[1, 0]]), 2, check=False)
    assert intervals.kv_start is not None
    assert intervals.kv_start.dtype == torch.int32


def test_ids_may_be_any_integers_however_far_apart() -> None:
    for dtype in (torch.uint8, torch.int8, torch.uint16, torch.int32, torch.uint32, torch.uint64):
        episodes = torch.tensor([[0, 0, 100]]).to(dtype)
        for intervals in (Intervals.last_episodes(episodes, 1), Intervals.packed(episodes)):
            assert rows(intervals, 3, 3) == ["x..", "xx.", "..x"]
    assert rows(Intervals.last_episodes(torch.tensor([[-MOST, MOST]]), 1), 2, 2) == ["x.", ".x"]
    assert rows(Intervals.last_episodes(torch.tensor([[3, 4]]), 2**70), 2, 2) == ["x.", "xx"]


def test_queries_after_the_last_key_see_what_is_left_of_their_window() -> None:
    assert rows(Intervals.causal(), 2, 3, query_offset=7) == ["xxx", "xxx"]
    assert rows(Intervals.window(4), 4, 3, query_offset=2) == ["xxx", "xxx", ".xx", "..x"]
    assert rows(Intervals.window(5), 2, 3, query_offset=4, query_stride=4) == ["xxx", "..."]
    starts = Intervals.from_kv_start(torch.tensor([[1, 3]]), 3, query_offset=9)
    assert rows(starts, 2, 3, query_offset=9) == [".xx", "..."]


def test_a_mask_made_while_tracing_is_not_kept_for_others() -> None:
    with FakeTensorMode():
        Intervals.window(3).visible(1, 31, 31)
    assert type(Intervals.window(3).visible(1, 31, 31)) is torch.Tensor


def test_intervals_can_be_copied_and_pickled() -> None:
    made = Intervals.from_kv_start(torch.tensor([[0, 1]]), 3, query_offset=1)
    for copy in (pickle.loads(pickle.dumps(made)), deepcopy(made)):
        assert (
            rows(copy, 2, 3, query_offset=1) == rows(made, 2, 3, query_offset=1) == ["xx.", ".xx"]
        )
