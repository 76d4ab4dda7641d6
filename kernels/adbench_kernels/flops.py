"""Floating-point operations of our operators, for torch.utils.flop_counter.

Counted is what the mathematics of a call needs, as torch counts its own attention: two operations
a multiply-add of the matrix products, nothing for exponentials and sums.

- A pair of query and key counts where the query sees the key, so causal masks, windows and strided
  queries count as what is computed, not as the full square. Parts of tiles that are computed and
  masked away do not count.
- Forward: 2 products, 4 D a pair. Backward: 5 products (scores again, dP, dV, dQ, dK), 10 D a
  pair; scores made a second time by a backward in two kernels do not count.
- `kv_start` is a tensor. Where it holds values, pairs are counted from them (which waits for the
  device: counting is a diagnosis). Without values (fake or meta tensors) the window alone bounds
  them, which is an upper bound.

Formulas register when `torch.utils.flop_counter` is imported, and not before: that module imports
Triton, or warns where Triton is missing, and an import of ours does neither.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

_COUNTER = "torch.utils.flop_counter"
_FORWARD, _BACKWARD = 4, 10


def visible_pairs(
    num_queries: int, num_keys: int, *, width: int, query_offset: int = 0, query_stride: int = 1
) -> int:
    """Pairs (query, key) in which the query sees the key, of one row and head.

    Query i sits at p = query_offset + i * query_stride and sees the last `width` keys up to p.

    Args:
        num_queries: Q.
        num_keys: T.
        width: keys in view, the query's own included.
        query_offset: position of query 0.
        query_stride: positions between queries.
    """

    def seen(first: int) -> int:
        """Keys before `first + query_stride * i`, of all there are to the left, summed over i."""
        none = min(max(-(first // query_stride), 0), num_queries)  # queries that see nothing there
        left = num_queries - none
        return left * (first + query_stride * none) + query_stride * (left * (left - 1) // 2)

    # Of the keys up to a query, those after the last key do not exist, and those that have left the
    # window, existing or not, are not seen.
    begin = query_offset + 1
    return (
        seen(begin) - seen(begin - num_keys) - seen(begin - width) + seen(begin - width - num_keys)
    )


def interval_pairs(
    kv_start: Tensor, num_keys: int, *, width: int, query_offset: int = 0, query_stride: int = 1
) -> int:
    """The same with a first visible key for each query, summed over the rows.

    Args:
        kv_start: integers [B, Q]; its values are read.
        num_keys: T.
        width: keys in view at most.
        query_offset: position of query 0.
        query_stride: positions between queries.
    """
    position = query_offset + query_stride * torch.arange(
        kv_start.shape[1], device=kv_start.device, dtype=torch.int64
    )
    first = torch.maximum(kv_start.to(torch.int64), position - (width - 1))
    end = (position + 1).clamp(max=num_keys)
    return int((end - first.clamp(min=0)).clamp(min=0).sum())


def attention_flops(
    q: Tensor,
    k: Tensor,
    kv_start: Tensor | None,
    width: int,
    query_offset: int,
    query_stride: int,
    *,
    backward: bool = False,
) -> int:
    """Operations of interval-causal attention.

    Args:
        q: [B, Q, H, D].
        k: [B, T, G, D].
        kv_start: [B, Q] or none.
        width: keys in view at most.
        query_offset: position of query 0.
        query_stride: positions between queries.
        backward: count the gradients instead of the output.
    """
    batch, queries, heads, head_dim = q.shape
    keys = k.shape[1]
    span = {"width": width, "query_offset": query_offset, "query_stride": query_stride}
    if kv_start is None or not _has_values(kv_start):
        pairs = batch * visible_pairs(queries, keys, **span)
    else:
        pairs = interval_pairs(kv_start.expand(batch, queries), keys, **span)
    return (_BACKWARD if backward else _FORWARD) * head_dim * heads * pairs


def _attention(
    q: Tensor, k: Tensor, v: Tensor, start: Tensor | None, width: int, offset: int, stride: int,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    return attention_flops(q, k, start, width, offset, stride)


def _attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, start: Tensor | None,
    width: int, offset: int, stride: int, *_: Any, **__: Any,
) -> int:  # fmt: skip
    return attention_flops(q, k, start, width, offset, stride, backward=True)


def _rotary(qkv: Tensor, turns: Tensor, window: int, *_: Any, **__: Any) -> int:
    """Attention alone: turning is 6 operations a pair of numbers, and no matrix product."""
    q = qkv[:, :, : qkv.shape[2] // 3]
    return attention_flops(q, q, None, window, 0, 1)


def _rotary_backward(
    grad: Tensor, qkv: Tensor, turns: Tensor, out: Tensor, lse: Tensor, window: int,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    q = qkv[:, :, : qkv.shape[2] // 3]
    return attention_flops(q, q, None, window, 0, 1, backward=True)


def _ring(
    q: Tensor, keys: Tensor, values: Tensor, length: Tensor, count: Tensor, window: int,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    """Rings that are full and tokens that are all real: how full they are is on the device."""
    lanes, new, heads, head_dim = q.shape
    return _FORWARD * head_dim * heads * lanes * new * min(window, keys.shape[2])


def _has_values(x: Tensor) -> bool:
    from torch._subclasses.fake_tensor import FakeTensor

    return not (x.is_meta or isinstance(x, FakeTensor))


_FORMULAS: dict[str, Callable[..., int]] = {
    "attention_blocked": _attention,
    "attention_blocked_backward": _attention_backward,
    "attention_triton": _attention,
    "attention_triton_backward": _attention_backward,
    "ring_attention_triton": _ring,
    "rotary_attention_cpu": _rotary,
    "rotary_attention_cpu_backward": _rotary_backward,
}


def register(name: str, formula: Callable[..., int]) -> None:
    """Give an operator `adbench::name` its formula; operators of this package do so once.

    Args:
        name: without "adbench::".
        formula: takes what the operator takes (tensors, not shapes) and gives operations.
    """
    _FORMULAS[name] = formula
    counter = sys.modules.get(_COUNTER)
    if counter is not None and hasattr(counter, "flop_registry"):
        _tell(counter, (name,))


def _tell(counter: ModuleType, names: Sequence[str]) -> None:
    for name in names:
        packet = getattr(torch.ops.adbench, name, None)
        if packet is not None and packet not in counter.flop_registry:
            counter.register_flop_formula(packet, get_raw=True)(_FORMULAS[name])


class _WhenCounted(MetaPathFinder, Loader):
    """Waits for torch's counter to be imported, then tells it the formulas, and is gone."""

    def __init__(self) -> None:
        self._loader: Loader | None = None

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != _COUNTER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        assert self._loader is not None and module.__spec__ is not None
        module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _tell(module, tuple(_FORMULAS))


def announce() -> None:
    """Register every formula with torch's counter now, or as soon as it is imported."""
    counter = sys.modules.get(_COUNTER)
    if counter is not None:
        _tell(counter, tuple(_FORMULAS))
    elif not any(isinstance(finder, _WhenCounted) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenCounted())
