"""Which keys a query sees: one number a query.

B batch rows, Q queries, T keys. Query i sits at position p = query_offset + i * query_stride among
the keys and sees key j where `start[b, i] <= j <= p`. Starts never decrease along a row. That one
integer covers causal masks, sliding windows, the last k episodes and packed histories.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


class Intervals:
    """Interval-causal visibility; build it with one of the class methods, which check once.

    Attributes:
        width: a query sees its own position and the `width - 1` before it; none: everything before.
        kv_start: first visible key of each query, int32 [B, Q]; none where `width` says it all.
        num_keys: T that `kv_start` was made for; none without `kv_start`.
        query_offset: position of the first query that `kv_start` speaks of.
        query_stride: positions between its queries.
        per_position: `kv_start` holds every position 0 .. T - 1, so any queries may be asked.
    """

    __slots__ = ("kv_start", "num_keys", "per_position", "query_offset", "query_stride", "width")

    def __init__(
        self,
        *,
        width: int | None = None,
        kv_start: Tensor | None = None,
        num_keys: int | None = None,
        query_offset: int = 0,
        query_stride: int = 1,
        per_position: bool = False,
    ) -> None:
        self.width = width
        self.kv_start = kv_start
        self.num_keys = num_keys
        self.query_offset = query_offset
        self.query_stride = query_stride
        self.per_position = per_position

    def __repr__(self) -> str:
        if self.kv_start is None:
            return "Intervals.causal()" if self.width is None else f"Intervals.window({self.width})"
        return f"Intervals(kv_start={list(self.kv_start.shape)}, num_keys={self.num_keys})"

    @classmethod
    def causal(cls) -> Intervals:
        """A query sees its own position and everything before it."""
        return cls()

    @classmethod
    def window(cls, size: int) -> Intervals:
        """A query sees the last `size` positions, its own included.

        Raises:
            ValueError: size is below 1.
        """
        if size < 1:
            raise ValueError(f"size: a window holds at least 1 key; got {size}")
        return cls(width=size)

    @classmethod
    def last_episodes(cls, episode_id: Tensor, k: int) -> Intervals:
        """A query sees its own episode so far and the `k - 1` episodes before it.

        Args:
            episode_id: integers [B, T], never decreasing along a row.
            k: episodes in view, at least 1.

        Raises:
            ValueError: names the argument.
        """
        _check_integer_matrix("episode_id", episode_id)
        if k < 1:
            raise ValueError(f"k: at least 1 episode is in view; got {k}")
        if bool((episode_id.diff(dim=1) < 0).any()):
            raise ValueError("episode_id: must never decrease along a row")
        ids = episode_id.to(torch.int64).contiguous()
        # Episodes count by rank, so that ids may skip numbers.
        rank = torch.cat([torch.zeros_like(ids[:, :1]), (ids.diff(dim=1) > 0).long()], 1).cumsum(1)
        start = torch.searchsorted(rank, rank - (k - 1))
        return cls(kv_start=start.int(), num_keys=ids.shape[1], per_position=True)

    @classmethod
    def packed(cls, history_id: Tensor) -> Intervals:
        """A query sees its own history so far; a new history starts wherever the id changes.

        Args:
            history_id: integers [B, T], in any order.

        Raises:
            ValueError: names the argument.
        """
        _check_integer_matrix("history_id", history_id)
        position = torch.arange(history_id.shape[1], device=history_id.device)
        changed = history_id[:, 1:] != history_id[:, :-1]
        begins = torch.cat([torch.ones_like(history_id[:, :1], dtype=torch.bool), changed], 1)
        start = torch.where(begins, position, 0).cummax(1).values
        return cls(kv_start=start.int(), num_keys=history_id.shape[1], per_position=True)

    @classmethod
    def from_kv_start(
        cls,
        kv_start: Tensor,
        num_keys: int,
        *,
        query_offset: int = 0,
        query_stride: int = 1,
        check: bool = True,
    ) -> Intervals:
        """Any interval-causal visibility.

        Args:
            kv_start: first visible key of each query, integers [B, Q] in [0, num_keys]; never
                decreasing along a row. A start past the query's own position shows it nothing.
            num_keys: T.
            query_offset: position of the first query.
            query_stride: positions between queries.
            check: read the values and refuse bad ones (once, here; it waits for the device).

        Raises:
            ValueError: names the argument.
        """
        _check_integer_matrix("kv_start", kv_start)
        check_positions(kv_start.shape[1], num_keys, query_offset, query_stride)
        if check:
            if bool((kv_start.diff(dim=1) < 0).any()):
                raise ValueError("kv_start: must never decrease along a row")
            low, high = (int(x) for x in kv_start.aminmax()) if kv_start.numel() else (0, 0)
            if low < 0 or high > num_keys:
                raise ValueError(f"kv_start: must lie in [0, {num_keys}]; got {low} to {high}")
        return cls(
            kv_start=kv_start.to(torch.int32),
            num_keys=num_keys,
            query_offset=query_offset,
            query_stride=query_stride,
        )

    def starts(
        self, batch: int, num_queries: int, num_keys: int, query_offset: int, query_stride: int
    ) -> Tensor | None:
        """`kv_start` of the queries of one call, int32 [B, Q]; none where `width` says it all.

        Raises:
            ValueError: these intervals were built for other queries or keys.
        """
        if self.kv_start is None:
            return None
        if self.num_keys != num_keys or self.kv_start.shape[0] not in (1, batch):
            raise ValueError(
                f"intervals: built for {self.kv_start.shape[0]} rows of {self.num_keys} keys; "
                f"got {batch} rows of {num_keys}"
            )
        if self.per_position:
            stop = query_offset + num_queries * query_stride
            start = self.kv_start[:, query_offset:stop:query_stride]
        else:
            built = (self.kv_start.shape[1], self.query_offset, self.query_stride)
            asked = (num_queries, query_offset, query_stride)
            if built != asked:
                raise ValueError(
                    "intervals: built for (queries, query_offset, query_stride) = "
                    f"{built}; got {asked}"
                )
            start = self.kv_start
        return start.expand(batch, num_queries)

    def visible(
        self,
        batch: int,
        num_queries: int,
        num_keys: int,
        *,
        query_offset: int = 0,
        query_stride: int = 1,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The mask written out, bool [B or 1, Q, T]: True where a query sees a key."""
        start = self.starts(batch, num_queries, num_keys, query_offset, query_stride)
        if start is None:
            width = num_keys if self.width is None else min(self.width, num_keys)
            band = _band(num_queries, num_keys, width, query_offset, query_stride, str(device))
            return band[None]
        key = torch.arange(num_keys, device=device)
        position = query_offset + query_stride * torch.arange(num_queries, device=device)
        return (key <= position[:, None]) & (key >= start.to(device)[:, :, None])


@lru_cache(maxsize=8)
def _band(queries: int, keys: int, width: int, offset: int, stride: int, device: str) -> Tensor:
    position = offset + stride * torch.arange(queries, device=device)[:, None]
    key = torch.arange(keys, device=device)
    return (key <= position) & (key > position - width)


def check_positions(num_queries: int, num_keys: int, query_offset: int, query_stride: int) -> None:
    """Refuse queries that sit at no key.

    Raises:
        ValueError: names the argument.
    """
    if query_stride < 1:
        raise ValueError(f"query_stride: must be at least 1; got {query_stride}")
    if query_offset < 0:
        raise ValueError(f"query_offset: must be at least 0; got {query_offset}")
    last = query_offset + (num_queries - 1) * query_stride
    if num_queries > 0 and last >= num_keys:
        raise ValueError(
            f"query_offset: the last of {num_queries} queries would sit at position {last} "
            f"(offset {query_offset}, stride {query_stride}), but there are {num_keys} keys"
        )


def _check_integer_matrix(name: str, value: Tensor) -> None:
    if value.ndim != 2:
        raise ValueError(f"{name}: must be [B, length]; got {list(value.shape)}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise ValueError(f"{name}: must hold integers; got {value.dtype}")
