"""Which keys a query sees: one number a query.

B batch rows, Q queries, T keys. Query i sits at position p = query_offset + i * query_stride among
the keys and sees key j where `start[b, i] <= j <= p`. Starts never decrease along a row. That one
integer covers causal masks, sliding windows, the last k episodes and packed histories. Where the
keys are a part of a row, a query may sit after the last of them; it sees those that it sees.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from adbench_kernels.arguments import check_tensor, whole
from adbench_kernels.interval_attention.positions import LONGEST, check_length, check_positions


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
        return cls(width=whole("size", size, least=1))

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
        _check_values("episode_id", episode_id)
        before = min(whole("k", k, least=1), LONGEST) - 1
        ids = episode_id.to(torch.int64).contiguous()
        _check_order("episode_id", ids)
        # Episodes count by rank, so that ids may skip numbers.
        later = (ids[:, 1:] > ids[:, :-1]).long()
        rank = torch.cat([torch.zeros_like(ids[:, :1]), later], 1).cumsum(1)
        start = torch.searchsorted(rank, rank - before)
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
                decreasing along a row. A start past the query's own position, or past the last
                key, shows it nothing. int32 is kept as it is, not copied.
            num_keys: T.
            query_offset: position of the first query.
            query_stride: positions between queries.
            check: read the values and refuse bad ones (once, here; it waits for the device).

        Raises:
            ValueError: names the argument.
        """
        _check_integer_matrix("kv_start", kv_start)
        num_keys = whole("num_keys", num_keys, least=0)
        check_length("num_keys", num_keys)
        offset, stride = check_positions(kv_start.shape[1], query_offset, query_stride)
        if check:
            _check_values("kv_start", kv_start, "; check=False takes it as it is")
            ids = kv_start.to(torch.int64)
            _check_order("kv_start", ids)
            low, high = (int(x) for x in ids.aminmax()) if ids.numel() else (0, 0)
            if low < 0 or high > num_keys:
                raise ValueError(f"kv_start: must lie in [0, {num_keys}]; got {low} to {high}")
        return cls(
            kv_start=kv_start.to(torch.int32),
            num_keys=num_keys,
            query_offset=offset,
            query_stride=stride,
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
            last = query_offset + (num_queries - 1) * query_stride
            if num_queries > 0 and last >= num_keys:
                raise ValueError(
                    f"intervals: built for positions 0 to {num_keys - 1}; the last query sits at "
                    f"{last}. Say what it sees with from_kv_start"
                )
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
            reach = query_offset + num_queries * query_stride  # past every position
            width = reach if self.width is None else min(self.width, reach)
            traced = torch.compiler.is_compiling() or is_in_torch_dispatch_mode()
            build = _band if traced else _kept_band
            where = (query_offset, query_stride, str(device))
            return build(num_queries, num_keys, width, *where)[None]
        key = torch.arange(num_keys, device=device)
        position = query_offset + query_stride * torch.arange(num_queries, device=device)
        return (key <= position[:, None]) & (key >= start.to(device)[:, :, None])


def _band(queries: int, keys: int, width: int, offset: int, stride: int, device: str) -> Tensor:
    position = offset + stride * torch.arange(queries, device=device)[:, None]
    key = torch.arange(keys, device=device)
    return (key <= position) & (key > position - width)


# Not while tracing: what a mode makes of it may be no plain tensor, of use to nobody else.
_kept_band = lru_cache(maxsize=8)(_band)


def _check_order(name: str, ids: Tensor) -> None:
    # Compared, not subtracted: a difference may be more than the type holds.
    if bool((ids[:, 1:] < ids[:, :-1]).any()):
        raise ValueError(f"{name}: must never decrease along a row")


def _check_values(name: str, value: Tensor, else_what: str = "") -> None:
    if value.is_meta:
        raise ValueError(f"{name}: its values are looked at; got a tensor on meta{else_what}")


def _check_integer_matrix(name: str, value: Tensor) -> None:
    check_tensor(name, value)
    if value.ndim != 2:
        raise ValueError(f"{name}: must be [B, length]; got {list(value.shape)}")
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise ValueError(f"{name}: must hold integers; got {value.dtype}")
