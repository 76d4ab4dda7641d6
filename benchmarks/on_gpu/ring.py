"""The ring section: one layer's step for many lanes, as acting uses it.

4 heads with keys of their own, bfloat16, rings that are full and have wrapped. "attend" is the
decode kernel alone, "append" writes the new tokens, "step" is both with the bookkeeping, as one
layer does them. torch's part is SDPA over the same slots with the mask written out.

B lanes, n new tokens, C slots, H heads, D head width, W window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench_kernels import RingCache, RingStep, ring_append, ring_attention
from benchmarks.on_gpu.card import Card
from benchmarks.on_gpu.cases import Case, Work
from benchmarks.on_gpu.exact import errors, exact_dtype

ABOUT = "ring cache: append and split-KV decode, lanes by window"

HEADS, BFLOAT16_BYTES = 4, 2
LANES, WINDOWS = (1024, 64, 4096), (1024, 256, 4096)
HEAD_DIMS, NEW = (32, 64, 16), (1, 3)
FILL_AT_ONCE = 64


def cases(*, smoke: bool, on_gpu: bool) -> list[Case]:
    """Every case, lanes by window by width.

    Args:
        smoke: a few tiny ones.
        on_gpu: ours is "triton" there and "reference" on a CPU.
    """
    ours = "triton" if on_gpu else "reference"
    found = []
    for head_dim in (16,) if smoke else HEAD_DIMS:
        for lanes in (3,) if smoke else LANES:
            for window in (20,) if smoke else WINDOWS:
                for new in NEW:
                    size = (lanes, window, new, head_dim)
                    ways = [("attend", ours), ("attend", "sdpa"), ("append", ours), ("step", ours)]
                    found += [_case(mode, size, name) for mode, name in ways]
    return found


def _case(mode: str, size: tuple[int, int, int, int], name: str) -> Case:
    lanes, window, new, head_dim = size
    key: dict[str, str | int] = {
        "op": "ring", "mode": mode, "lanes": lanes, "window": window, "new": new, "D": head_dim,
        "implementation": name,
    }  # fmt: skip
    depends = "" if name == "sdpa" else "kernels"
    return Case(key, lambda card: prepare(card, mode, size, name), depends)


@dataclass(frozen=True)
class Ring:
    """A full ring, and the step that was appended last."""

    cache: RingCache
    q: Tensor
    k: Tensor
    v: Tensor
    step: RingStep


@lru_cache(maxsize=1)
def _rings(card: Card, lanes: int, window: int, new: int, head_dim: int) -> tuple[Ring, ...]:
    dtype = torch.bfloat16 if card.on_gpu else torch.float32
    moved = 2 * lanes * HEADS * (window + new - 1) * head_dim * BFLOAT16_BYTES
    return tuple(
        _ring(card, dtype, seed, lanes, window, new, head_dim) for seed in range(card.sets(moved))
    )


def _ring(
    card: Card, dtype: torch.dtype, seed: int, lanes: int, window: int, new: int, head_dim: int
) -> Ring:
    capacity = window + new - 1
    cache = RingCache(lanes, capacity, HEADS, head_dim, dtype, card.device, layout="slots")

    def drawn(tokens: int, salt: int) -> Tensor:
        shape = (lanes, tokens, HEADS, head_dim)
        return card.normal(*shape, seed=1000 * seed + salt, dtype=dtype)

    # A ring and a half: every slot is written, and the oldest token lies in the middle.
    chunk = min(FILL_AT_ONCE, capacity)
    for number in range(-(-3 * capacity // (2 * chunk))):
        k, v = drawn(chunk, 2 * number), drawn(chunk, 2 * number + 1)
        ring_append(cache, k, v, implementation="reference")
    q, k, v = (drawn(new, 900 + salt) for salt in range(3))
    step = ring_append(cache, k, v, implementation="reference")
    return Ring(cache, q, k, v, step)


def prepare(card: Card, mode: str, size: tuple[int, int, int, int], name: str) -> Work:
    """A step of full rings, or a part of it, made ready.

    Args:
        card: on which.
        mode: "attend", "append" or "step".
        size: lanes, window, new tokens, head width.
        name: of the implementation.
    """
    lanes, window, new, head_dim = size
    rings = _rings(card, *size)
    scale = 1 / math.sqrt(head_dim)

    def check() -> Mapping[str, float]:
        ring = rings[0]
        if mode != "attend":
            return _check_written(ring, name)
        found = _attend(ring, window, scale, name)()
        some = [0, lanes - 1]
        exact = _definition(ring, some, window, scale, exact_dtype(ring.q.dtype))
        plain = _definition(ring, some, window, scale, ring.q.dtype)
        return errors([found[some]], [exact], [plain], ("out",))

    make = {"attend": _attend, "append": _append, "step": _step}[mode]
    elements = float(lanes * HEADS * new * window)
    flops, moved = 4 * head_dim * elements, _bytes(mode, size, rings[0].q.element_size())
    if mode == "append":
        flops = elements = 0.0
    return Work([make(ring, window, scale, name) for ring in rings], check, flops, moved, elements)


def _bytes(mode: str, size: tuple[int, int, int, int], element: int) -> float:
    lanes, window, new, head_dim = size
    token = lanes * HEADS * head_dim * element  # one tensor's share of a token, all lanes
    read = 2 * (window + new - 1) * token + 2 * new * token  # keys, values, queries, output
    written = 4 * new * token  # new keys and values, read and written
    return float({"attend": read, "append": written, "step": read + written}[mode])


def _attend(ring: Ring, window: int, scale: float, name: str) -> Callable[[], Tensor]:
    if name == "sdpa":
        seen = ring.step.visible(window)[:, None]  # [B, 1, n, C]
        q = ring.q.transpose(1, 2)

        def torchs() -> Tensor:
            keys, values = ring.cache.keys, ring.cache.values
            out = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen, scale=scale)
            return out.transpose(1, 2)

        return torchs

    def ours() -> Tensor:
        return ring_attention(
            ring.q, ring.cache, window=window, step=ring.step, scale=scale,
            implementation=name,  # type: ignore[arg-type]
        )  # fmt: skip

    return ours


def _append(ring: Ring, window: int, scale: float, name: str) -> Callable[[], Any]:
    return lambda: ring_append(
        ring.cache, ring.k, ring.v, step=ring.step, implementation=name  # type: ignore[arg-type]
    )  # fmt: skip


def _step(ring: Ring, window: int, scale: float, name: str) -> Callable[[], Any]:
    ways: Any = {"implementation": name}

    def both() -> Tensor:
        step = ring_append(ring.cache, ring.k, ring.v, **ways)
        return ring_attention(ring.q, ring.cache, window=window, step=step, scale=scale, **ways)

    return both


def _definition(
    ring: Ring, some: list[int], window: int, scale: float, dtype: torch.dtype
) -> Tensor:
    """Attention of some lanes, [lanes, n, H, D], slot by slot: token t lives in slot t mod C."""
    length = ring.step.length[some]
    new, capacity = ring.q.shape[1], ring.cache.capacity
    slot = torch.arange(capacity, device=length.device)
    newest = length[:, None] - 1
    token = newest - (newest - slot).remainder(capacity)  # [lanes, C]
    asks = length[:, None] - new + torch.arange(new, device=length.device)  # [lanes, n]
    age = asks[:, :, None] - token[:, None]
    seen = ((age >= 0) & (age < window) & (token >= 0)[:, None])[:, None]  # [lanes, 1, n, C]
    keys, values = (x[some].to(dtype) for x in (ring.cache.keys, ring.cache.values))
    q = ring.q[some].transpose(1, 2).to(dtype)
    scores = (q @ keys.transpose(2, 3) * scale).masked_fill(~seen, -torch.inf)
    return (scores.softmax(3) @ values).transpose(1, 2)


def _check_written(ring: Ring, name: str) -> Mapping[str, float]:
    """Appending the step again leaves the slots as they were: it writes those and no others."""
    before = ring.cache.keys.clone(), ring.cache.values.clone()
    _forget(ring)
    _append(ring, 0, 0.0, name)()
    found = [ring.cache.keys.contiguous(), ring.cache.values.contiguous()]
    return errors(found, before, before, ("keys", "values"))


def _forget(ring: Ring) -> None:
    """Blank the slots of the step's tokens."""
    for lane in range(ring.cache.lanes):
        ring.cache.keys[lane, :, ring.step.slot[lane]] = 0.0
        ring.cache.values[lane, :, ring.step.slot[lane]] = 0.0
