"""The KV ring cache: append new tokens, attend to the last W. Static shapes, no device reads.

B lanes, n new tokens, C slots, H query heads, G key heads (H = G * R), D head width. Stepping
through tokens like this equals one pass of `attention` over all tokens since a lane's reset under
`Intervals.window(W)`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from adbench_kernels.choice import Implementation, installed, require
from adbench_kernels.ring_cache import reference
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingState, RingStep

__all__ = ["RingCache", "RingState", "RingStep", "ring_append", "ring_attention"]

_PROVIDED = {"reference": None, "numba": None}
_LANES = 16


def ring_append(
    cache: RingCache,
    k: Tensor,
    v: Tensor,
    *,
    count: Tensor | None = None,
    reset: Tensor | None = None,
    step: RingStep | None = None,
) -> RingStep:
    """Append new tokens to every lane, in place.

    Layers that share a `RingState` advance it once (`step = state.advance(n, ...)`) and pass the
    step; a cache with a state of its own is given `count` and `reset` instead.

    Args:
        cache: of this layer.
        k: keys of n new tokens, [B, n, G, D].
        v: values, [B, n, G, D].
        count: how many of the n are real, integers [B]; the first `count` are; none: all.
        reset: lanes that first forget all they hold, bool [B]; none: no lane.
        step: what the shared state said; excludes `count` and `reset`.

    Returns:
        The step, to pass to `ring_attention`.

    Raises:
        ValueError: names the argument.
    """
    lanes, key_heads, width = cache.lanes, cache.key_heads, cache.head_dim
    for name, x in (("k", k), ("v", v)):
        if x.ndim != 4 or (x.shape[0], x.shape[2], x.shape[3]) != (lanes, key_heads, width):
            raise ValueError(
                f"{name}: must be [B={lanes}, n, G={key_heads}, D={width}]; got {list(x.shape)}"
            )
    if k.shape != v.shape:
        raise ValueError(f"v: must have k's shape {list(k.shape)}; got {list(v.shape)}")
    if step is None:
        step = cache.state.advance(k.shape[1], count=count, reset=reset)
    elif count is not None or reset is not None:
        raise ValueError("step: count and reset were given to RingState.advance; leave them out")
    elif step.num_new != k.shape[1]:
        raise ValueError(f"step: made for {step.num_new} new tokens; k has {k.shape[1]}")
    cache.write(k, v, step)
    return step


def ring_attention(
    q: Tensor,
    cache: RingCache,
    *,
    window: int,
    count: Tensor | None = None,
    step: RingStep | None = None,
    scale: float | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Attention of the tokens just appended over the last `window` tokens up to each of them.

    Args:
        q: queries of the n tokens that `ring_append` took last, [B, n, H, D].
        cache: of this layer.
        window: W, tokens in view, the query's own included; W + n - 1 <= C.
        count: how many of the n are real, as given to `ring_append`; none: take it from there.
        step: what `ring_append` returned; none: its last.
        scale: multiplies the scores; none: 1 / sqrt(D).
        implementation: "reference"; "numba", for float32 on the CPU where D is a multiple of 16,
            without gradients; "auto" takes "numba" where that fits and numba is installed.

    Returns:
        [B, n, H, D]; 0 for tokens that are not real.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    lanes, key_heads, width = cache.lanes, cache.key_heads, cache.head_dim
    if q.ndim != 4 or (q.shape[0], q.shape[3]) != (lanes, width) or q.shape[2] % key_heads:
        raise ValueError(
            f"q: must be [B={lanes}, n, H = a multiple of {key_heads}, D={width}]; "
            f"got {list(q.shape)}"
        )
    step = step or cache.last_step
    if step is None:
        raise ValueError("cache: nothing was appended yet; call ring_append first")
    if step.num_new != q.shape[1]:
        raise ValueError(f"q: {q.shape[1]} queries, but {step.num_new} tokens were appended")
    if not 1 <= window <= cache.capacity - step.num_new + 1:
        raise ValueError(
            f"window: {step.num_new} new tokens in a ring of {cache.capacity} leave a window of "
            f"1 to {cache.capacity - step.num_new + 1}; got {window}"
        )
    if count is not None and count.shape != (lanes,):
        raise ValueError(f"count: must be [{lanes}]; got {list(count.shape)}")
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    fits = (
        q.device.type == "cpu"
        and cache.layout == "blocks"
        and q.dtype == cache.keys.dtype == torch.float32
        and width % _LANES == 0
        and not (q.requires_grad and torch.is_grad_enabled())
    )
    if implementation == "auto":
        implementation = "numba" if fits and installed("numba") else "reference"
    require(implementation, op="ring_attention", provided=_PROVIDED, device=q.device)
    if implementation == "reference":
        return reference.ring_attention(q, cache, step, window, factor)
    if not fits:
        raise ValueError(
            f"implementation: 'numba' takes float32 on the CPU, head widths that are multiples of "
            f"{_LANES}, a cache with layout 'blocks' and no gradients; got {q.dtype} on "
            f"{q.device}, width {width}, layout {cache.layout!r}, requires_grad {q.requires_grad}"
        )
    return _numba(q, cache, step, window, factor)


def _numba(q: Tensor, cache: RingCache, step: RingStep, window: int, scale: float) -> Tensor:
    from adbench_kernels.cpu.threads import share
    from adbench_kernels.ring_cache import cpu

    lanes, queries, heads, width = q.shape
    key_heads, blocks = cache.keys.shape[1:3]
    out = torch.empty(q.shape)
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
