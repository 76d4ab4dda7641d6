"""The KV ring cache: append new tokens, attend to the last W. Static shapes, no device reads.

B lanes, n new tokens, C slots, H query heads, G key heads (H = G * R), D head width. Stepping
through tokens like this equals one pass of `attention` over all tokens since a lane's reset under
`Intervals.window(W)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adbench_kernels.arguments import check_tensor, refuse_forward_mode, scale_of, whole
from adbench_kernels.choice import Implementation
from adbench_kernels.ring_cache import library, reference, serve
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingState, RingStep
from adbench_kernels.rotary_attention.turns import rotate

__all__ = ["RingCache", "RingState", "RingStep", "ring_append", "ring_attention"]


def ring_append(
    cache: RingCache,
    k: Tensor,
    v: Tensor,
    *,
    count: Tensor | None = None,
    reset: Tensor | None = None,
    step: RingStep | None = None,
    turns: Tensor | None = None,
    implementation: Implementation = "auto",
) -> RingStep:
    """Append new tokens to every lane, in place.

    Layers that share a `RingState` advance it once (`step = state.advance(n, ...)`) and pass the
    step; a cache with a state of its own is given `count` and `reset` instead.

    Args:
        cache: of this layer.
        k: keys of n new tokens, [B, n, G, D].
        v: values, [B, n, G, D].
        count: how many of the n are real, integers [B], 0 to n; the first `count` are; none: all.
        reset: lanes that first forget all they hold, bool [B]; none: no lane.
        step: what the shared state said; excludes `count` and `reset`.
        turns: rotary turns of the keys, [B, n, 2, D], of `rotary_turns`; none: k is kept as it is.
        implementation: "reference"; "triton", for a cache with layout "slots", float32 or 16-bit
            floats, D up to 128; "auto" takes "triton" on a GPU where that fits.

    Returns:
        The step, to pass to `ring_attention`.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    lanes, key_heads, width = cache.lanes, cache.key_heads, cache.head_dim
    for name, x in (("k", k), ("v", v)):
        check_tensor(name, x)
        if x.ndim != 4 or (x.shape[0], x.shape[2], x.shape[3]) != (lanes, key_heads, width):
            raise ValueError(
                f"{name}: must be [B={lanes}, n, G={key_heads}, D={width}]; got {list(x.shape)}"
            )
        serve.check_floating(name, x, cache)
    if k.shape != v.shape:
        raise ValueError(f"v: must have k's shape {list(k.shape)}; got {list(v.shape)}")
    serve.check_turns(turns, k)
    chosen = serve.choose_append(implementation, k, v, cache)
    if step is None:
        step = cache.state.advance(k.shape[1], count=count, reset=reset)
    elif count is not None or reset is not None:
        raise ValueError("step: count and reset were given to RingState.advance; leave them out")
    else:
        serve.check_step(step, cache)
        if step.num_new != k.shape[1]:
            raise ValueError(f"step: made for {step.num_new} new tokens; k has {k.shape[1]}")
    if chosen == "triton":
        refuse_forward_mode("ring_append", chosen, k, v)
        library.ring_append_triton(cache.keys, cache.values, k, v, step.length, step.count, turns)
        cache.last_step = step
    else:
        cache.write(k if turns is None else rotate(k, turns), v, step)
    return step


def ring_attention(
    q: Tensor,
    cache: RingCache,
    *,
    window: int,
    count: Tensor | None = None,
    step: RingStep | None = None,
    scale: float | None = None,
    turns: Tensor | None = None,
    implementation: Implementation = "auto",
) -> Tensor:
    """Attention of the tokens just appended over the last `window` tokens up to each of them.

    Args:
        q: queries of the n tokens that `ring_append` took last, [B, n, H, D].
        cache: of this layer.
        window: W, tokens in view, the query's own included; W + n - 1 <= C.
        count: how many of the n ask, integers [B], 0 to n; none: those that are real. Others get 0.
        step: what `ring_append` returned; none: its last.
        scale: multiplies the scores; none: 1 / sqrt(D).
        turns: rotary turns of the queries, [B, n, 2, D], of `rotary_turns`; none: they are taken
            as they come.
        implementation: "reference"; "triton", for a cache with layout "slots", float32 or 16-bit
            floats, D up to 128, without gradients; "numba", for float32 on the CPU where D is a
            multiple of 16, without gradients; "auto" takes the faster of those that fit.

    Returns:
        [B, n, H, D]; 0 for tokens that are not real.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """
    lanes, key_heads, width = cache.lanes, cache.key_heads, cache.head_dim
    check_tensor("q", q)
    heads = q.shape[2] if q.ndim == 4 else 0
    if heads == 0 or (q.shape[0], q.shape[3]) != (lanes, width) or heads % key_heads:
        raise ValueError(
            f"q: must be [B={lanes}, n, H = a multiple of {key_heads}, D={width}]; "
            f"got {list(q.shape)}"
        )
    serve.check_floating("q", q, cache)
    serve.check_turns(turns, q)
    step = cache.last_step if step is None else step
    if step is None:
        raise ValueError("cache: nothing was appended yet; call ring_append first")
    serve.check_step(step, cache)
    if step.num_new != q.shape[1]:
        raise ValueError(f"q: {q.shape[1]} queries, but {step.num_new} tokens were appended")
    window = whole("window", window, least=1)
    if window > cache.capacity - step.num_new + 1:
        raise ValueError(
            f"window: {step.num_new} new tokens in a ring of {cache.capacity} leave a window of "
            f"1 to {cache.capacity - step.num_new + 1}; got {window}"
        )
    asking = None if count is None else cache.state.checked_count(count, step.num_new)
    factor = scale_of(scale, width)
    chosen = serve.choose_attention(implementation, q, cache)
    if chosen != "reference":
        refuse_forward_mode("ring_attention", chosen, q)
    if chosen == "triton":
        out: Tensor = library.ring_attention_triton(
            q, cache.keys, cache.values, step.length, step.count, window, factor, turns
        )
    else:
        q = q if turns is None else rotate(q, turns)
        attend = serve.attend_with_numba if chosen == "numba" else reference.ring_attention
        out = attend(q, cache, step, window, factor)
    if asking is None:
        return out
    asks = torch.arange(step.num_new, device=q.device) < asking[:, None]
    return torch.where(asks[:, :, None, None], out, out.new_zeros(()))
