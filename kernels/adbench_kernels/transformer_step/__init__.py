"""Steps of a transformer through its ring caches: new tokens in, the stream after all blocks out.

B lanes, n new tokens, D width, H query heads, G key heads, d head width, F hidden width, W window.
`reference.py` is the definition. The CPU kernel takes each lane from end to end in one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench_kernels.arguments import check_tensor, real, refuse_forward_mode, scale_of, whole
from adbench_kernels.choice import Implementation, fastest, installed, require
from adbench_kernels.ring_cache.cache import RingCache
from adbench_kernels.ring_cache.state import RingStep
from adbench_kernels.transformer_step import reference
from adbench_kernels.transformer_step.weights import BlockWeights, check_blocks

__all__ = ["BlockWeights", "TransformerStep"]

_PROVIDED = {"reference": None, "numba": None}
_LANES = 16


class TransformerStep:
    """A stack of blocks with a ring each: made once, then called for every step.

    Weights are not copied: what an optimiser or `load_state_dict` writes is seen by the next step.

    Args:
        blocks: weights, a block a layer, of equal shapes.
        caches: the layers' rings, of one `RingState`; steps change them in place.
        window: W: a token sees itself and the W - 1 before it.
        scale: multiplies the scores; none: 1 / sqrt(d).
        norm_first: norms stand before the branches, else after the sums.
        epsilon: of the layer norms.
        implementation: "reference"; "numba", for float32 on the CPU where D, d and F are multiples
            of 16, without gradients; "auto" takes "numba" where that fits and numba is installed,
            and the definition for a step whose gradient is asked for.

    Attributes:
        implementation: what was chosen.

    Raises:
        ValueError: names the argument.
        ImplementationUnavailableError: that implementation cannot run here.
    """

    def __init__(
        self,
        blocks: Sequence[BlockWeights[Tensor]],
        caches: Sequence[RingCache],
        *,
        window: int,
        scale: float | None = None,
        norm_first: bool = True,
        epsilon: float = 1e-5,
        implementation: Implementation = "auto",
    ) -> None:
        _check_caches(blocks, caches)
        check_blocks(blocks, caches[0].key_heads, caches[0].head_dim)
        if blocks[0].qkv.device != caches[0].keys.device:
            raise ValueError(
                f"caches: must be on {blocks[0].qkv.device}, as the weights; "
                f"got {caches[0].keys.device}"
            )
        window = whole("window", window, least=1)
        if window > caches[0].capacity:
            raise ValueError(
                f"window: must be 1 to {caches[0].capacity} (the rings' capacity); got {window}"
            )
        if real("epsilon", epsilon) <= 0:
            raise ValueError(f"epsilon: must be above 0; got {epsilon}")
        self.scale = scale_of(scale, caches[0].head_dim)
        misfit = _numba_misfit(blocks, caches)
        device = caches[0].keys.device
        self._may_differ = implementation == "auto"
        self.implementation: str = implementation
        if implementation == "auto":
            fast = ("numba",) if misfit is None and installed("numba") else ()
            self.implementation = fastest(
                "TransformerStep",
                device=device,
                head_dim=caches[0].head_dim,
                length=caches[0].capacity,
                mask="window",
                available=(*fast, "reference"),
            ).name
        else:
            require(implementation, op="TransformerStep", provided=_PROVIDED, device=device)
        if implementation == "numba" and misfit is not None:
            raise ValueError(f"implementation: {misfit}")
        self.blocks, self.caches = tuple(blocks), tuple(caches)
        self.window, self.norm_first, self.epsilon = window, norm_first, epsilon
        if self.implementation == "numba":
            from adbench_kernels.transformer_step.stack import Stack

            self._stack = Stack(
                self.blocks, self.caches, self.window, self.scale, norm_first, epsilon
            )

    def __call__(self, x: Tensor, *, turns: Tensor, step: RingStep) -> Tensor:
        """Take new tokens through all blocks; their keys and values enter the rings.

        Args:
            x: the stream before the first block, [B, n, D] in the weights' type; W + n - 1 <= C.
            turns: rotary turns at the new tokens' positions, [B, n, 2, d], of `rotary_turns`.
            step: what the state's `advance` returned for these tokens.

        Returns:
            The stream after the last block, [B, n, D]; what it is at tokens not real means nothing.

        Raises:
            ValueError: names the argument.
        """
        self._check_step(x, turns, step)
        differentiated = torch.is_grad_enabled() and (
            x.requires_grad or any(w.requires_grad for block in self.blocks for w in block)
        )
        if self.implementation == "numba" and not (differentiated and self._may_differ):
            if differentiated:
                raise ValueError("implementation: 'numba' has no gradients; use torch.no_grad()")
            refuse_forward_mode("TransformerStep", "numba", x)
            return self._stack.run(x, turns, step)
        return reference.transformer_step(
            x,
            self.blocks,
            self.caches,
            step,
            turns,
            self.window,
            self.scale,
            self.norm_first,
            self.epsilon,
        )

    def _check_step(self, x: Tensor, turns: Tensor, step: RingStep) -> None:
        first, weight = self.caches[0], self.blocks[0].qkv
        if not isinstance(step, RingStep):
            raise ValueError(
                f"step: must be what RingState.advance returns; got {type(step).__name__}"
            )
        check_tensor("x", x)
        check_tensor("turns", turns)
        shape = (first.lanes, step.num_new, weight.shape[1])
        if x.shape != shape or x.device != first.keys.device or x.dtype != weight.dtype:
            raise ValueError(
                f"x: must be {weight.dtype} [B, n, D] = {list(shape)} on {first.keys.device}; "
                f"got {x.dtype} {list(x.shape)} on {x.device}"
            )
        expected = (first.lanes, step.num_new, 2, first.head_dim)
        if turns.shape != expected or turns.device != x.device or not turns.is_floating_point():
            raise ValueError(
                f"turns: must be floating [B, n, 2, d] = {list(expected)} on {x.device}; "
                f"got {turns.dtype} {list(turns.shape)} on {turns.device}"
            )
        if step.length.device != x.device:
            raise ValueError(f"step: must be on {x.device}; got {step.length.device}")
        if step.capacity != first.capacity or len(step.length) != first.lanes:
            raise ValueError(
                f"step: of a state of {len(step.length)} lanes and capacity {step.capacity}; the "
                f"rings have {first.lanes} and {first.capacity}"
            )
        if self.window + step.num_new - 1 > first.capacity:
            raise ValueError(
                f"step: {step.num_new} new tokens in a ring of {first.capacity} leave a window of "
                f"at most {first.capacity - step.num_new + 1}; it is {self.window}"
            )


def _check_caches(blocks: Sequence[BlockWeights[Tensor]], caches: Sequence[RingCache]) -> None:
    if not blocks or len(caches) != len(blocks):
        raise ValueError(
            f"caches: must be one a block, and at least one; got {len(caches)} for "
            f"{len(blocks)} blocks"
        )
    for cache in caches:
        if cache.state is not caches[0].state or cache.keys.shape != caches[0].keys.shape:
            raise ValueError("caches: must share one RingState and have equal shapes")
        if cache.keys.dtype != caches[0].keys.dtype:
            raise ValueError(
                f"caches: must be of one type; got {caches[0].keys.dtype} and {cache.keys.dtype}"
            )
    if len({id(cache) for cache in caches}) != len(caches):
        raise ValueError("caches: every block needs one of its own; got one twice")


def _numba_misfit(
    blocks: Sequence[BlockWeights[Tensor]], caches: Sequence[RingCache]
) -> str | None:
    """What hinders the CPU kernel; none: nothing."""
    for t in (*(w for block in blocks for w in block), *(cache.keys for cache in caches)):
        if t.device.type != "cpu" or t.dtype != torch.float32:
            return f"'numba' takes float32 on the CPU; got {t.dtype} on {t.device}"
    if any(cache.layout != "blocks" for cache in caches):
        return "'numba' reads rings with layout 'blocks'"
    hidden, width = blocks[0].hidden_in.shape
    sizes = {"width": width, "head width": caches[0].head_dim, "hidden width": hidden}
    for name, size in sizes.items():
        if size % _LANES:
            return f"'numba' takes sizes that are multiples of {_LANES}; got a {name} of {size}"
    return None
