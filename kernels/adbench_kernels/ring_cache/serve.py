"""Which implementation of the ring serves a request, and what is said where one cannot.

B lanes, n new tokens, H query heads, G key heads (H = G * R), D head width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adbench_kernels import arguments
from adbench_kernels.choice import Implementation, fastest, installed, require, runs_triton
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingStep

_APPEND = {"reference": None, "triton": None}
_ATTENTION = {"reference": None, "numba": None, "triton": None}

_NO_GRAD = "use torch.no_grad() or implementation='reference'"
_LANES = 16  # float32 numbers that the CPU kernel takes at once
_TRITON_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_WIDEST = 128


def check_floating(name: str, x: Tensor, cache: RingCache) -> None:
    """Refuse what is not floating or lies elsewhere than the cache."""
    arguments.check_floating(name, x)
    if x.device != cache.keys.device:
        raise ValueError(f"{name}: must be on {cache.keys.device}, as the cache; got {x.device}")


def check_turns(turns: Tensor | None, x: Tensor) -> None:
    """Refuse turns that do not belong to x [B, n, heads, D]."""
    if turns is None:
        return
    arguments.check_floating("turns", turns)
    lanes, new, _, width = x.shape
    if width % 2:
        raise ValueError(f"turns: pairs are turned, so D must be even; got {width}")
    if turns.shape != (lanes, new, 2, width):
        raise ValueError(
            f"turns: must be floating [B={lanes}, n={new}, 2, D={width}]; "
            f"got {turns.dtype} {list(turns.shape)}"
        )
    if turns.device != x.device:
        raise ValueError(f"turns: must be on {x.device}; got {turns.device}")


def check_step(step: object, cache: RingCache) -> None:
    """Refuse a step that is not one of such lanes."""
    if not isinstance(step, RingStep):
        raise ValueError(f"step: must be what RingState.advance returns; got {type(step).__name__}")
    if (len(step.length), step.capacity) != (cache.lanes, cache.capacity):
        raise ValueError(
            f"step: of a state of {len(step.length)} lanes and capacity {step.capacity}; the cache "
            f"has {cache.lanes} and {cache.capacity}"
        )
    if step.length.device != cache.keys.device:
        raise ValueError(f"step: must be on {cache.keys.device}; got {step.length.device}")


def choose_append(asked: Implementation, k: Tensor, v: Tensor, cache: RingCache) -> str:
    """The implementation that appends k and v."""
    misfit = _triton_misfit({"k": k, "v": v}, cache)
    if misfit is None and torch.is_grad_enabled():
        grown = next((n for n, x in (("k", k), ("v", v)) if x.requires_grad), None)
        misfit = None if grown is None else f"{grown}: 'triton' has no gradient; {_NO_GRAD}"
    if asked == "auto":
        fits = k.device.type == "cuda" and misfit is None and runs_triton(k.device)
        return _fastest("ring_append", k, cache, ["triton"] if fits else [])
    require(asked, op="ring_append", provided=_APPEND, device=k.device)
    if asked == "triton" and misfit is not None:
        raise ValueError(misfit)
    return asked


def choose_attention(asked: Implementation, q: Tensor, cache: RingCache) -> str:
    """The implementation that attends to q."""
    inputs = (q, cache.keys, cache.values)
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    numba_fits = (
        q.device.type == "cpu"
        and cache.layout == "blocks"
        and q.dtype == cache.keys.dtype == torch.float32
        and cache.head_dim % _LANES == 0
        and not differentiated
    )
    misfit = _triton_misfit({"q": q}, cache) or _query_misfit(q, cache, differentiated)
    if asked == "auto":
        available = []
        if q.device.type == "cuda" and misfit is None and runs_triton(q.device):
            available.append("triton")
        if numba_fits and installed("numba"):
            available.append("numba")
        return _fastest("ring_attention", q, cache, available)
    require(asked, op="ring_attention", provided=_ATTENTION, device=q.device)
    if asked == "triton" and misfit is not None:
        raise ValueError(misfit)
    if asked == "numba" and not numba_fits:
        raise ValueError(
            f"implementation: 'numba' takes float32 on the CPU, head widths that are multiples of "
            f"{_LANES}, a cache with layout 'blocks' and no gradients; got {q.dtype} on "
            f"{q.device}, width {cache.head_dim}, layout {cache.layout!r}, requires_grad "
            f"{differentiated}"
        )
    return asked


def _fastest(op: str, x: Tensor, cache: RingCache, available: list[str]) -> str:
    return fastest(
        op,
        device=x.device,
        head_dim=cache.head_dim,
        length=cache.capacity,
        mask="window",
        available=[*available, "reference"],
    ).name


def _triton_misfit(inputs: dict[str, Tensor], cache: RingCache) -> str | None:
    """What hinders the Triton kernels, beginning with the argument's name; none: nothing."""
    if cache.layout != "slots":
        return "cache: 'triton' reads layout 'slots'; make it with RingCache(..., layout='slots')"
    if cache.keys.dtype not in _TRITON_DTYPES:
        return f"cache: 'triton' takes float32, float16 and bfloat16; got {cache.keys.dtype}"
    if cache.head_dim > _WIDEST:
        return f"cache: 'triton' takes head widths up to {_WIDEST}; got {cache.head_dim}"
    for name, x in inputs.items():
        if x.dtype not in _TRITON_DTYPES:
            return f"{name}: 'triton' takes float32, float16 and bfloat16; got {x.dtype}"
        if x.stride(-1) != 1 and x.shape[-1] > 1:
            return f"{name}: 'triton' needs a last stride of 1; got strides {list(x.stride())}"
    return None


def _query_misfit(q: Tensor, cache: RingCache, differentiated: bool) -> str | None:
    if q.dtype != cache.keys.dtype:
        return f"q: 'triton' takes the cache's dtype {cache.keys.dtype}; got {q.dtype}"
    if differentiated:
        return f"q: 'triton' has no gradient; {_NO_GRAD}"
    return None


def attend_with_numba(
    q: Tensor, cache: RingCache, step: RingStep, window: int, scale: float
) -> Tensor:
    """Attention by the CPU kernel, [B, n, H, D]; arguments as of `reference.ring_attention`."""
    from adbench_kernels.cpu.threads import share
    from adbench_kernels.ring_cache import cpu

    lanes, queries, heads, width = q.shape
    key_heads, blocks = cache.keys.shape[1:3]
    out = torch.empty(q.shape, dtype=torch.float32, device="cpu")  # whatever torch's defaults are
    q = q.detach().contiguous()
    arrays = [
        x.view(-1).numpy() for x in (q, cache.keys, cache.values, step.length, step.count, out)
    ]
    sizes = (queries, heads, key_heads, width, blocks, cache.capacity, window, scale)

    def work(first: int, end: int) -> None:
        scratch = np.empty(cpu.scratch_size(blocks, width), np.float32)
        cpu.attend(*arrays, *sizes, first, end, scratch)

    share(work, lanes * key_heads)
    return out
